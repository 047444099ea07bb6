"""Several rankings of the same query as one.

- ``rrf``: reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009). A document scores the sum over the parts
  of weight / (k + rank), ranks from 1; a part that did not retrieve it adds nothing.
- ``minmax``: each part's scores of a query are brought to 0 (its worst retrieved document) to 1 (its best), and a
  document scores their weighted mean. One that a part did not retrieve counts as that part's worst, 0. Where all that a
  part retrieved scores the same, that is 1 for each: being retrieved is then all there is to say.

Sums are exact before they are rounded (math.fsum), so that the order of the parts changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from loco.compose.names import Method
from loco.rank.ranking import Hit
from loco.trec import trec_id

Hits = Sequence[Hit]


def fused(rankings: Sequence[Hits], method: Method, k: int) -> list[Hit]:
    """The ``k`` best documents of a query, from each part's documents in trec_eval's order, best first."""
    by_part: Callable[[Hits], dict[str, float]] = (
        _min_max if method.k is None else lambda hits: _reciprocal(hits, method.k or 0)
    )
    weights = method.weights or (1.0,) * len(rankings)
    whole = 1.0 if method.k is not None else math.fsum(weights)
    parts = [by_part(hits) for hits in rankings]
    documents = dict.fromkeys(document for part in parts for document in part)
    scores = {
        document: math.fsum(
            weight * part[document] for weight, part in zip(weights, parts, strict=True) if document in part
        )
        / whole
        for document in documents
    }
    return best(scores.items(), k)


def best(scored: Iterable[tuple[str, float]], k: int) -> list[Hit]:
    """The ``k`` best of some documents with scores, as trec_eval orders them: by float32, ties by id, descending."""
    hits = [Hit(document, float(np.float32(score))) for document, score in scored]
    hits.sort(key=lambda hit: trec_id(hit.document), reverse=True)
    hits.sort(key=lambda hit: -hit.score)
    return hits[:k]


def _reciprocal(hits: Hits, k: int) -> dict[str, float]:
    return {hit.document: 1 / (k + rank) for rank, hit in enumerate(hits, start=1)}


def _min_max(hits: Hits) -> dict[str, float]:
    if not hits:
        return {}
    low, high = min(hit.score for hit in hits), max(hit.score for hit in hits)
    if low == high:
        return {hit.document: 1.0 for hit in hits}
    return {hit.document: (hit.score - low) / (high - low) for hit in hits}
