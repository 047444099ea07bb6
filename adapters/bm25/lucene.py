"""BM25 as Lucene ranks behind its EnglishAnalyzer, which is what Elasticsearch's ``english`` analyzer and default
similarity come to: the BM25 that the LoCoV1 paper reports.
"""

from __future__ import annotations

from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.phases import phase
from loco.progress import tracked
from loco.rank.ranking import Hit, Pool, Ranking
from loco.tasks.data import TaskData

from .analyzer import TermIds
from .texts import analyzed, whole

_SCORES_AT_ONCE = 1 << 22


class LuceneBM25:
    """The same documents with the same scores as Lucene 9.9.1; exact ties fall as trec_eval orders them.

    ``k1`` and ``b`` stand in the card. The whole of every text counts. Documents that share no term with a query
    are not returned.
    """

    order_free = True

    def __init__(self, card: ModelCard, runtime: Runtime | None = None) -> None:
        self.card = card

    def rank(self, task: TaskData, k: int) -> Ranking:
        """The ``k`` best documents for every query of ``task``."""
        from .index import LuceneIndex  # half a second of imports

        term_ids = TermIds()
        with phase("index"):
            documents = analyzed(task.documents.texts, term_ids, "Reading documents")
            index = LuceneIndex(k1=float(self.card.parameters["k1"]), b=float(self.card.parameters["b"]))
            index.index((documents, dict(term_ids.vocabulary)), create_empty_token=False)
        with phase("search"):
            queries = analyzed(task.queries.texts, term_ids, "Reading queries")
            pool = Pool(task.documents.ids)
            hits: dict[str, list[Hit]] = {}
            size = max(_SCORES_AT_ONCE // len(pool), 1)
            for start in tracked(range(0, len(queries), size), "Searching"):
                batch = slice(start, start + size)
                scores = index.scores_of(queries[batch])
                for query, row in zip(task.queries.ids[batch], scores, strict=True):
                    hits[query] = pool.top(row, k, above=0.0)
        return Ranking(hits, whole(queries, documents))
