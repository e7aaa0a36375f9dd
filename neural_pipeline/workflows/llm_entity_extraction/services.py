"""Services that software is built on: the names people write, and the one key that each of them has. Pure.

The list is short on purpose: a name is in it if hardly anything else is called so, or if the words around it tell.
"""

import re
from collections.abc import Iterator

from neural_pipeline.workflows.llm_entity_extraction.mentions import Mention

_UNMISTAKABLE = """
airtable algolia amplitude anthropic auth0 bigquery bitbucket bugsnag buildkite circleci clickhouse cloudflare
cloudfront cloudinary cloudwatch cockroachdb codecov contentful databricks datadog dynamodb elasticsearch fastly
firebase gitlab grafana heroku hubspot jenkins jira kafka kubernetes launchdarkly mailchimp mailgun mariadb memcached
mixpanel mongodb mysql neo4j netlify okta openai opensearch opsgenie pagerduty paypal pinecone planetscale postgres
posthog rabbitmq redis redshift rollbar salesforce sendgrid shopify sonarcloud splunk supabase twilio upstash vercel
zendesk
"""
_AMBIGUOUS = "Confluence Honeycomb Intercom Prometheus S3 SNS SQS Sentry Slack Snowflake Stripe"
"""Words of the language, or too short: services only where they are spelt so, between words that say it."""

_OTHER_NAMES = {
    "amazon-s3": "s3",
    "apache-kafka": "kafka",
    "aws-s3": "s3",
    "circle-ci": "circleci",
    "dockerhub": "docker-hub",
    "elastic-search": "elasticsearch",
    "fly.io": "fly-io",
    "k8s": "kubernetes",
    "mongo-db": "mongodb",
    "newrelic": "new-relic",
    "postgresql": "postgres",
}
_NAMES_OF_SEVERAL_WORDS = (
    "GitHub Actions",
    "GitLab CI",
    "Circle CI",
    "Docker Hub",
    "New Relic",
    "Google Analytics",
    "Google Cloud Storage",
    "Fly.io",
)
_OF_SEVERAL_WORDS = re.compile(rf"\b(?:{'|'.join(map(re.escape, _NAMES_OF_SEVERAL_WORDS))})\b")
_SPELT = frozenset(_AMBIGUOUS.split())
_AMBIGUOUS_KEYS = frozenset(_AMBIGUOUS.lower().split())
_KEYS = {name: name for name in (*_UNMISTAKABLE.split(), *_AMBIGUOUS_KEYS)} | _OTHER_NAMES
_WRITTEN = frozenset(name.encode() for name in _KEYS)

_LETTERS_AND_DIGITS = b"abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS_ONLY = bytes(byte if byte in _LETTERS_AND_DIGITS else ord(" ") for byte in range(256))
_WORD = re.compile(r"(?<![\w./@#:\\-])[A-Za-z][A-Za-z0-9]{1,30}(?![\w/@\\-]|\.\w)")
_BEFORE = re.compile(
    r"\b(?:a|amazon|an|and|aws|by|for|from|in|into|of|on|or|our|the|their|through|to|using|via|with) $", re.IGNORECASE
)
_LONGEST_BEFORE = 9
_BEHIND = re.compile(
    r" (?:account|alert|API|bucket|channel|customer|dashboard|event|function|integration|invoice|message|notification"
    r"|project|queue|SDK|subscription|topic|warehouse|webhook|workspace)s?\b"
)

SURE, FAIRLY_SURE = 0.85, 0.75


def service_key(name: str) -> str | None:
    """Return the key of a service given by any of its names, lower-case and hyphenated; None if it is not known."""
    return _KEYS.get(name)


def services_in(text: str) -> Iterator[Mention]:
    """Find known services in a text."""
    for match in _OF_SEVERAL_WORDS.finditer(text) if any(name in text for name in _NAMES_OF_SEVERAL_WORDS) else ():
        written = match[0].lower().replace(" ", "-")
        yield Mention("service", _KEYS.get(written, written), match[0], SURE, *match.span())
    for match in _known_words(text):
        key = _KEYS[match[0].lower()]
        if key not in _AMBIGUOUS_KEYS:
            yield Mention("service", key, match[0], SURE, *match.span())
        elif match[0] in _SPELT and _is_meant(text, match):
            yield Mention("service", key, match[0], FAIRLY_SURE, *match.span())


def _known_words(text: str) -> list[re.Match[str]]:
    """Find the words that name a service; looking at each word of the text would take ten times as long."""
    plain = text.encode("ascii", errors="replace").lower()  # every character stays in its place
    names = _WRITTEN.intersection(plain.translate(_WORDS_ONLY).split())
    places = {found.start() for name in names for found in re.finditer(name, plain)}
    matches = (_WORD.match(text, place) for place in sorted(places))
    return [match for match in matches if match and match[0].lower() in _KEYS]


def _is_meant(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - _LONGEST_BEFORE - 1) : match.start()]
    return _BEFORE.search(before) is not None or _BEHIND.match(text, match.end()) is not None
