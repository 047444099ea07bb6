"""The documents most similar to each query: exact and reproducible to the last bit, in bounded memory.

**The score** of a pair of rows is defined without reference to any block: the products of their numbers, exact in
float64, are summed along the row by numpy's pairwise summation, divided by both lengths for cosine, and rounded to
float32. A row goes through the same operations wherever it stands, so equal vectors have equal scores. A matrix
product does not promise that: the sums at its edges are formed in another order.

**The search** leaves the bulk of the work to a float32 matrix product all the same. However it orders its sums, it
errs by at most ``gamma(n) |q| |d|`` for vectors of n numbers, where ``gamma(n) = n u / (1 - n u)`` and ``u = 2**-24``
(Higham, Accuracy and Stability of Numerical Algorithms, second edition, section 3.1). What else is rounded on the way
is added in :func:`error_bound`. So each product gives an interval that holds the score, and a document can be left
out if the upper end of its interval lies below the k-th greatest lower end. The others are scored as defined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from loco.models.protocols import Role, Similarity
from loco.progress import tracked
from loco.rank.ranking import Float32, Hit, Integers, Pool

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

_QUERY_ROWS = 1024  # looked for at once
_BLOCK_BYTES = 32 << 20  # of documents, and of their products with the queries, at once
_PIECE_BYTES = 4 << 20  # of float64 at once
_SPARE = 1024  # candidates a query may have beyond twice its k before they are thinned out

_UNIT = 2.0**-24  # the greatest relative error of rounding to float32
TINY = 2.0**-126  # below it float32 is rounded by more than that, to zero at worst
_PLAIN = (2.0**-80, 2.0**80)  # squared lengths that a float32 matrix product takes without over- or underflow


class VectorError(ValueError):
    """The vector of text number ``text`` of the queries or the documents (``role``) cannot be compared: ``reason``."""

    def __init__(self, role: Role, text: int, reason: str) -> None:
        super().__init__(f"a vector of {role} number {text} {reason}")
        self.role = role
        self.text = text
        self.reason = reason


class Blocks(Protocol):
    """The vectors of many texts, wherever they lie: text i owns rows ``starts[i]`` to ``starts[i + 1]``."""

    @property
    def starts(self) -> Integers:
        """Shape (texts + 1,), from 0 to the number of rows."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    def block(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``, shape (stop - start, dim)."""
        ...


class Rows(Blocks, Protocol):
    """The vectors of many texts, in whatever form."""

    def take(self, rows: Integers) -> Float32:
        """The rows of those numbers, shape (len(rows), dim): bit by bit those that ``block`` gives."""
        ...


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of many texts.

    - ``matrix``: shape (rows, dim), float32, each row contiguous; it may be a read-only memory map.
    - ``starts``: shape (texts + 1,); text i owns rows ``starts[i]`` to ``starts[i + 1]``, none if it has no tokens.

    Raises ValueError where the two do not fit together.
    """

    matrix: Float32
    starts: Integers

    def __post_init__(self) -> None:
        matrix = self.matrix
        broken = matrix.ndim == 2 and matrix.size and matrix.shape[1] > 1 and matrix.strides[1] != matrix.itemsize
        if matrix.ndim != 2 or matrix.dtype != np.float32 or broken:
            raise ValueError("vectors must be a float32 matrix of contiguous rows")
        check_starts(self.starts, len(matrix))

    @classmethod
    def one_each(cls, matrix: Float32) -> Vectors:
        """Row i as the only vector of text i."""
        return cls(matrix, np.arange(len(matrix) + 1, dtype=np.intp))

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.matrix.shape[1])

    def block(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``: a view."""
        return np.asarray(self.matrix[start:stop])

    def take(self, rows: Integers) -> Float32:
        """The rows of those numbers: a copy."""
        return np.asarray(self.matrix[rows])


