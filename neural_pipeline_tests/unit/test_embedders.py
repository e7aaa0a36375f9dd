"""Embedders of providers, against a server on the loopback address, and in this process, through fastembed.

What fastembed itself does is tested where it and onnx are installed, with a model that the test makes. Elsewhere a
module of the same name stands in: its weights cannot be fetched without a network.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import SecretStr

from neural_pipeline.models.access import ModelMisconfigured
from neural_pipeline.models.embedding_provider import ProviderEmbedder, openai_embedder
from neural_pipeline.models.language import ModelFailed, Trouble, Usage
from neural_pipeline.models.local_embedder import LocalEmbedder, local_embedder
from neural_pipeline_tests.openai_server import IN_TOKENS, OpenAIServer, Reply, Script, in_turn, refused, vector_of

KEY = "sk-very-secret-key-0123456789"
DIMENSION = 8
GOOD = Reply()


class Serving:
    """Starts servers and embedders that ask them, and ends them with the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self,
        script: Script | Reply = GOOD,
        *,
        model: str = "a-model",
        dimension: int = DIMENSION,
        timeout: float = 20.0,
    ) -> tuple[ProviderEmbedder, OpenAIServer]:
        server = self._stack.enter_context(OpenAIServer(script, dimension=DIMENSION))
        embedder = openai_embedder(
            model,
            dimension=dimension,
            key=SecretStr(KEY),
            base_url=server.base_url,
            timeout=timeout,
            retry_after=0.1,
        )
        self._stack.callback(embedder.close)
        return embedder, server


@pytest.fixture
def serving() -> Iterator[Serving]:
    with ExitStack() as stack:
        yield Serving(stack)


def direction(text: str, dimension: int = DIMENSION) -> np.ndarray:
    vector = np.array(vector_of(text, dimension))
    return vector / np.linalg.norm(vector)


def failure(embedder: ProviderEmbedder, *texts: str) -> ModelFailed:
    with pytest.raises(ModelFailed) as failed:
        embedder.embed(texts or ("a",))
    return failed.value


def test_vectors_are_of_length_one_and_keep_the_direction_that_the_provider_gave(serving: Serving):
    embedder, _ = serving()
    vectors = embedder.embed(["login fails", "docs"])
    assert (vectors.shape, vectors.dtype) == ((2, DIMENSION), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors, [direction("login fails"), direction("docs")], atol=1e-6)


def test_an_embedder_names_model_and_dimension(serving: Serving):
    embedder, _ = serving()
    assert (embedder.name, embedder.dimension) == ("openai:a-model@8", DIMENSION)


def test_at_most_96_texts_go_out_at_once_and_come_back_in_order(serving: Serving):
    embedder, server = serving()
    texts = [f"text {number}" for number in range(200)]
    embedded = embedder.embed_with_usage(texts)
    assert [len(asked.texts) for asked in server.asked] == [96, 96, 8]
    assert np.allclose(embedded.vectors, [direction(text) for text in texts], atol=1e-6)
    assert embedded.usage == Usage(3 * IN_TOKENS)


def test_no_call_is_larger_than_the_provider_takes(serving: Serving):
    embedder, server = serving()
    embedder.embed(["a" * 8000] * 70)
    assert [len(asked.texts) for asked in server.asked] == [31, 31, 8]


def test_a_text_is_cut_where_it_may_have_too_many_tokens(serving: Serving):
    embedder, server = serving()
    embedder.embed(["\u00fc" * 50_000])
    assert server.asked[0].texts == ["\u00fc" * 4000]


def test_a_blank_text_and_half_a_character_are_embedded_all_the_same(serving: Serving):
    embedder, server = serving()
    assert embedder.embed(["", " \n", "\ud800"]).shape == (3, DIMENSION)
    assert server.asked[0].texts == ["-", "-", "?"]


def test_without_texts_nobody_is_asked(serving: Serving):
    embedder, server = serving()
    assert (embedder.embed([]).shape, server.count) == ((0, DIMENSION), 0)


def test_a_model_that_can_shorten_its_vectors_is_asked_to(serving: Serving):
    embedder, server = serving(model="text-embedding-3-small", dimension=5)
    assert embedder.embed(["a"]).shape == (1, 5)
    assert server.asked[0].body["dimensions"] == 5


def test_a_model_that_cannot_is_not_asked_to(serving: Serving):
    embedder, server = serving()
    embedder.embed(["a"])
    assert "dimensions" not in server.asked[0].body


