"""Near-duplicate documents: MinHash to find candidates, exact Jaccard similarity to decide.

Broder, On the resemblance and containment of documents (1997): two texts resemble one another as far as their sets of
word shingles overlap. A pair counts from a Jaccard similarity of ``THRESHOLD`` on, and groups are the connected
components of such pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

# Five words hardly ever recur by chance, yet one changed word only touches five shingles.
SHINGLE_WORDS = 5
# Four of five shingles shared: one text with small changes, not two texts about one thing. In the real qmsum no pair is
# near it: docs/audit.md.
THRESHOLD = 0.8
# 32 bands of 4 rows: a pair at the threshold is overlooked with probability (1 - 0.8^4)^32 = 5e-8. What the bands let
# through needlessly costs time only, since every candidate is decided by its exact similarity.
_BANDS, _ROWS = 32, 4
# MinHash of datasketch holds shingles x permutations in memory: long documents are handed over in pieces.
_SHINGLES_AT_ONCE = 8192

Shingles = npt.NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Shingler:
    """Turns words into sets of hashed shingles, comparable among those of one shingler.

    Words get numbers in the order they come, so nothing is random.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def shingles(self, words: Sequence[str]) -> Shingles:
        """The distinct shingles of ``words``, each as a 64-bit hash, ascending; shape (shingles,).

        A text shorter than a shingle has one, made of all its words; a text without words has none.
        """
        numbers = self._numbers
        ids = np.array([numbers.setdefault(word, len(numbers) + 1) for word in words], dtype=np.uint64)
        width = min(SHINGLE_WORDS, len(ids))
        if not width:
            return ids
        hashes = np.zeros(len(ids) - width + 1, dtype=np.uint64)
        for place in range(width):
            hashes = hashes * _MULTIPLIER + ids[place : place + len(hashes)]
        return np.unique(hashes)


class NearDuplicates:
    """Grows groups of near-duplicates, one text at a time."""

    def __init__(self) -> None:
        self._index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
        self._shingles: dict[int, Shingles] = {}
        self._parent: dict[int, int] = {}

    def add(self, key: int, shingles: Shingles) -> None:
        """Add the text ``key``, a number not used before, joining it with every near-duplicate among the earlier."""
        self._parent[key] = key
        if not len(shingles):
            return
        sketch = MinHash(num_perm=_BANDS * _ROWS, hashfunc=int)
        for start in range(0, len(shingles), _SHINGLES_AT_ONCE):
            piece = shingles[start : start + _SHINGLES_AT_ONCE]
            # The high half of a product depends on all bits below it; datasketch takes 32 bits and mixes them again.
            sketch.update_batch(((piece * _MULTIPLIER) >> np.uint64(32)).tolist())
        for earlier in sorted(self._index.query(sketch)):
            root = self.group(earlier)
            if root != self.group(key) and jaccard(self._shingles[earlier], shingles) >= THRESHOLD:
                self._parent[self.group(key)] = root
        self._index.insert(key, sketch, check_duplication=False)
        self._shingles[key] = shingles

    def group(self, key: int) -> int:
        """The number of the group of ``key``: that of one of its members."""
        while self._parent[key] != key:
            self._parent[key] = key = self._parent[self._parent[key]]
        return key


def jaccard(first: Shingles, second: Shingles) -> float:
    """|intersection| / |union| of two sets of shingles, each ascending and distinct; exact but for hash collisions."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)
