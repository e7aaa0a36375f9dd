"""Which model a setting means, and what is said where it means none."""

import subprocess
import sys

import pytest
from pydantic import SecretStr

from neural_pipeline.models.access import Access, ModelMisconfigured
from neural_pipeline.models.choosing import EmbedderChoice, embedder, embedder_choice, language_model
from neural_pipeline.models.hashing import HashingEmbedder
from neural_pipeline.models.offline import OfflineModel

NOTHING = Access()
KEYS = Access(openai_key=SecretStr("sk-openai"), anthropic_key=SecretStr("sk-anthropic"))


def complaint(spec: str, access: Access = NOTHING) -> str:
    with pytest.raises(ModelMisconfigured) as misconfigured:
        language_model(spec, access)
    return str(misconfigured.value)


def complaint_about(choice: EmbedderChoice, access: Access = NOTHING) -> str:
    with pytest.raises(ModelMisconfigured) as misconfigured:
        embedder(choice, access)
    return str(misconfigured.value)


def test_offline_means_the_rules():
    assert isinstance(language_model("offline", NOTHING), OfflineModel)


@pytest.mark.parametrize("spec", ["openai:gpt-5-mini", "anthropic:claude-haiku-4-5"])
def test_a_model_of_a_provider_keeps_the_name_that_was_configured(spec: str):
    model = language_model(spec, KEYS)
    assert (model.name, model.is_offline) == (spec, False)


def test_an_embedder_of_a_provider_is_named_with_its_dimension():
    chosen = embedder(EmbedderChoice("openai", "text-embedding-3-small", 1536), KEYS)
    assert (chosen.name, chosen.dimension) == ("openai:text-embedding-3-small@1536", 1536)


def test_offline_embeds_by_hashing_in_the_dimension_that_is_chosen():
    assert embedder(EmbedderChoice("offline", "whatever", 64), NOTHING) == HashingEmbedder(64)


@pytest.mark.parametrize(
    ("spec", "variable"), [("openai:gpt-5-mini", "OPENAI_API_KEY"), ("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY")]
)
@pytest.mark.parametrize("key", [None, SecretStr(""), SecretStr("  ")])
def test_without_a_key_the_message_names_the_variable(spec: str, variable: str, key: SecretStr | None):
    assert f"set {variable}" in complaint(spec, Access(openai_key=key, anthropic_key=key))


def test_an_embedder_without_a_key_names_the_variable():
    assert "set OPENAI_API_KEY" in complaint_about(EmbedderChoice("openai", "text-embedding-3-small", 1536))


@pytest.mark.parametrize("key", ["sk-two words", "sk-line\nend", "sk-\u00fcmlaut"])
def test_a_key_that_cannot_be_one_is_refused_without_being_told(key: str):
    said = complaint("openai:gpt-5-mini", Access(openai_key=SecretStr(key)))
    assert "OPENAI_API_KEY" in said
    assert key not in said


def test_a_key_with_a_line_end_behind_it_is_taken_without_it():
    assert Access(openai_key=SecretStr("sk-1\n")).key_of_openai() == SecretStr("sk-1")


def test_a_server_of_ones_own_needs_no_key():
    access = Access(base_url="http://127.0.0.1:1/v1")
    assert language_model("openai:llama", access).name == "openai:llama"
    assert embedder(EmbedderChoice("openai", "nomic", 768), access).name == "openai:nomic@768"


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "ftp://somewhere/v1",
        "http://user:secret@host/v1",
        "http://a b/",
        "https://host/v1?key=secret",
        "https://host?secret",
        "https://host/v1#secret",
        "http://127.0.0.1\\secret",
    ],
)
def test_an_address_that_is_none_is_refused(address: str):
    said = complaint("openai:llama", Access(base_url=address))
    assert "NEURAL_MODEL_BASE_URL" in said
    assert "secret" not in said


OPEN = [
    "http://models.example/v1",
    "HTTP://10.0.0.7/v1",
    "http://127.0.0.1.example/v1",
    "http://[::2]/v1",
    "http://[/v1",
]


@pytest.mark.parametrize("address", OPEN)
def test_a_key_is_not_sent_unencrypted_over_a_network(address: str):
    exposed = Access(openai_key=SecretStr("sk-openai"), base_url=address)
    for said in (
        complaint("openai:llama", exposed),
        complaint_about(EmbedderChoice("openai", "nomic", 768), exposed),
    ):
        assert "NEURAL_MODEL_BASE_URL" in said
        assert "unset OPENAI_API_KEY" in said
        assert "https" in said
        assert "sk-" not in said


