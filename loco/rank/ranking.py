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
    """How much of the texts of one role a model has looked at. ``tokens`` are the model's own."""

    texts: int
    texts_cut: int
    tokens: int
    tokens_seen: int


@dataclass(frozen=True)
class Coverage:
    """What a model has seen of the queries and of the documents."""

    queries: TextCoverage
    documents: TextCoverage


@dataclass(frozen=True)
class Ranking:
    """Per query id the top hits, score descending, ties by document id descending, as trec_eval orders them.

    Ids are compared as they stand in a run file (:func:`loco.trec.trec_id`).

    A query may be missing or have no hits: it then scores 0. ``dtype`` is the precision the scores were computed in.
    """

    hits: Mapping[str, Sequence[Hit]]
    coverage: Coverage
    dtype: str = "float32"


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
        order = np.lexsort((self._tie_rank[candidates], -rounded[candidates]))[:k]
        return [Hit(self._ids[i], float(rounded[i])) for i in candidates[order].tolist()]