def test_vectors_of_another_dimension_are_refused_with_both_numbers(serving: Serving):
    embedder, _ = serving(dimension=1024)
    failed = failure(embedder)
    assert failed.trouble is Trouble.INVALID_ANSWER
    assert str(failed) == "openai:a-model@1024: gives vectors of 8 numbers, 1024 are configured"
    assert failed.usage == Usage(IN_TOKENS)


@pytest.mark.parametrize(
    ("vectors", "word"),
    [
        ([[1.0] * DIMENSION], "1 vectors for 2 texts"),
        ([[0.0] * DIMENSION] * 2, "without a direction"),
        ([[float("nan")] * DIMENSION] * 2, "without a direction"),
        ([[1.0] * DIMENSION, [1.0]], "vectors of 1 numbers"),
    ],
)
def test_vectors_that_are_none_are_refused(vectors: list[list[float]], word: str, serving: Serving):
    embedder, _ = serving(Reply(vectors=vectors))
    failed = failure(embedder, "a", "b")
    assert failed.trouble is Trouble.INVALID_ANSWER
    assert word in str(failed)


FAILURES = {
    "refuses the key": (refused(401, f"wrong key {KEY}"), Trouble.UNAUTHORIZED, 1),
    "is asked too often": (refused(429, retry_after="0"), Trouble.RATE_LIMITED, 2),
    "wants a long pause": (refused(429, retry_after="60"), Trouble.RATE_LIMITED, 1),
    "breaks": (refused(500), Trouble.UNAVAILABLE, 2),
    "hangs up": (Reply(dropped=True), Trouble.UNAVAILABLE, 2),
    "breaks off within the body": (Reply(sent=0.5), Trouble.CUT_OFF, 1),
    "gives no JSON": (Reply(body=b"{not json"), Trouble.INVALID_ANSWER, 1),
    "gives JSON of another protocol": (Reply(body=b'{"data": [{"x": 1}]}'), Trouble.INVALID_ANSWER, 1),
    "gives nothing": (Reply(vectors=[]), Trouble.INVALID_ANSWER, 1),
}


@pytest.mark.parametrize("fails", FAILURES)
def test_a_provider_that(fails: str, serving: Serving):
    reply, trouble, calls = FAILURES[fails]
    embedder, server = serving(reply)
    failed = failure(embedder)
    assert (failed.trouble, server.count) == (trouble, calls)
    assert str(failed).startswith("openai:a-model@8: ")
    assert KEY not in str(failed)
    assert failed.__context__ is None or isinstance(failed.__context__, ModelFailed)


def test_a_provider_that_hangs_is_left_when_the_time_is_over(serving: Serving):
    embedder, _ = serving(Reply(seconds=60), timeout=0.4)
    assert failure(embedder).trouble is Trouble.TIMED_OUT


def test_what_was_paid_before_a_failure_is_told(serving: Serving):
    embedder, _ = serving(in_turn(Reply(), refused(401)))
    assert failure(embedder, *["a"] * 100).usage == Usage(IN_TOKENS)


class FakeTextEmbedding:
    """Stands in for fastembed.TextEmbedding: knows one model, and remembers what was loaded."""

    loaded: list[str]
    gives: np.ndarray | Exception

    def __init__(self, model_name: str) -> None:
        self.loaded.append(model_name)
        if model_name == "test/unreachable":
            raise OSError("no network")

    @classmethod
    def list_supported_models(cls) -> list[dict[str, object]]:
        return [{"model": "Test/Tiny", "dim": 4}, {"model": "test/unreachable", "dim": 4}]

    def embed(self, documents: list[str]) -> Iterator[np.ndarray]:
        if isinstance(self.gives, Exception):
            raise self.gives
        return (self.gives * (1 + len(text)) for text in documents)


@pytest.fixture
def fastembed(monkeypatch: pytest.MonkeyPatch) -> type[FakeTextEmbedding]:
    class Fresh(FakeTextEmbedding):
        loaded: list[str] = []  # noqa: RUF012 - one per test, as the class is
        gives = np.array([3, 0, 4, 0], np.float32)

    monkeypatch.setitem(sys.modules, "fastembed", SimpleNamespace(TextEmbedding=Fresh))
    return Fresh