def check_starts(starts: Integers, rows: int) -> None:
    """Raise ValueError unless ``starts`` deals out exactly ``rows`` rows, in order."""
    if starts.ndim != 1 or not len(starts) or starts[0] != 0 or starts[-1] != rows or (np.diff(starts) < 0).any():
        raise ValueError(f"starts must rise from 0 to {rows}, the number of rows")


def lengths(rows: Float32) -> Float64:
    """The Euclidean length of each row, the same for the same row wherever it stands.

    Squares of float32 are exact in float64 and cannot overflow there: the length of a row is a finite number exactly if
    all of the row is, and zero exactly if all of it is.
    """
    result = np.empty(len(rows))
    for start, stop in ranges(len(rows), _PIECE_BYTES // 8 // max(1, rows.shape[1])):
        piece = rows[start:stop].astype(np.float64, order="C")
        piece *= piece
        piece.sum(axis=1, out=result[start:stop])
    return np.sqrt(result, out=result)


def lengths_and_type(rows: Float32) -> tuple[Float64, type[np.floating], bool]:
    """The length of each row, to within a relative error of ``dim * 2**-25`` and one rounding; the type in which
    products with rows of length 1 neither over- nor underflow; and whether all lengths are plainly finite and not zero.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", rows, rows)
    if ((squares > _PLAIN[0]) & (squares < _PLAIN[1])).all():
        return np.sqrt(squares, dtype=np.float64), np.float32, True
    norms = lengths(rows)
    plain = (norms[norms > 0] ** 2 > _PLAIN[0]).all() and (norms**2 < _PLAIN[1]).all()
    return norms, np.float32 if plain else np.float64, False


def ranges(stop: int, step: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """``start`` to ``stop`` in ranges of ``step``, at least 1, the last one shorter."""
    step = max(1, step)
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def check_comparable(norms: Float64, similarity: Similarity, role: Role, starts: Integers, first_row: int = 0) -> None:
    """Raise VectorError for the first row, counted from ``first_row``, whose length makes it incomparable."""
    bad = ~np.isfinite(norms) if similarity == "dot" else ~(np.isfinite(norms) & (norms > 0))
    if bad.any():
        row = int(np.argmax(bad))
        text = int(np.searchsorted(starts, first_row + row, side="right")) - 1
        reason = "is zero and has no direction" if norms[row] == 0 else "holds something that is not a finite number"
        raise VectorError(role, text, reason)


def nearest(
    query_ids: Sequence[str], queries: Vectors, documents: Rows, pool: Pool, k: int, similarity: Similarity
) -> dict[str, list[Hit]]:
    """The ``k`` best documents of ``pool`` for each query, exactly, ties falling as :class:`Pool` says.

    ``documents`` are in the order of the pool's ids. A query and a document score the greatest similarity between a
    row of the one and a row of the other. A text without rows is never found, and finds nothing.

    Takes some 200 MB beside ``documents``, and the hits; time grows where very many documents tie.

    Raises VectorError for a row that holds something other than finite numbers, for cosine also for a row of zeros,
    and for a hit whose dot product is too large for float32; ValueError for arguments that do not fit together.
    """
    if len(query_ids) != len(queries.starts) - 1 or len(pool) != len(documents.starts) - 1:
        raise ValueError("there must be as many texts as ids")
    if queries.dim != documents.dim:
        raise ValueError(f"queries have {queries.dim} dimensions and documents {documents.dim}")
    if k < 1:
        raise ValueError("k must be at least 1")
    hits: dict[str, list[Hit]] = {identifier: [] for identifier in query_ids}
    search = _Search(documents, pool, k, similarity)
    asking, starts = texts_with_rows(queries.starts)
    for first, last in whole_texts(starts, _QUERY_ROWS):
        group = Queries.of(queries, asking[first:last], starts[first : last + 1], similarity)
        for query, found in zip(asking[first:last].tolist(), search(group, f"queries to {last:,}"), strict=True):
            hits[query_ids[query]] = found
    return hits


@dataclass(frozen=True, eq=False)
class Queries:
    """Some queries, made ready for the matrix product.

    - ``rows``: as they came, shape (rows, dim); ``norms`` their lengths; query i owns ``starts[i]:starts[i + 1]``.
    - ``scaled``: the rows at length 1 for cosine; for dot at lengths of at most 1, each query multiplied by a power
      of two, ``units[i]``, which scales all of its scores alike and so leaves their order.
    """

    rows: Float32
    norms: Float64
    starts: Integers
    scaled: Float32
    units: Float64

    @classmethod
    def of(cls, queries: Blocks, texts: Integers, starts: Integers, similarity: Similarity) -> Queries:
        """The queries of these numbers, which lie one after another, and where the rows of each start."""
        first, last = int(starts[0]), int(starts[-1])
        rows = queries.block(first, last)
        norms = lengths(rows)
        check_comparable(norms, similarity, "query", queries.starts, first)
        starts = starts - first
        units = np.ones(len(texts))
        scale = 1 / norms if similarity == "cosine" else np.ones(len(rows))
        if similarity == "dot":
            units = np.ldexp(1.0, -np.frexp(np.maximum.reduceat(norms, starts[:-1]))[1])
            scale = np.repeat(units, np.diff(starts))
        return cls(rows, norms, starts, (rows * scale[:, np.newaxis]).astype(np.float32), units)

    def __len__(self) -> int:
        return len(self.units)

    def one(self, i: int) -> Queries:
        """Query i alone."""
        rows = slice(self.starts[i], self.starts[i + 1])
        return Queries(
            self.rows[rows],
            self.norms[rows],
            self.starts[i : i + 2] - self.starts[i],
            self.scaled[rows],
            self.units[i : i + 1],
        )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Documents that may be among a query's best: their numbers, estimates of their scores, and how far these may err.

    A document that does not reach ``threshold`` is none. All but the numbers is in the query's own unit.
    """

    texts: Integers
    estimates: Float64
    errors: Float64
    threshold: float = -np.inf

    def __len__(self) -> int:
        return len(self.texts)

    def joined(self, other: Candidates) -> Candidates:
        """These and others, as far as they reach the threshold of these."""
        keep = other.estimates + other.errors >= self.threshold
        return Candidates(
            np.concatenate([self.texts, other.texts[keep]]),
            np.concatenate([self.estimates, other.estimates[keep]]),
            np.concatenate([self.errors, other.errors[keep]]),
            self.threshold,
        )

    def thinned(self, k: int) -> Candidates:
        """Those that may be among the ``k`` best of these."""
        if len(self) < k:
            return self
        threshold = float(np.partition(self.estimates - self.errors, len(self) - k)[len(self) - k])
        keep = self.estimates + self.errors >= threshold
        return Candidates(self.texts[keep], self.estimates[keep], self.errors[keep], threshold)

    def few(self, pool: Pool, k: int, unit: float, scores: Callable[[Integers], Float32]) -> Candidates:
        """These, thinned out if they are many. ``scores`` gives those of some texts, as they are defined; times
        ``unit`` they are comparable with the estimates.
        """
        enough = 2 * k + _SPARE
        if len(self) <= enough:
            return self
        thinned = self.thinned(k)
        if len(thinned) <= enough:
            return thinned
        # So many lie so close together that only their scores tell them apart, or the ids where those are equal.
        found = scores(thinned.texts)
        best = pool.best(thinned.texts, found, k)
        exact = found[best].astype(np.float64) * unit
        return Candidates(thinned.texts[best], exact, np.zeros(len(best)), float(exact.min()))


class _Search:
    """The documents, ready to be searched."""

    def __init__(self, documents: Rows, pool: Pool, k: int, similarity: Similarity) -> None:
        self._documents = documents
        self._pool = pool
        self._k = k
        self._similarity = similarity
        self._texts, self._starts = texts_with_rows(documents.starts)
        self._relative_error = error_bound(documents.dim)

    def __call__(self, queries: Queries, label: str) -> list[list[Hit]]:
        """The hits of each query."""
        row_bytes = 4 * max(1, self._documents.dim, len(queries.rows))
        limit = max(1, _BLOCK_BYTES // row_bytes)
        found = [Candidates(np.empty(0, np.intp), np.empty(0), np.empty(0)) for _ in range(len(queries))]
        for first, last in tracked(list(whole_texts(self._starts, limit)), label):
            self._look_through(queries, found, first, last, limit)
        return [self._hits(queries.one(i), candidates) for i, candidates in enumerate(found)]

    def _look_through(self, queries: Queries, found: list[Candidates], first: int, last: int, limit: int) -> None:
        """Add to what each query has found the candidates among the texts in places ``first`` to ``last``."""
        texts = self._texts[first:last]
        estimates, errors = self._estimates_of_texts(queries, first, last, limit)
        slack = queries.units * TINY
        thresholds = np.array([candidates.threshold for candidates in found])
        floors = rounded_down(thresholds - slack - errors.max(), estimates.dtype)
        for i, (row, floor) in enumerate(zip(estimates, floors, strict=True)):
            places = np.flatnonzero(row >= floor)
            if len(places):
                fresh = Candidates(texts[places], row[places].astype(np.float64), errors[places] + slack[i])
                found[i] = self._few(queries, i, found[i].joined(fresh))

    def _estimates_of_texts(self, queries: Queries, first: int, last: int, limit: int) -> tuple[Floats, Floats]:
        """Estimates, shape (queries, texts), for the texts in places ``first`` to ``last``, and each text's error."""
        cuts = self._starts[first:last] - self._starts[first]
        parts, reaches = [], []
        # More than one turn only if this is a single text of more than ``limit`` rows.
        for start, stop in ranges(int(self._starts[last]), limit, int(self._starts[first])):
            estimates, errors = self._estimates(queries, self._documents.block(start, stop), start)
            parts.append(_greatest(_greatest(estimates, queries.starts[:-1], axis=0), cuts, axis=1))
            reaches.append(_greatest(errors, cuts, axis=0))
        return reduce(np.maximum, parts), reduce(np.maximum, reaches)

    def _estimates(self, queries: Queries, rows: Float32, first_row: int | None) -> tuple[Floats, Float64]:
        """Estimates by matrix product, shape (query rows, rows), in the queries' units, and each row's error.

        Checks the rows, which are those from number ``first_row`` on, unless it is None.
        """
        norms, kind, checked = lengths_and_type(rows)
        if first_row is not None and not checked:
            check_comparable(norms, self._similarity, "document", self._documents.starts, first_row)
        estimates: Floats = queries.scaled.astype(kind, copy=False) @ rows.astype(kind, copy=False).T
        if self._similarity == "dot":
            return estimates, self._relative_error * norms
        estimates *= (1 / norms).astype(kind)
        return estimates, np.full(len(rows), self._relative_error)

    def _few(self, queries: Queries, i: int, candidates: Candidates) -> Candidates:
        """The candidates of query i, thinned out if they are many."""
        unit = float(queries.units[i])
        return candidates.few(self._pool, self._k, unit, lambda texts: self._scores(queries.one(i), texts))

    def _hits(self, query: Queries, candidates: Candidates) -> list[Hit]:
        """The best of a query's candidates."""
        texts = candidates.thinned(self._k).texts
        scores = self._scores(query, texts)
        best = self._pool.best(texts, scores, self._k)
        infinite = best[~np.isfinite(scores[best])]
        if len(infinite):
            raise VectorError("document", int(texts[infinite].min()), "has a dot product too large for a float32")
        return self._pool.hits(texts[best], scores[best])

    def _scores(self, query: Queries, texts: Integers) -> Float32:
        """The scores, as they are defined, of one query and the texts of those numbers, each of which has rows."""
        starts = self._documents.starts
        counts = starts[texts + 1] - starts[texts]
        owners = np.repeat(np.arange(len(texts)), counts)
        rows = np.arange(len(owners)) + np.repeat(starts[texts] - np.cumsum(counts) + counts, counts)
        scores = np.full(len(texts), -np.inf, dtype=np.float32)
        dim = max(1, self._documents.dim)
        for start, stop in ranges(len(rows), _BLOCK_BYTES // 8 // max(dim, len(query.rows))):
            block, of = self._documents.take(rows[start:stop]), owners[start:stop]
            if len(query.rows) == 1 and of[-1] - of[0] == len(of) - 1:  # one row a text
                scores[of] = np.maximum(scores[of], self._similarities(query.rows, query.norms, block))
                continue
            ours, theirs = self._contenders(query, block, of)
            for low, high in ranges(len(ours), _PIECE_BYTES // 8 // dim):
                mine, other = ours[low:high], theirs[low:high]
                some = self._similarities(query.rows[mine], query.norms[mine], block[other])
                np.maximum.at(scores, of[other], some)
        return scores

    def _contenders(self, query: Queries, block: Float32, owners: Integers) -> tuple[Integers, Integers]:
        """Those pairs of a row of the query and a row of the block that may be the most similar of their text."""
        estimates, errors = self._estimates(query, block, None)
        cuts = np.flatnonzero(np.diff(owners, prepend=-1))
        reached = np.maximum.reduceat((estimates - errors).max(axis=0), cuts)
        needed = np.repeat(reached, np.diff(cuts, append=len(owners)))
        ours, theirs = np.nonzero(estimates + errors >= needed)
        return ours, theirs

    def _similarities(self, ours: Float32, our_norms: Float64, theirs: Float32) -> Float32:
        """The similarity of each row with its partner, or of one row with each."""
        sums = np.multiply(ours, theirs, dtype=np.float64).sum(axis=1)
        if self._similarity == "cosine":
            sums /= our_norms * lengths(theirs)
        with np.errstate(over="ignore"):  # an infinite score is named if it is a hit
            similarities: Float32 = sums.astype(np.float32)
        return similarities


def error_bound(dim: int) -> float:
    """How far an estimate may lie from the score, both divided by the lengths of the two rows.

    The sum: ``gamma(dim)``. The length of the document, from a sum of float32: half of that again. Eight more
    roundings cover the numbers of the query, the reciprocal, the product with it, the score itself, all float64
    arithmetic, and what underflows at the lengths that a float32 product is used for.
    """
    roundings = 1.5 * dim + 8
    return roundings * _UNIT / (1 - roundings * _UNIT)


def texts_with_rows(starts: Integers) -> tuple[Integers, Integers]:
    """The numbers of the texts that have rows; and where their rows start, with the end of the last one."""
    texts: Integers = np.flatnonzero(np.diff(starts))
    return texts, np.append(starts[texts], starts[-1])


def whole_texts(starts: Integers, limit: int) -> Iterator[tuple[int, int]]:
    """Places of texts, one after another, in ranges of at most ``limit`` rows or of a single text that has more."""
    first, end = 0, len(starts) - 1
    while first < end:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + limit, side="right")) - 1)
        yield first, last
        first = last


def _greatest(values: Floats, cuts: Integers, axis: int) -> Floats:
    """The greatest values between one cut and the next along an axis."""
    return values if len(cuts) == values.shape[axis] else np.maximum.reduceat(values, cuts, axis=axis)


def rounded_down(values: Float64, kind: npt.DTypeLike) -> Floats:
    """The values in a coarser type, not above what they were."""
    with np.errstate(over="ignore"):
        below: Floats = np.nextafter(values.astype(kind), np.array(-np.inf, dtype=kind))
    return below
