"""Entities in prose by rules: who and what is found, what only looks like it, and the time that hostile text takes."""

from time import process_time

import pytest

from neural_pipeline.workflows.llm_entity_extraction.prose import answer_by_rules, mentions_in
from neural_pipeline.workflows.llm_entity_extraction.services import service_key
from neural_pipeline.workflows.observation_capture.entities import extract_entities
from neural_pipeline_tests.building import source_event


def named(content: str, title: str = "Plain") -> list[tuple[str, str]]:
    return [(entity.category, entity.key) for entity in answer_by_rules(title, content).entities]


@pytest.mark.parametrize(
    ("content", "people"),
    [
        ("Thanks to Jane Doe for the report.", ["Jane Doe"]),
        ("as reported by Jean-Luc Picard, twice", ["Jean-Luc Picard"]),
        ("Reviewed with Anna Kov\u00e1cs on the phone", ["Anna Kov\u00e1cs"]),
        ("cc Mary Ann Evans", ["Mary Ann Evans"]),
        ("cc: Jane Doe, John O'Brien, and Max van der Berg.", ["Jane Doe", "John O'Brien", "Max van der Berg"]),
        ("kudos to Jane Doe & John Smith", ["Jane Doe", "John Smith"]),
        ("Owner: Mary Poppins", ["Mary Poppins"]),
        ("handed over to\nJane Doe", ["Jane Doe"]),
        ("Reviewed-by: Jane Doe <jane@x.org>", ["Jane Doe"]),
        ("x\nco-authored-by: Octo Cat <12+OctoCat@users.noreply.github.com>\ny", ["@octocat"]),
        ("Co-authored-by: octo <octo@users.noreply.github.com>", ["@octo"]),
    ],
)
def test_people_are_found_where_the_words_before_them_tell(content: str, people: list[str]):
    assert named(content) == [("engineer", name) for name in people]


@pytest.mark.parametrize(
    "content",
    [
        "thanks to Postgres",
        "thanks to Jane for this",
        "thanks to everybody",
        "Jane Doe",
        "reviewed by the Platform Team",
        "reviewed by Site Reliability Team",
        "found by Stack Overflow",
        "fixed by Pull Request",
        "written by JANE DOE",
        "spoke to Datadog Sales",
        "written by Jane Doe2",
        "written by Ada Bea Cleo Dora Eve",
        "Co-authored-by: Claude Opus 9 <noreply@anthropic.com>",
        "Co-authored-by: dependabot[bot] <49699333+dependabot[bot]@users.noreply.github.com>",
        "Signed-off-by: jane <jane@x.org>",
        "see co-authored-by: Jane Doe <jane@x.org>",
        "```\nthanks to Jane Doe\n```",
    ],
)
def test_what_is_not_surely_a_person_is_none(content: str):
    assert [key for category, key in named(content) if category == "engineer"] == []


@pytest.mark.parametrize(
    ("content", "services"),
    [
        ("moved from redis to PostgreSQL", ["redis", "postgres"]),
        ("Kafka, k8s; (Datadog)", ["kafka", "kubernetes", "datadog"]),
        ("run in GitHub Actions and Circle CI", ["github-actions", "circleci"]),
        ("alerts go to Slack", ["slack"]),
        ("Stripe webhooks are late", ["stripe"]),
        ("put into the S3 bucket", ["s3"]),
        ("errors from Sentry.", ["sentry"]),
    ],
)
def test_services_are_found_under_one_key_however_they_are_spelt(content: str, services: list[str]):
    assert named(content) == [("service", name) for name in services]


@pytest.mark.parametrize(
    "content",
    [
        "a stripe of paint on stripe",
        "Slack time is good",
        "severity S3",
        "the redis-py package",
        "redis.io and https://x.org/redis and @redis and my_redis and lib/redis",
        "sentries and kafkaesque",
        "```\nredis\n```",
    ],
)
def test_what_only_contains_the_name_of_a_service_is_none(content: str):
    assert named(content) == []


def test_a_code_block_that_is_never_closed_hides_nothing():
    assert named("```\nx\n``` then ``` with redis") == [("service", "redis")]


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("the `retry-limit` setting", ["retry-limit"]),
        ("raise `max_connections` to 200", ["max_connections"]),
        ("lowered statement_timeout from 30s", ["statement_timeout"]),
        ("the idle_timeout option is new", ["idle_timeout"]),
        ("set the config option max_size", ["max_size"]),
        ("behind the feature flag `foo`", ["foo"]),
        ("Feature flag new-checkout is on", ["new-checkout"]),
        ('the "poolSize" setting', ["poolSize"]),
        ("settings: `a_b`, `pool.size` and 'c_d'", ["a_b", "pool.size", "c_d"]),
        ("the option `--dry-run`", ["dry-run"]),
        ("the `statement_timeout` timeout", ["statement_timeout"]),
        ("the `NODE_ENV2` environment variable is `nodeEnv`, an env var `nodeEnv`", ["nodeEnv"]),
    ],
)
def test_settings_are_found_beside_the_words_that_say_what_they_are(content: str, settings: list[str]):
    assert named(content) == [("config", name) for name in settings]


