"""A ranking: the best documents of each query, in the order trec_eval will see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco.trec import trec_id

Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.intp]


class Hit(NamedTuple):
    """One retrieved document and its score."""

    document: str
    score: float


@dataclass(frozen=True)
class TextCoverage:
    """How much of the texts of one role a model has looked at.

    ``tokens`` are the model's own, those of the texts alone. ``texts_empty`` have not a single one: they get no vector,
    so that an empty document is never found and an empty query finds nothing. ``by_text`` has the tokens of each text
    and those seen of them, in the order of the task; it may be None where ``texts_cut`` is 0, or where nobody can tell.
    """

    texts: int
    texts_cut: int
    tokens: int
    tokens_seen: int
    texts_empty: int = 0
    by_text: Sequence[tuple[int, int]] | None = None


@dataclass(frozen=True)
class Coverage:
    """What a model has seen of the queries and of the documents."""

    queries: TextCoverage
    documents: TextCoverage


@dataclass(frozen=True)
class VectorUse:
    """The vectors behind a ranking.

    - ``fingerprint``, ``similarity``, ``device``, ``padding``: as loco.models.protocols.EncoderTraits has them.
    - ``dim``: numbers in a vector, after cutting.
    - ``bytes_per_document``: what a document takes in an index, on average over the documents.
    - ``inputs_encoded``, ``tokens_encoded``: what the model has read for this pass, the latter None for a model that
      tokenises where loco cannot see it; ``inputs_reused`` stood in the
      store already. Where anything was reused, the seconds of the run say nothing about the model's speed.
    """

    fingerprint: str
    dim: int
    similarity: str
    device: str
    padding: str
    bytes_per_document: float
    inputs_encoded: int
    tokens_encoded: int | None
    inputs_reused: int


@dataclass(frozen=True)
class PairUse:
    """What reranking a task took.

    - ``strategy``: how documents longer than the reranker's window were met; ``fingerprint``, ``dtype``, ``device``: as
      loco.models.protocols.RerankerTraits has them.
    - ``pairs``: queries with a document each that got a score; ``pairs_blank`` were left out, one side having no token.
    - ``inputs_scored``, ``tokens_scored``: what the reranker has read for this pass, a document in pieces once a piece,
      special tokens included; ``inputs_reused`` had their score in the store already.
    - ``queries_cut``, ``query_tokens_cut``: queries that did not fit, beside at least one document, and what was cut of
      them over all pairs; ``documents_cut``, ``document_tokens_cut``: pairs whose document was not read to its end.
    """

    strategy: str
    fingerprint: str
    dtype: str
    device: str
    pairs: int
    pairs_blank: int
    inputs_scored: int
    tokens_scored: int
    inputs_reused: int
    queries_cut: int
    query_tokens_cut: int
    documents_cut: int
    document_tokens_cut: int


@dataclass(frozen=True)
class PartUse:
    """A model that took part in the ranking of one made of models: its name, its strategy, and what it saw."""

    model: str
    strategy: str
    coverage: Coverage | None
    dtype: str
    vectors: VectorUse | None


@dataclass(frozen=True)
class Reranking:
    """How a ranking's top was reordered: by which reranker, how many of each query, after which first stage."""

    first_stage: str
    first_strategy: str
    reranker: str
    depth: int
    pairs: PairUse


@dataclass(frozen=True)
class Ranking:
    """Per query id the top hits, score descending, ties by document id descending, as trec_eval orders them.

    Ids are compared as they stand in a run file (:func:`loco.trec.trec_id`).

    A query may be missing or have no hits: it then scores 0. ``coverage`` is None where the model cuts texts by itself
    and nobody can tell. ``dtype`` is the precision the model ran in. ``parts`` are the single models behind one made of
    models; ``reranking`` tells of the last step, where that was one.
    """

    hits: Mapping[str, Sequence[Hit]]
    coverage: Coverage | None
    dtype: str = "float32"
    vectors: VectorUse | None = None
    parts: tuple[PartUse, ...] = ()
    reranking: Reranking | None = None


class Pool:
    """The documents of a task as something to select the best of: knows how ties between them fall."""

    def __init__(self, document_ids: Sequence[str]) -> None:
        self._ids = tuple(document_ids)
        names = list(map(trec_id, self._ids))
        descending = sorted(range(len(names)), key=names.__getitem__, reverse=True)
        self._tie_rank = np.empty(len(self._ids), dtype=np.intp)
        self._tie_rank[descending] = np.arange(len(self._ids))

    def __len__(self) -> int:
        return len(self._ids)

    def top(self, scores: npt.NDArray[np.floating], k: int, *, above: float = -np.inf) -> list[Hit]:
        """The ``k`` best documents for one query.

        ``scores``: shape (documents,), in the order of the ids this pool was made from. They are compared as
        float32, the precision in which trec_eval holds them, so that what ties there ties here. Only documents
        scoring strictly more than ``above`` are returned.
        """
        rounded = scores.astype(np.float32, copy=False)
        if not np.isfinite(rounded).all():
            worst = self._ids[int(np.flatnonzero(~np.isfinite(rounded))[0])]
            raise ValueError(f"the score of document '{worst}' is not a finite number")
        candidates: Integers = np.flatnonzero(rounded > above)
        if len(candidates) > k:
            threshold = np.partition(rounded[candidates], len(candidates) - k)[len(candidates) - k]
            candidates = candidates[rounded[candidates] >= threshold]
        best = candidates[self.best(candidates, rounded[candidates], k)]
        return self.hits(best, rounded[best])

    def best(self, documents: Integers, scores: Float32, k: int) -> Integers:
        """Which of some documents are the ``k`` best, best first, as places in ``documents``.

        ``documents``: their numbers in the order of the ids this pool was made from; ``scores``: one for each.
        """
        return np.lexsort((self._tie_rank[documents], -scores))[:k]

    def hits(self, documents: Integers, scores: Float32) -> list[Hit]:
        """Documents, given by number, with their scores."""
        return [Hit(self._ids[i], score) for i, score in zip(documents.tolist(), scores.tolist(), strict=True)]
