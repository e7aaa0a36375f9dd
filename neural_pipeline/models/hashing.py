"""An embedder that needs no network and no model file: signed feature hashing of words and word pairs.

Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"[A-Z]{2,}s?(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]|\d+")
"""Words, cut also at underscores, slashes, digits and inside camelCase: `parseHTTPUrl_v2` is parse, HTTP, Url, v, 2."""

_FUNCTION_WORDS = (
    "an and are as at be been but by can for from had has have if in into is it its no not of on or so than that the "
    "their then there these they this to was we were when which will with you"
)
"""Function words: in texts as short as commit messages they would make unrelated ones look alike."""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())

_PAIR_WEIGHT = 0.5
"""Word order refines the similarity of two texts, the words themselves decide it."""

_SLICE = 128
"""Texts hashed at once: enough to spread numpy's fixed costs, few enough to bound memory."""

_WORD_LENGTH = 64
_MOST_KNOWN = 32_768

_Rows = NDArray[np.uint64]
"""The place of its text for each of many words or features."""


def _token_hash(token: str) -> int:
    return crc32(token.encode(errors="surrogatepass"))


def _piece_hashes(piece: str) -> bytes:
    """Return the hashes of the words in a piece, as the bytes of an array: joined, those of a text need no loop."""
    words = (token.lower() for token in _TOKEN.findall(piece))
    return array("I", [_token_hash(word) for word in words if not _says_nothing(word)]).tobytes()


def _says_nothing(word: str) -> bool:
    return word in _STOP_WORDS or (len(word) == 1 and "a" <= word <= "z")


class _KnownHashes(dict[str, bytes]):
    """The hashes of pieces, kept because texts repeat their words.

    Pieces longer than a word are not kept, and when there are too many all are forgotten, which bounds the memory.
    """

    def __missing__(self, piece: str) -> bytes:
        hashes = _piece_hashes(piece)
        if len(piece) <= _WORD_LENGTH:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[piece] = hashes
        return hashes


_known_hashes = _KnownHashes()


def _mix(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Spread each hash over all its bits (the finaliser of MurmurHash3)."""
    mixed = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return mixed ^ (mixed >> np.uint32(16))


def _words(texts: Sequence[str]) -> tuple[_Rows, NDArray[np.uint32]]:
    """Return the hashes of all words in the order of the texts, and the row of each."""
    hashes = [b"".join(map(_known_hashes.__getitem__, text.split())) for text in texts]
    words = np.frombuffer(b"".join(hashes), dtype=np.uint32)
    return np.repeat(np.arange(len(texts), dtype=np.uint64), [len(row) // words.itemsize for row in hashes]), words


def _pairs(row_of: _Rows, words: NDArray[np.uint32]) -> tuple[_Rows, NDArray[np.uint32]]:
    """Return the hashes of each two words that follow each other in a row, and the row of each pair."""
    is_pair = row_of[:-1] == row_of[1:]
    return row_of[:-1][is_pair], (words[:-1] * np.uint32(0x9E3779B1) + words[1:])[is_pair]


def _counted(
    row_of: _Rows, features: NDArray[np.uint32]
) -> tuple[NDArray[np.intp], NDArray[np.uint32], NDArray[np.float64]]:
    """Return row, feature and square root of the count of each distinct feature of each row."""
    keys, counts = np.unique((row_of << np.uint64(32)) | features, return_counts=True)
    return (keys >> np.uint64(32)).astype(np.intp), keys.astype(np.uint32), np.sqrt(counts)


@dataclass(frozen=True, slots=True)
class HashingEmbedder:
    """Feature hashing into unit vectors; the same text gives the same vector in every process and every batch.

    A word that occurs n times weighs sqrt(n), so that a long body does not drown in its commonest words. A text
    without words (or whose features cancel out) counts as one word: the text itself.
    """

    dimension: int = 256

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError(f"an embedding needs at least one dimension, not {self.dimension}")

    @property
    def name(self) -> str:
        """Name the scheme and its dimension."""
        return f"hashing-{self.dimension}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimension)."""
        slices = [texts[start : start + _SLICE] for start in range(0, len(texts), _SLICE)]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *map(self._embed_slice, slices)])

    def _embed_slice(self, texts: Sequence[str]) -> NDArray[np.float32]:
        row_of, words = _words(texts)
        pairs = _pairs(row_of, words)
        sums = self._sums(row_of, words, count=len(texts)) + _PAIR_WEIGHT * self._sums(*pairs, count=len(texts))
        norms = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
        for row, vector in self._stand_ins(texts, norms):
            sums[row], norms[row] = vector, 1.0
        return (sums / norms).astype(np.float32)

    def _sums(self, row_of: _Rows, features: NDArray[np.uint32], *, count: int) -> NDArray[np.float64]:
        row, feature, weight = _counted(row_of, features)
        mixed = _mix(feature)
        sign = np.where(mixed & np.uint32(1), 1.0, -1.0)
        cell = row * self.dimension + ((mixed >> np.uint32(1)) % np.uint32(self.dimension)).astype(np.intp)
        flat = np.bincount(cell, weights=sign * weight, minlength=count * self.dimension)
        return flat.astype(np.float64, copy=False).reshape(count, self.dimension)

    def _stand_ins(self, texts: Sequence[str], norms: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        for row in np.flatnonzero(norms == 0.0).tolist():
            whole = np.array([_token_hash(texts[row])], dtype=np.uint32)
            yield row, self._sums(np.zeros(1, dtype=np.uint64), whole, count=1)[0]