@pytest.mark.parametrize(
    "address", ["https://models.example/v1", "http://localhost:8000/v1", "http://127.0.0.9/v1", "http://[::1]:8000/v1"]
)
def test_a_key_is_sent_encrypted_or_to_this_machine(address: str):
    assert Access(openai_key=SecretStr("sk-1"), base_url=address).key_of_openai() == SecretStr("sk-1")


def test_without_a_key_a_server_may_be_reached_unencrypted():
    assert language_model("openai:llama", Access(base_url=OPEN[0])).name == "openai:llama"


@pytest.mark.parametrize(
    ("spec", "variable"),
    [("openai:gpt-5-mini", "OPENAI_BASE_URL"), ("anthropic:claude-haiku-4-5", "ANTHROPIC_BASE_URL")],
)
def test_the_addresses_that_the_libraries_read_themselves_are_no_way_around_that(
    spec: str, variable: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, "http://models.example/v1")
    assert f"the address in {variable}" in complaint(spec, KEYS)


@pytest.mark.parametrize("spec", ["gpt-5-mini", "openai:", ":gpt-5-mini", "", "openai", "  "])
def test_a_spec_that_names_no_model_is_refused_with_what_may_be_set(spec: str):
    said = complaint(spec, KEYS)
    assert "NEURAL_CLASSIFY_MODEL" in said
    assert "anthropic:NAME" in said


@pytest.mark.parametrize("spec", ["cohere:command-r", "openia:gpt-5-mini", "hashing:256"])
def test_a_provider_that_there_is_not_is_refused_with_those_that_there_are(spec: str):
    said = complaint(spec, KEYS)
    assert repr(spec.partition(":")[0]) in said
    assert "openai:NAME" in said


def test_a_name_that_no_row_can_hold_is_refused():
    assert "100" in complaint("openai:" + "x" * 100, KEYS)
    assert "100" in complaint_about(EmbedderChoice("openai", "x" * 100, 8), KEYS)


def test_an_embedding_provider_that_there_is_not_is_refused_with_those_that_there_are():
    said = complaint_about(EmbedderChoice("cohere", "embed-english-v3.0", 1024))
    assert "'cohere'" in said
    assert "fastembed:NAME" in said


@pytest.mark.parametrize(
    ("spec", "choice"),
    [
        ("offline", EmbedderChoice("offline", "hashing", 256)),
        ("openai:text-embedding-3-small", EmbedderChoice("openai", "text-embedding-3-small", 1536)),
        ("openai:text-embedding-3-small@512", EmbedderChoice("openai", "text-embedding-3-small", 512)),
        ("openai:nomic-embed@768", EmbedderChoice("openai", "nomic-embed", 768)),
        ("fastembed:BAAI/bge-small-en-v1.5", EmbedderChoice("fastembed", "BAAI/bge-small-en-v1.5", 384)),
    ],
)
def test_the_installations_embedder_is_read(spec: str, choice: EmbedderChoice):
    assert embedder_choice(spec, offline_dimension=256) == choice


@pytest.mark.parametrize(
    "spec", ["openai:nomic-embed", "openai:nomic@many", "openai:text-embedding-3-small@0", "nomic"]
)
def test_an_installations_embedder_that_cannot_be_read_is_refused(spec: str):
    with pytest.raises(ModelMisconfigured, match="NEURAL_EMBED_MODEL"):
        embedder_choice(spec, offline_dimension=256)


def imported_after(statement: str) -> set[str]:
    program = f"""
import sys
from pydantic import SecretStr
from neural_pipeline.models.choosing import *
from neural_pipeline.models.access import *
{statement}
print(*[name for name in ("pydantic_ai", "openai", "anthropic", "fastembed") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_choosing_offline_imports_no_library_of_a_provider():
    offline = "language_model('offline', Access()); embedder(embedder_choice('offline', offline_dimension=8), Access())"
    assert imported_after(offline) == set()


def test_a_model_that_is_misconfigured_is_found_out_before_anything_is_imported():
    wrong = """
try:
    language_model('openai:gpt-5-mini', Access())
except ModelMisconfigured:
    pass
"""
    assert imported_after(wrong) == set()


@pytest.mark.slow
def test_choosing_one_provider_does_not_import_the_other():
    chosen = "language_model('openai:gpt-5-mini', Access(openai_key=SecretStr('sk-1')))"
    assert imported_after(chosen) == {"pydantic_ai", "openai"}
