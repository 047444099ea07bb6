"""A bm25s index with Lucene's numbers in it.

bm25s computes every term's score in every document once, when it indexes, and keeps them as a sparse matrix; a query
then only adds up rows of it. That is kept, and any method of ``bm25s.BM25`` works on this index. Two things are not
bm25s's own:

- What stands in the matrix. bm25s's "lucene" method has Lucene's formula, but takes documents at their exact lengths
  and counts empty ones. ``build_index_from_ids`` is the method bm25s offers for overriding.
- How queries are answered. bm25s walks through a query term by term; one product of two sparse matrices answers all
  queries, five times as fast where they have 2,500 words.

A score is Lucene's to the last bit, unless a query has a term three times or more: Lucene rounds such a term's weight
once more, which may change the last bit.

Source of the formulas: Lucene 9.9.1, BM25Similarity and SmallFloat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import bm25s
import numpy as np
import numpy.typing as npt
from scipy import sparse

Ids = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

_EXACT_LENGTHS = 24
_SIGNIFICANT_BITS = 4


class LuceneIndex(bm25s.BM25):  # type: ignore[misc]
    """Fill it with ``index((ids, vocabulary), create_empty_token=False)``: term ids by document, term -> id."""

    def __init__(self, k1: float, b: float) -> None:
        super().__init__(k1=k1, b=b, method="lucene")

    def build_index_from_ids(
        self,
        unique_token_ids: Sequence[int],
        corpus_token_ids: Sequence[Ids],
        show_progress: bool = False,
        leave_progress: bool = False,
    ) -> dict[str, Any]:
        """The score of every term in every document, in bm25s's layout: a matrix (documents, terms) by columns.

        ``corpus_token_ids`` are the ids of the terms of each document, below ``len(unique_token_ids)``.
        """
        self.nonoccurrence_array = None
        matrix = _counts(corpus_token_ids, len(unique_token_ids)).tocsc()
        lengths = np.fromiter(map(len, corpus_token_ids), dtype=np.int64, count=len(corpus_token_ids))
        document_frequencies = np.diff(matrix.indptr)
        # What follows is single precision wherever Lucene's is, so that what ties there ties here.
        weights = np.repeat(_idf(document_frequencies, int(np.count_nonzero(lengths))), document_frequencies)
        norms = self._norms(lengths)[matrix.indices]
        data = weights - weights / (np.float32(1) + matrix.data.astype(np.float32) * norms)
        return {"data": data, "indices": matrix.indices, "indptr": matrix.indptr, "num_docs": len(corpus_token_ids)}

    def scores_of(self, queries: Sequence[Ids]) -> npt.NDArray[np.float64]:
        """Scores, shape (queries, documents). A term counts as often as it stands in the query, unknown ids nothing.

        The terms of a query are added up in one order for all documents, so equal documents get equal scores.
        """
        terms = self._scores_by_term.shape[0]
        product = _counts([ids[ids < terms] for ids in queries], terms).astype(np.float64) @ self._scores_by_term
        scores: npt.NDArray[np.float64] = product.toarray()
        return scores

    @cached_property
    def _scores_by_term(self) -> Any:
        data, indices, indptr = (self.scores[part] for part in ("data", "indices", "indptr"))
        return sparse.csr_array((data.astype(np.float64), indices, indptr), (len(indptr) - 1, self.scores["num_docs"]))

    def _norms(self, lengths: npt.NDArray[np.int64]) -> Float32:
        """1 / (k1 (1 - b + b L / avgdl)) for each document, L its rounded length, avgdl the mean of the exact ones.

        Lucene counts only documents that have a term.
        """
        k1, b = np.float32(self.k1), np.float32(self.b)
        mean = np.float32(lengths.sum() / max(np.count_nonzero(lengths), 1)) or np.float32(1)
        norms: Float32 = np.float32(1) / (k1 * ((np.float32(1) - b) + b * one_byte_lengths(lengths) / mean))
        return norms


def one_byte_lengths(lengths: npt.NDArray[np.int64]) -> Float32:
    """Document lengths as Lucene has them after storing each in one byte (SmallFloat.intToByte4 and back).

    Lengths below 24 are exact; of what is above 24 the four most significant bits are kept.
    """
    above = np.maximum(lengths - _EXACT_LENGTHS, 0)
    bits = np.frexp(above)[1]  # the bit length of an integer, exact below 2**53
    dropped = np.maximum(bits - _SIGNIFICANT_BITS, 0)
    rounded = np.minimum(lengths, _EXACT_LENGTHS) + (above >> dropped << dropped)
    lossy: Float32 = rounded.astype(np.float32)
    return lossy


def _idf(document_frequencies: npt.NDArray[np.integer], documents: int) -> Float32:
    """ln(1 + (N - df + 0.5) / (df + 0.5)) for each term."""
    idf: Float32 = np.log(1 + (documents - document_frequencies + 0.5) / (document_frequencies + 0.5)).astype(
        np.float32
    )
    return idf


def _counts(ids_by_text: Sequence[Ids], terms: int) -> Any:
    """How often each term stands in each text: a sparse matrix (texts, terms) by rows, terms ascending in a row."""
    counted = [np.unique(ids, return_counts=True) for ids in ids_by_text]
    ends = np.cumsum([0, *(len(ids) for ids, _ in counted)])
    counts = (np.concatenate([count for _, count in counted]), np.concatenate([ids for ids, _ in counted]), ends)
    return sparse.csr_array(counts, shape=(len(counted), terms))
