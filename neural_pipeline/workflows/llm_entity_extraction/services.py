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
_OF_SEVERAL_WORDS = re.compile(
    r"\b(?:GitHub Actions|GitLab CI|Circle CI|Docker Hub|New Relic|Google Analytics|Google Cloud Storage|Fly\.io)\b"
)
_SPELT = frozenset(_AMBIGUOUS.split())
_AMBIGUOUS_KEYS = frozenset(_AMBIGUOUS.lower().split())
_KEYS = {name: name for name in (*_UNMISTAKABLE.split(), *_AMBIGUOUS_KEYS)} | _OTHER_NAMES

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
    for match in _OF_SEVERAL_WORDS.finditer(text):
        written = match[0].lower().replace(" ", "-")
        yield Mention("service", _KEYS.get(written, written), match[0], SURE, *match.span())
    for match in _WORD.finditer(text):
        key = _KEYS.get(match[0].lower())
        if key is None:
            continue
        if key not in _AMBIGUOUS_KEYS:
            yield Mention("service", key, match[0], SURE, *match.span())
        elif match[0] in _SPELT and _is_meant(text, match):
            yield Mention("service", key, match[0], FAIRLY_SURE, *match.span())


def _is_meant(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - _LONGEST_BEFORE - 1) : match.start()]
    return _BEFORE.search(before) is not None or _BEHIND.match(text, match.end()) is not None
