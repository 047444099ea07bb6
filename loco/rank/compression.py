"""Smaller vectors, as options of an evaluation: fewer numbers in a vector, or fewer bits in a number.

What is compressed is the index, so the documents; queries stay float32. A compressed document is compared as the vector
it decodes to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from loco.errors import LocoError
from loco.models.protocols import Similarity
from loco.rank.nearest import Vectors, check_comparable, check_starts, lengths, ranges
from loco.rank.ranking import Float32, Integers

Form = Literal["int8", "binary"]
Codes = npt.NDArray[np.uint8]

_BLOCK_BYTES = 4 << 20  # of float32 at once
_LEVELS = 255  # steps between the 256 values of a byte


def cut(matrix: Float32, dim: int, *, normalise: bool = False) -> Float32:
    """The first ``dim`` numbers of each row, as Matryoshka representations (arXiv 2205.13147) are cut.

    ``matrix``: shape (rows, numbers). With ``normalise`` the rows are brought back to unit length, which matters to dot
    products only (a row of zeros stays one); without, the result is a view. Raises LocoError for a ``dim`` that the
    rows do not have.
    """
    full = matrix.shape[1]
    if not 1 <= dim <= full:
        raise LocoError(f"Vectors of {full} numbers cannot be cut to {dim}. Choose between 1 and {full}.")
    head = matrix[:, :dim]
    if not normalise:
        return head
    result = np.empty(head.shape, dtype=np.float32)
    for start, stop in _blocks(head):
        norms = lengths(head[start:stop])
        norms[norms == 0] = 1
        result[start:stop] = head[start:stop] / norms[:, np.newaxis]
    return result


@dataclass(frozen=True, eq=False)
class Compressed(ABC):
    """The vectors of many documents in few bytes.

    - ``codes``: shape (rows, bytes_per_row).
    - ``starts``: shape (documents + 1,); document i owns rows ``starts[i]`` to ``starts[i + 1]``.
    """

    codes: Codes
    starts: Integers

    def __post_init__(self) -> None:
        check_starts(self.starts, len(self.codes))

    @property
    @abstractmethod
    def dim(self) -> int:
        """Numbers in a vector."""

    @abstractmethod
    def decode(self, codes: Codes) -> Float32:
        """The vectors that codes stand for, shape (rows, dim); each number depends on its own code alone."""

    @property
    def bytes_per_row(self) -> int:
        """What one vector takes."""
        return int(self.codes.shape[1])

    def block(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``, decoded."""
        return self.decode(self.codes[start:stop])

    def take(self, rows: Integers) -> Float32:
        """The rows of those numbers, decoded."""
        return self.decode(self.codes[rows])


@dataclass(frozen=True, eq=False)
class Int8(Compressed):
    """A byte a number: ``low + step * code``, with a ``low`` and a ``step`` for each dimension, shape (dim,).

    ``low`` is the least number of the dimension among all documents and ``low + 255 step`` the greatest, so that none
    is clipped. faiss (ScalarQuantizer, QT_8bit) and sentence-transformers (quantize_embeddings, "uint8"; "int8" is the
    same less 128) lay out the same 256 levels. They round down, faiss then decoding to the middle between two levels;
    here numbers go to the nearest level, so they are off by half a step at most.
    """

    low: Float32
    step: Float32

    @classmethod
    def of(cls, vectors: Vectors, similarity: Similarity) -> Int8:
        """Calibrated on the vectors themselves."""
        low = np.full(vectors.dim, np.inf, dtype=np.float32)
        high = -low
        for _, _, rows in _comparable(vectors, similarity):
            np.minimum(low, rows.min(axis=0), out=low)
            np.maximum(high, rows.max(axis=0), out=high)
        if not len(vectors.matrix):
            low = high = np.zeros_like(low)
        step = ((high.astype(np.float64) - low) / _LEVELS).astype(np.float32)
        divisor = np.where(step == 0, 1, step).astype(np.float64)
        codes = np.empty(vectors.matrix.shape, dtype=np.uint8)
        for start, stop, rows in _comparable(vectors, similarity):
            codes[start:stop] = np.clip(np.rint((rows - low.astype(np.float64)) / divisor), 0, _LEVELS)
        return cls(codes, vectors.starts, low, step)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return len(self.low)

    def decode(self, codes: Codes) -> Float32:
        """The levels that codes stand for."""
        rows = codes.astype(np.float32)
        rows *= self.step
        rows += self.low
        return rows


@dataclass(frozen=True, eq=False)
class Binary(Compressed):
    """A bit a number, 8 to a byte: set for numbers above zero, as sentence-transformers does for "ubinary".

    A vector decodes to ``1 / sqrt(size)`` where the bit is set and the negative of that elsewhere: to unit length, so
    that its dot product with a query of unit length is a cosine.
    """

    size: int

    @classmethod
    def of(cls, vectors: Vectors, similarity: Similarity) -> Binary:
        """The signs of the vectors."""
        codes = np.empty((len(vectors.matrix), (vectors.dim + 7) // 8), dtype=np.uint8)
        for start, stop, rows in _comparable(vectors, similarity):
            codes[start:stop] = np.packbits(rows > 0, axis=1)
        return cls(codes, vectors.starts, vectors.dim)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.size

    def decode(self, codes: Codes) -> Float32:
        """The signs that codes stand for, scaled."""
        rows = np.unpackbits(codes, axis=1, count=self.size).astype(np.float32)
        scale = np.float32(self.size**-0.5)
        rows *= 2 * scale
        rows -= scale
        return rows


def compress(vectors: Vectors, form: Form, similarity: Similarity) -> Compressed:
    """The vectors in a smaller form; those that are compared by cosine are first brought to unit length.

    Takes a few MB beside the codes. Raises loco.rank.nearest.VectorError for a row that cannot be compared: where only
    signs are left, nothing would show it.
    """
    return Int8.of(vectors, similarity) if form == "int8" else Binary.of(vectors, similarity)


def _comparable(vectors: Vectors, similarity: Similarity) -> Iterator[tuple[int, int, Float32]]:
    """The rows, block by block, checked and for cosine at unit length: where a block starts, where it stops, and it."""
    for start, stop in _blocks(vectors.matrix):
        rows = vectors.block(start, stop)
        norms = lengths(rows)
        check_comparable(norms, similarity, "document", vectors.starts, start)
        yield start, stop, rows if similarity == "dot" else (rows / norms[:, np.newaxis]).astype(np.float32)


def _blocks(matrix: Float32) -> Iterator[tuple[int, int]]:
    return ranges(len(matrix), _BLOCK_BYTES // 4 // max(1, matrix.shape[1]))
