"""The offline embedder: unit vectors, the same everywhere, near for texts that share words."""

import subprocess
import sys
from time import process_time

import numpy as np
import pytest

from neural_pipeline.models.embedder import Embedder
from neural_pipeline.models.hashing import HashingEmbedder

EMBEDDER: Embedder = HashingEmbedder()
PRINT_BYTES = (
    "import sys; from neural_pipeline.models.hashing import HashingEmbedder;"
    "print(HashingEmbedder(64).embed([sys.argv[1]]).tobytes().hex())"
)


def similarity(left: str, right: str, *, dimension: int = 256) -> float:
    first, second = HashingEmbedder(dimension).embed([left, right])
    return float(first @ second)


def test_every_text_becomes_a_unit_vector_of_single_precision():
    texts = ["fix login", "", "a", "!!!", "\U0001f600", "word " * 5_000, "\ud800", "the of and", "日本語"]
    vectors = EMBEDDER.embed(texts)
    assert vectors.shape == (len(texts), EMBEDDER.dimension) == (9, 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_no_texts_give_no_vectors():
    vectors = EMBEDDER.embed([])
    assert vectors.shape == (0, 256)
    assert vectors.dtype == np.float32


def test_name_and_length_follow_the_dimension():
    embedder = HashingEmbedder(12)
    assert embedder.name == "hashing-12"
    assert embedder.embed(["fix login"]).shape == (1, 12)


@pytest.mark.parametrize("dimension", [0, -1])
def test_a_dimension_below_one_is_refused(dimension: int):
    with pytest.raises(ValueError, match="at least one dimension"):
        HashingEmbedder(dimension)


def test_features_that_cancel_out_still_give_a_unit_vector():
    texts = [f"{number} {word} user" for number in range(50) for word in ("alpha", "beta", "gamma")]
    np.testing.assert_allclose(np.abs(HashingEmbedder(1).embed(texts)), 1.0)


def test_another_process_gives_the_same_bytes():
    text = "feat(auth): rotate refreshToken in src/auth_tokens.ts"
    ran = subprocess.run([sys.executable, "-c", PRINT_BYTES, text], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == HashingEmbedder(64).embed([text]).tobytes().hex()


def test_a_vector_does_not_depend_on_the_batch():
    texts = [f"fix login of user {number} in src/app{number}.ts " * (number % 7) for number in range(300)]
    together = EMBEDDER.embed(texts)
    alone = np.concatenate([EMBEDDER.embed([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Refresh Token Rotation", "refresh token rotation"),
        ("refresh_token_rotation", "refresh token rotation"),
        ("refreshTokenRotation", "refresh token rotation"),
        ("src/auth/refresh-tokens.ts", "src auth refresh tokens ts"),
        ("HTTPServer", "http server"),
        ("public APIs", "public apis"),
        ("rotate, the (tokens)!", "rotate tokens"),
        ("oauth2", "oauth 2"),
    ],
)
def test_spelling_case_paths_and_function_words_do_not_matter(left: str, right: str):
    assert similarity(left, right) == pytest.approx(1.0)


def test_texts_about_the_same_are_nearer_than_texts_about_something_else():
    fix = "fix: login fails when the refresh token has expired"
    same = similarity(fix, "expired refresh token breaks login")
    other = similarity(fix, "docs: describe deployment pipeline for staging")
    assert same > 0.5
    assert abs(other) < 0.2


def test_unrelated_texts_are_orthogonal_on_average_however_few_the_dimensions():
    letters = "abcdefghijklmnopqrstuvwxyz"
    vectors = HashingEmbedder(16).embed([f"alpha{letter}x beta{letter}y gamma{letter}z" for letter in letters])
    products = (vectors @ vectors.T)[np.triu_indices(26, k=1)]
    assert abs(float(products.mean())) < 0.1


def test_word_order_matters_less_than_words():
    swapped = similarity("rotate refresh token", "token refresh rotate")
    assert 0.7 < swapped < 0.99
    assert swapped > similarity("rotate refresh token", "rotate refresh cookie")


def test_a_repeated_word_weighs_the_root_of_its_count():
    once, many = similarity("login cookie", "login"), similarity("login cookie", "login " * 16 + "cookie")
    vector = HashingEmbedder(4_096).embed(["login " * 16 + "| cookie"])[0]
    weights = np.sort(np.abs(vector))[::-1]
    assert weights[0] / weights[2] == pytest.approx(4.0, rel=1e-5)
    assert many > 0.5
    assert once > 0.5


def test_texts_without_words_are_alike_only_when_equal():
    assert similarity("!!!", "!!!") == pytest.approx(1.0)
    assert similarity("!!!", "???", dimension=4_096) == pytest.approx(0.0)


def test_a_long_text_takes_time_in_proportion_to_its_length():
    def seconds(size: int) -> float:
        times: list[float] = []
        for _ in range(5):
            began = process_time()
            EMBEDDER.embed(["aB1_" * (size // 4)])
            times.append(process_time() - began)
        return min(times)

    # Eight times the text would take 64 times as long if it were quadratic; noise weighs less than over twice the text.
    assert seconds(800_000) < 24 * seconds(100_000) + 0.002