@pytest.mark.parametrize(
    "content",
    [
        "the `foo` function",
        "rename old_name to new_name",
        "set user_name to the name",
        "a built-in option",
        "the `true` option",
        "the option `default`",
        "the `app.yaml` setting",
        "the `DATABASE_URL` setting",
        "the parameter user_id",
        "feature flags are good",
    ],
)
def test_what_is_not_surely_a_setting_is_none(content: str):
    assert named(content) == []


def test_an_endpoint_is_found_unless_its_method_stands_before_it():
    assert named("the `/v1/users/{id}` endpoint, the `GET /v1/items` endpoint, the path `/tmp`") == [
        ("endpoint", "/v1/users/{id}")
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("Bump pino from 9.5.0 to 9.6.0", ("project", "pino")),
        ("bumps @types/node from 20 to 22", ("project", "@types/node")),
        ("takes jwt-satchel to 4.2.1", ("project", "jwt-satchel")),
        ("- `jwt-satchel` 4.1.0 to 4.2.1", ("project", "jwt-satchel")),
        ("an advisory, CVE-2026-99914.", ("reference", "CVE-2026-99914")),
        ("GHSA-jfh8-c2jp-5v3q", ("reference", "GHSA-jfh8-c2jp-5v3q")),
    ],
)
def test_packages_that_change_and_advisories_are_found(content: str, found: tuple[str, str]):
    assert named(content) == [found]


@pytest.mark.parametrize(
    "content",
    [
        "bump version from 1.2.0 to 1.3.0",
        "update it to 2.0.1",
        "takes five to 9 seconds",
        "update README.md to 2.0",
        "moved `x.ts` 1.2.3",
        "CVE-2024",
    ],
)
def test_what_only_looks_like_a_package_or_an_advisory_is_none(content: str):
    assert named(content) == []


def test_what_the_patterns_of_the_capture_find_is_left_to_them():
    text = (
        "Ask @ada about #12, ENG-7 and the `DATABASE_URL` setting in src/lib/auth.ts, `GET /v1/x`, 1a2b3c4, branch x/y"
    )
    assert len(extract_entities(source_event(body=text))) == 8
    assert named(text) == []


def test_the_evidence_is_the_place_and_the_surest_come_first():
    before, after = "a " * 60, " and so it goes on and on" * 4
    content = f"CVE-2026-99914; bump pino from 1.0.0 to 1.0.1; {before}the idle_timeout option{after}"
    answer = answer_by_rules("Plain", content).entities
    assert [entity.key for entity in answer] == ["CVE-2026-99914", "pino", "idle_timeout"]
    assert answer[0].reasoning == f"Plain {content[:64]}..."
    assert answer[2].reasoning == f"...{'a ' * 23}the idle_timeout option{after[:50]}..."
    assert all(entity.confidence >= 0.65 for entity in answer)


def test_of_many_entities_the_surest_are_kept_and_each_once():
    content = " ".join(f"the `name_{n}` setting." for n in range(120)) + " Redis. redis. CVE-2026-99914"
    found = named(content)
    assert len(found) == 100
    assert found[0] == ("reference", "CVE-2026-99914")
    assert named("redis, Redis, REDIS") == [("service", "redis")]


def test_title_and_content_are_both_read_and_no_more_than_ten_thousand_characters():
    assert named("kafka", title="redis") == [("service", "redis"), ("service", "kafka")]
    assert named("z" * 9_994 + " kafka") == [("service", "kafka")]
    assert named("z" * 10_000 + " kafka") == []


def test_the_same_text_always_gives_the_same_answer():
    text = "Thanks to Jane Doe: redis, the `a_b` setting"
    assert answer_by_rules("Plain", text) == answer_by_rules("Plain", text)


@pytest.mark.parametrize(
    ("name", "key"),
    [("postgresql", "postgres"), ("amazon-s3", "s3"), ("slack", "slack"), ("github-actions", None), ("made-up", None)],
)
def test_a_service_has_one_key_under_all_its_names(name: str, key: str | None):
    assert service_key(name) == key


HOSTILE = {
    "a word without end": "a",
    "a name with parts without end": "a_",
    "capitals and hyphens": "Aa-",
    "apostrophes": "A'",
    "dots": "a.",
    "quotes": "`",
    "quoted paths": "`/",
    "white space": " ",
    "line ends": "\n",
    "fences": "```",
    "cues": "thanks to ",
    "names": "cc Jane Doe, ",
    "names without an end": "Thanks to " + "Jane ",
    "trailers": "co-authored-by: ",
    "lines of trailers": "co-authored-by:\n",
    "options": "option `a`, ",
    "feature flags": "feature flag ",
    "changes": "bump a from 1 ",
    "verbs": "set the ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_no_more_time_than_its_length(piece: str):
    assert _seconds(piece * (200_000 // len(piece))) < 8


def test_a_megabyte_of_hostile_text_takes_seconds():
    assert _seconds("".join(piece * (52_700 // len(piece)) for piece in HOSTILE.values())) < 30


def _seconds(text: str) -> float:
    began = process_time()
    for _ in mentions_in(text):
        pass
    return process_time() - began
