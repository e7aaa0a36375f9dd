"""An embedder that needs no network and no model file: signed feature hashing of words and word pairs.

Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
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


def _token_hash(token: str) -> int:
    return crc32(token.encode(errors="surrogatepass"))


def _piece_hashes(piece: str) -> tuple[int, ...]:
    words = (token.lower() for token in _TOKEN.findall(piece))
    return tuple(_token_hash(word) for word in words if not _says_nothing(word))


def _says_nothing(word: str) -> bool:
    return word in _STOP_WORDS or (len(word) == 1 and "a" <= word <= "z")


_remembered_hashes = lru_cache(maxsize=32_768)(_piece_hashes)
"""Texts repeat their words; pieces longer than a word are not kept, which bounds the memory."""


def _mix(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Spread each hash over all its bits (the finaliser of MurmurHash3)."""
    mixed = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return mixed ^ (mixed >> np.uint32(16))


def _words(text: str) -> NDArray[np.uint32]:
    hashes = ((_remembered_hashes if len(piece) <= _WORD_LENGTH else _piece_hashes)(piece) for piece in text.split())
    return np.fromiter(chain.from_iterable(hashes), dtype=np.uint32)


def _pairs(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return words[:-1] * np.uint32(0x9E3779B1) + words[1:]


def _counted(rows: Sequence[NDArray[np.uint32]]) -> tuple[NDArray[np.intp], NDArray[np.uint32], NDArray[np.float64]]:
    """Return row, feature and square root of the count of each distinct feature of each row."""
    lengths = np.fromiter(map(len, rows), dtype=np.uint64, count=len(rows))
    row_of = np.repeat(np.arange(len(rows), dtype=np.uint64), lengths.astype(np.intp))
    keys, counts = np.unique((row_of << np.uint64(32)) | np.concatenate(rows), return_counts=True)
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
        words = [_words(text) for text in texts]
        sums = self._sums(words) + _PAIR_WEIGHT * self._sums([_pairs(row) for row in words])
        norms = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
        for row, vector in self._stand_ins(texts, norms):
            sums[row], norms[row] = vector, 1.0
        return (sums / norms).astype(np.float32)

    def _sums(self, rows: Sequence[NDArray[np.uint32]]) -> NDArray[np.float64]:
        row, feature, weight = _counted(rows)
        mixed = _mix(feature)
        sign = np.where(mixed & np.uint32(1), 1.0, -1.0)
        cell = row * self.dimension + ((mixed >> np.uint32(1)) % np.uint32(self.dimension)).astype(np.intp)
        flat = np.bincount(cell, weights=sign * weight, minlength=len(rows) * self.dimension)
        return flat.astype(np.float64, copy=False).reshape(len(rows), self.dimension)

    def _stand_ins(self, texts: Sequence[str], norms: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        for row in np.flatnonzero(norms == 0.0).tolist():
            whole = np.array([_token_hash(texts[row])], dtype=np.uint32)
            yield row, self._sums([whole])[0]