def test_a_local_model_is_loaded_once_and_only_when_a_text_is_embedded(fastembed: type[FakeTextEmbedding]):
    embedder = local_embedder("test/tiny", dimension=4)
    assert (embedder.embed([]).shape, fastembed.loaded) == ((0, 4), [])
    vectors = [embedder.embed(["a", ""]), embedder.embed(["b", "c"])]
    assert fastembed.loaded == ["test/tiny"]
    assert np.allclose(vectors, [[[0.6, 0, 0.8, 0]] * 2] * 2)
    assert vectors[0].dtype == np.float32
    assert (embedder.name, embedder.dimension) == ("fastembed:test/tiny@4", 4)


def test_a_local_model_of_another_dimension_is_refused_when_it_is_chosen(fastembed: type[FakeTextEmbedding]):
    with pytest.raises(ModelMisconfigured, match="vectors of 4 numbers, 256 are configured"):
        local_embedder("test/tiny", dimension=256)


def test_a_local_model_that_nobody_knows_is_refused_when_it_is_chosen(fastembed: type[FakeTextEmbedding]):
    with pytest.raises(ModelMisconfigured, match="no embedding model 'test/nothing'"):
        local_embedder("test/nothing", dimension=4)


def test_weights_that_cannot_be_fetched_are_a_failure_of_the_moment(fastembed: type[FakeTextEmbedding]):
    embedder = local_embedder("test/unreachable", dimension=4)
    for _ in range(2):
        with pytest.raises(ModelFailed, match=r"cannot be loaded \(OSError\)") as failed:
            embedder.embed(["a"])
        assert failed.value.trouble is Trouble.UNAVAILABLE
    assert len(fastembed.loaded) == 2


def test_a_local_model_that_breaks_is_a_failure(fastembed: type[FakeTextEmbedding]):
    fastembed.gives = RuntimeError("broken")
    with pytest.raises(ModelFailed, match="the model failed"):
        local_embedder("test/tiny", dimension=4).embed(["a"])


def test_a_local_model_that_gives_other_vectors_than_it_says_is_found_out(fastembed: type[FakeTextEmbedding]):
    fastembed.gives = np.ones(3, np.float32)
    with pytest.raises(ModelFailed, match="vectors of 3 numbers, 4 are configured"):
        local_embedder("test/tiny", dimension=4).embed(["a"])


def test_without_fastembed_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(ModelMisconfigured, match=r"pip install 'neural-pipeline\[fastembed\]'"):
        local_embedder("BAAI/bge-small-en-v1.5", dimension=384)


def tiny_model(folder: Path, dimension: int) -> None:
    """Write a model that looks words up, as fastembed reads models from a folder."""
    onnx, tokenizers = pytest.importorskip("onnx"), pytest.importorskip("tokenizers")
    words = {"[PAD]": 0, "[UNK]": 1, "fix": 2, "login": 3, "docs": 4}
    weights = np.random.default_rng(0).normal(size=(len(words), dimension)).astype(np.float32)
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Gather", ["weights", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [helper.make_tensor_value_info("input_ids", kinds.INT64, ["texts", "words"])],
        [helper.make_tensor_value_info("last_hidden_state", kinds.FLOAT, ["texts", "words", dimension])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    configuration = {"model_max_length": 64, "pad_token": "[PAD]", "pad_token_id": 0}
    for name in ("config", "tokenizer_config", "special_tokens_map"):
        (folder / f"{name}.json").write_text(json.dumps(configuration))


def test_fastembed_itself_embeds_with_a_model_made_here(tmp_path: Path):
    fastembed = pytest.importorskip("fastembed")
    description = pytest.importorskip("fastembed.common.model_description")
    tiny_model(tmp_path, 4)
    fastembed.TextEmbedding.add_custom_model(
        model="neural-test/tiny",
        pooling=description.PoolingType.MEAN,
        normalization=True,
        sources=description.ModelSource(hf="neural-test/tiny"),
        dim=4,
        model_file="model.onnx",
    )
    assert local_embedder("neural-test/tiny", dimension=4).dimension == 4

    class InTheFolder(fastembed.TextEmbedding):
        def __init__(self, model_name: str) -> None:
            super().__init__(model_name=model_name, specific_model_path=str(tmp_path))

    embedder = LocalEmbedder("neural-test/tiny", dimension=4, load=InTheFolder)
    vectors = embedder.embed(["fix login", "docs", ""])
    assert (vectors.shape, vectors.dtype) == ((3, 4), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors[0], embedder.embed(["fix login"])[0])
