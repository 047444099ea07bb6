"""trec_eval's measures, by pytrec_eval.

A query that a ranking misses scores 0, and the mean runs over every query of the qrels: trec_eval itself leaves such
a query out unless it is told otherwise. Ties are trec_eval's: score descending, then document id descending.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loco.rank.ranking import Hit
from loco.tasks.data import Qrels
from loco.trec import trec_id

PRIMARY = "ndcg@10"
DEPTH = 100

# Our name of a measure -> trec_eval's, as it comes back.
_TREC_NAMES = {
    "ndcg@10": "ndcg_cut_10",
    "ndcg@1": "ndcg_cut_1",
    "ndcg@3": "ndcg_cut_3",
    "ndcg@5": "ndcg_cut_5",
    "ndcg@100": "ndcg_cut_100",
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "mrr@10": "recip_rank",
    "map@100": "map_cut_100",
}
_TREC_REQUEST = {"ndcg_cut.1,3,5,10,100", "recall.10,100", "recip_rank", "map_cut.100"}
MEASURES = tuple(_TREC_NAMES)


@dataclass(frozen=True)
class Scores:
    """Per measure the value of every query of the qrels, between 0 and 1."""

    per_query: Mapping[str, Mapping[str, float]]

    @property
    def means(self) -> dict[str, float]:
        """Per measure the plain mean over the queries."""
        return {measure: math.fsum(values.values()) / len(values) for measure, values in self.per_query.items()}


def score(qrels: Qrels, hits: Mapping[str, Sequence[Hit]]) -> Scores:
    """Score per-query hits (query id -> documents and scores) against the judgements.

    MRR@10 is the reciprocal rank of the first relevant document where that rank is at most 10, else 0.
    """
    import pytrec_eval

    # Documents go by their names in a run file, so that whoever scores that file sees ties fall the same way.
    judged = {
        query: {trec_id(document): grade for document, grade in grades.items()} for query, grades in qrels.items()
    }
    run = {q: {trec_id(hit.document): float(hit.score) for hit in hits[q]} for q in judged if hits.get(q)}
    found = pytrec_eval.RelevanceEvaluator(judged, _TREC_REQUEST).evaluate(run)
    per_query = {
        measure: {query: float(found[query][name]) if query in found else 0.0 for query in judged}
        for measure, name in _TREC_NAMES.items()
    }
    per_query["mrr@10"] = {query: value if value > 1 / 10.5 else 0.0 for query, value in per_query["mrr@10"].items()}
    return Scores(per_query)
