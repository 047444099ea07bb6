"""hash-512: an encoder that comes with loco, so that everything can be seen working without a download.

It is a baseline of words, not of meaning: two texts are similar as far as they share words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import scipy.sparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from loco.models.card import ModelCard
from loco.models.protocols import EncoderTraits, Input, Role, Span
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32

WINDOW = 512
"""Words it reads at once."""

_WORD = re.compile(r"\w+")
_BUCKET_ENTRIES = 16
_WEIGHT_UNIT = 1 / 256
_BATCH_WORDS = 65_536


@dataclass(frozen=True)
class Words:
    """The words of one text, in lower case; they are the tokens of this encoder."""

    words: Sequence[str]
    role: Role

    @property
    def tokens(self) -> int:
        """How many words there are, or the limit."""
        return len(self.words)

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """Words ``start`` to ``stop``, joined by blanks."""
        if spans:
            raise ValueError("hash-512 has no vectors of words, so none of spans either")
        return Input(" ".join(self.words[start:stop]), stop - start, self.role)


class HashingEncoder:
    """Bags of words, hashed into buckets and projected at random to a short dense vector.

    1. Words are counted by the bucket scikit-learn's FeatureHasher (MurmurHash3) puts them in, English stop words left
       out. A text of nothing but stop words keeps them: it would have no vector otherwise.
    2. A count n weighs 1 + ln n, as a multiple of 1/256.
    3. The projection is the sparse Johnson-Lindenstrauss transform of Kane and Nelson (Sparser Johnson-Lindenstrauss
       Transforms, J. ACM 61(1), 2014), block construction: the dimensions fall into 16 blocks, and every bucket has one
       entry, +1 or -1, in each. scikit-learn's SparseRandomProjection draws each entry by itself, by default so
       sparsely that a third of all words would have none and vanish.
    4. The vector is scaled to unit length.

    The same texts give the same bits everywhere: all sums are of whole numbers below 2**53, exact in any order, and
    the projection is drawn from the raw stream of PCG64, which NumPy keeps stable; its distributions, and
    scikit-learn's projections, may change with a version.

    Settings of the card: ``buckets``, ``dim`` (a multiple of 16) and ``seed``.
    """

    def __init__(self, card: ModelCard, runtime: Runtime) -> None:
        buckets, dim, seed = (int(card.parameters[name]) for name in ("buckets", "dim", "seed"))
        self.card = card
        self.traits = EncoderTraits(
            fingerprint=_fingerprint(buckets, dim, seed),
            dim=dim,
            max_tokens=WINDOW,
            unit_length=True,
            batch_tokens=runtime.batch_tokens or _BATCH_WORDS,
        )
        self._hasher = FeatureHasher(buckets, input_type="string", alternate_sign=False)
        self._projection = _projection(buckets, dim, seed)

    def overhead(self, role: Role) -> int:
        """None: there are no prompts and no special tokens."""
        return 0

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[Words]:
        """The words of each text: runs of letters, digits and underscores of any script, in lower case."""
        return [Words(_words(text, limit), role) for text in texts]

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """One vector of unit length each; zeros for an input without words."""
        counts = self._hasher.transform(map(_weighed, inputs))
        counts.data = np.round((1 + np.log(counts.data)) / _WEIGHT_UNIT)
        sums = (counts @ self._projection).toarray()
        lengths = np.sqrt(np.square(sums).sum(axis=1, keepdims=True))
        vectors = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0).astype(np.float32)
        return list(vectors[:, np.newaxis, :])


def _words(text: str, limit: int | None) -> list[str]:
    if limit is None:
        return _WORD.findall(text.lower())
    return [match[0] for match in islice(_WORD.finditer(text.lower()), limit)]


def _weighed(piece: Input) -> list[str]:
    words = str(piece.content).split()
    return [word for word in words if word not in ENGLISH_STOP_WORDS] or words


def _projection(buckets: int, dim: int, seed: int) -> scipy.sparse.csr_array:
    """Shape (buckets, dim), 16 entries of +1 or -1 a row, one in each block of columns."""
    width = dim // _BUCKET_ENTRIES
    draws = np.random.PCG64(seed).random_raw(buckets * _BUCKET_ENTRIES)
    signs = 1.0 - 2.0 * (draws & np.uint64(1))
    places = (draws >> np.uint64(1)) % np.uint64(width)
    blocks = np.tile(np.arange(0, dim, width, dtype=np.int32), buckets)
    rows = np.arange(0, len(draws) + 1, _BUCKET_ENTRIES, dtype=np.int32)
    return scipy.sparse.csr_array((signs, places.astype(np.int32) + blocks, rows), shape=(buckets, dim))


def _fingerprint(buckets: int, dim: int, seed: int) -> str:
    """The stop words are scikit-learn's, so they are part of it."""
    settings = (
        f"hashing 1: {buckets} {dim} {seed} {_BUCKET_ENTRIES} {_WEIGHT_UNIT} {' '.join(sorted(ENGLISH_STOP_WORDS))}"
    )
    return hashlib.sha256(settings.encode()).hexdigest()
