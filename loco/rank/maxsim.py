"""The best documents of each query by MaxSim, for models with a vector a token: exact, and in bounded memory.

**The score** of a query and a document is the sum, over the rows of the query, of the greatest dot product with a row
of the document (ColBERT, arXiv 2004.12832, equation 3). It is defined without reference to any block, as in
:mod:`loco.rank.nearest`: a dot product is summed in float64 along the row, the greatest ones are summed in float64 by
numpy's pairwise summation, and the sum is rounded to float32. Equal documents have equal scores.

**The search** first estimates every score from float32 matrix products, whose error is bounded (the same bound, summed
over the rows of the query), and then scores as defined the documents that can be among the best. Of the products of a
document, only the pairs of rows that can be the greatest of their row are computed again.

Documents are read block by block, twice at most for every 16,384 rows of queries, and are never held all at once. Each
core works on its own part of a block's products, small enough to stay in its cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from loco.progress import tracked
from loco.rank.nearest import (
    TINY,
    Blocks,
    Candidates,
    Float64,
    Floats,
    Queries,
    VectorError,
    check_comparable,
    error_bound,
    lengths_and_type,
    ranges,
    rounded_down,
    texts_with_rows,
    whole_texts,
)
from loco.rank.ranking import Float32, Hit, Integers, Pool

_QUERY_ROWS = 1 << 14  # looked for at once
_BLOCK_BYTES = 8 << 20  # of documents at once
_BLOCK_TEXTS = 256
_PIECE = 512  # rows of documents, and of queries, in one product: what a core's cache holds
_LEAST_PIECE = 64  # rows of queries, where there are fewer than the cores could share
_PAIR_BYTES = 4 << 20  # of float64 at once
_LEAST_LENGTH = 2.0**-100  # a scaled row that is shorter is rounded by more, relative to its length, than others are


def best_by_maxsim(
    query_ids: Sequence[str], queries: Blocks, documents: Blocks, pool: Pool, k: int
) -> dict[str, list[Hit]]:
    """The ``k`` best documents of ``pool`` for each query, exactly, ties falling as :class:`Pool` says.

    ``documents`` are in the order of the pool's ids. A text without rows is never found, and finds nothing.

    Takes some 100 MB beside the hits. Raises VectorError for a row that holds something other than finite numbers, and
    for a hit whose score is too large for float32; ValueError for arguments that do not fit together.
    """
    from threadpoolctl import threadpool_limits

    if len(query_ids) != len(queries.starts) - 1 or len(pool) != len(documents.starts) - 1:
        raise ValueError("there must be as many texts as ids")
    if queries.dim != documents.dim:
        raise ValueError(f"queries have {queries.dim} dimensions and documents {documents.dim}")
    if k < 1:
        raise ValueError("k must be at least 1")
    hits: dict[str, list[Hit]] = {identifier: [] for identifier in query_ids}
    asking, starts = texts_with_rows(queries.starts)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_cores()) as cores:
        search = _Search(documents, pool, k, cores)
        for first, last in whole_texts(starts, _QUERY_ROWS):
            group = Queries.of(queries, asking[first:last], starts[first : last + 1], "dot")
            for query, found in zip(asking[first:last].tolist(), search(group, f"queries to {last:,}"), strict=True):
                hits[query_ids[query]] = found
    return hits


class _Search:
    """The documents, ready to be searched."""

    def __init__(self, documents: Blocks, pool: Pool, k: int, cores: ThreadPoolExecutor) -> None:
        self._documents, self._pool, self._k, self._cores = documents, pool, k, cores
        self._texts, self._starts = texts_with_rows(documents.starts)
        self._relative_error = error_bound(documents.dim)
        self._limit = max(1, _BLOCK_BYTES // (4 * max(1, documents.dim)))

    def __call__(self, queries: Queries, label: str) -> list[list[Hit]]:
        """The hits of each query."""
        found = [Candidates(np.empty(0, np.intp), np.empty(0), np.empty(0)) for _ in range(len(queries))]
        for first, last in tracked(list(self._blocks()), label):
            self._look_through(queries, found, first, last)
        chosen = [candidates.thinned(self._k).texts for candidates in found]
        return [
            self._hits(texts, scores)
            for texts, scores in zip(chosen, self._scores(queries, chosen, f"best of {label}"), strict=True)
        ]

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """The places of texts that are looked at together."""
        for first, last in whole_texts(self._starts, self._limit):
            yield from ranges(last, _BLOCK_TEXTS, first)

    def _rows(self, place: int, last: int) -> Iterator[tuple[int, Float32]]:
        """The rows of the texts from one place to another, and the number of their first one; in several parts only
        if it is a single text of more than a block.
        """
        for start, stop in ranges(int(self._starts[last]), self._limit, int(self._starts[place])):
            yield start, self._documents.block(start, stop)

    def _look_through(self, queries: Queries, found: list[Candidates], first: int, last: int) -> None:
        """Add to what each query has found the candidates among the texts in places ``first`` to ``last``."""
        texts = self._texts[first:last]
        estimates, errors = self._estimates(queries, first, last)
        slack = queries.units * TINY
        thresholds = np.array([candidates.threshold for candidates in found])
        floors = thresholds - slack - errors.max(axis=1)
        for i, (row, floor) in enumerate(zip(estimates, floors, strict=True)):
            places = np.flatnonzero(row >= floor)
            if len(places):
                fresh = Candidates(texts[places], row[places], errors[i, places] + slack[i])
                found[i] = self._few(queries, i, found[i].joined(fresh))

    def _estimates(self, queries: Queries, first: int, last: int) -> tuple[Float64, Float64]:
        """Estimates of the scores in the queries' units, shape (queries, texts), and how far each may err."""
        starts = self._starts[first : last + 1]
        maxima: Floats = np.full((last - first, len(queries.rows)), -np.inf, dtype=np.float32)
        reach = np.zeros(last - first)
        step = min(_PIECE, max(_LEAST_PIECE, -(-len(queries.rows) // _cores())))
        for start, rows in self._rows(first, last):
            norms, kind, checked = lengths_and_type(rows)
            if not checked:
                check_comparable(norms, "dot", "document", self._documents.starts, start)
            segments = list(_segments(starts - start, len(rows)))
            for text, low, high in segments:
                reach[text] = max(reach[text], norms[low:high].max())
            maxima = maxima.astype(np.result_type(maxima, kind), copy=False)
            left, right = queries.scaled.astype(kind, copy=False), rows.astype(kind, copy=False)
            pieces = [
                self._cores.submit(_maximise, left[a:b], right, segments, maxima[:, a:b])
                for a, b in ranges(len(left), step)
            ]
            for piece in pieces:
                piece.result()
        sums = np.add.reduceat(maxima, queries.starts[:-1], axis=1, dtype=np.float64)
        weights = np.add.reduceat(queries.norms, queries.starts[:-1]) * queries.units
        return np.ascontiguousarray(sums.T), self._relative_error * np.outer(weights, reach)

    def _few(self, queries: Queries, i: int, candidates: Candidates) -> Candidates:
        """The candidates of query i, thinned out if they are many."""
        unit = float(queries.units[i])
        return candidates.few(self._pool, self._k, unit, lambda texts: self._scores(queries.one(i), [texts])[0])

    def _hits(self, texts: Integers, scores: Float32) -> list[Hit]:
        best = self._pool.best(texts, scores, self._k)
        infinite = best[~np.isfinite(scores[best])]
        if len(infinite):
            raise VectorError("document", int(texts[infinite].min()), "has a score too large for a float32")
        return self._pool.hits(texts[best], scores[best])

    def _scores(self, queries: Queries, texts: Sequence[Integers], label: str | None = None) -> list[Float32]:
        """The scores, as they are defined, of each query and the documents of those numbers, each of which has rows.

        A document is read once for all queries that ask for it.
        """
        asking = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
        asked = np.concatenate([*texts, np.empty(0, np.intp)])
        scores = np.empty(len(asked), dtype=np.float32)
        order = np.argsort(asked, kind="stable")
        numbers, firsts = np.unique(asked[order], return_index=True)
        places = np.searchsorted(self._texts, numbers)
        owners = np.split(order, firsts[1:])
        at_once = list(ranges(len(places), 4 * _cores()))
        for first, last in at_once if label is None else tracked(at_once, label):
            under_way = []
            for place, pairs in zip(places[first:last].tolist(), owners[first:last], strict=True):
                under_way.append((pairs, self._cores.submit(self._scores_of, queries, asking[pairs], place)))
            for pairs, one in under_way:
                scores[pairs] = one.result()
        return np.split(scores, np.cumsum([len(some) for some in texts])[:-1])

    def _scores_of(self, queries: Queries, asking: Integers, place: int) -> Float32:
        """The scores of the text at a place, for some of the queries."""
        counts = np.diff(queries.starts)[asking]
        ends = np.cumsum(counts)
        chosen = np.repeat(queries.starts[asking] - ends + counts, counts) + np.arange(ends[-1])
        maxima = np.full(len(chosen), -np.inf)
        for _, rows in self._rows(place, place + 1):
            for low, high in ranges(len(rows), _PIECE):
                part = rows[low:high]
                norms, kind, _ = lengths_and_type(part)
                for a, b in ranges(len(chosen), _PIECE):
                    some = chosen[a:b]
                    products = part.astype(kind, copy=False) @ queries.scaled[some].astype(kind, copy=False).T
                    weights = queries.norms[some] * np.repeat(queries.units[asking], counts)[a:b]
                    weights = np.maximum(weights, _LEAST_LENGTH)
                    reached = products.max(axis=0).astype(np.float64)
                    reached -= 2 * self._relative_error * norms.max() * weights + TINY
                    near = np.flatnonzero(products >= rounded_down(reached, kind))  # far faster than nonzero
                    theirs, ours = np.divmod(near, b - a)
                    _keep_greatest(maxima[a:b], queries.rows[some], part, ours, theirs)
        sums = np.array([maxima[end - count : end].sum() for end, count in zip(ends, counts, strict=True)])
        with np.errstate(over="ignore"):  # an infinite score is named if it is a hit
            scores: Float32 = sums.astype(np.float32)
        return scores


def _maximise(queries: Floats, documents: Floats, segments: Sequence[tuple[int, int, int]], maxima: Floats) -> None:
    """Raise ``maxima``, shape (texts, query rows), to the greatest product with a row of each text's segment."""
    buffer = np.empty((min(_PIECE, len(documents)), len(queries)), dtype=queries.dtype)
    for low, high, inside in _pieces(segments):
        products = buffer[: high - low]
        np.matmul(documents[low:high], queries.T, out=products)
        for text, start, stop in inside:
            np.maximum(maxima[text], products[start - low : stop - low].max(axis=0), out=maxima[text])


def _pieces(segments: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """Segments, which lie one after another, in pieces of at most ``_PIECE`` rows, longer ones in several."""
    inside: list[tuple[int, int, int]] = []
    for text, start, stop in segments:
        for low, high in ranges(stop, _PIECE, start):
            if inside and high - inside[0][1] > _PIECE:
                yield inside[0][1], inside[-1][2], inside
                inside = []
            inside.append((text, low, high))
    if inside:
        yield inside[0][1], inside[-1][2], inside


def _segments(starts: Integers, rows: int) -> Iterator[tuple[int, int, int]]:
    """The texts that have some of ``rows`` rows, and which: number, first row, end. ``starts`` may lie outside."""
    for text, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        if start < rows and stop > 0:
            yield text, max(start, 0), min(stop, rows)


def _keep_greatest(maxima: Float64, ours: Float32, theirs: Float32, mine: Integers, other: Integers) -> None:
    """Raise the maximum of each row of ours to its dot products with the rows of theirs that are paired with it."""
    for low, high in ranges(len(mine), _PAIR_BYTES // 8 // max(1, ours.shape[1])):
        left, right = mine[low:high], other[low:high]
        np.maximum.at(maxima, left, np.multiply(ours[left], theirs[right], dtype=np.float64).sum(axis=1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
