"""BM25 through the rank-bm25 library: the slow reference."""

from __future__ import annotations

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.phases import phase
from loco.progress import tracked
from loco.rank.ranking import Hit, Pool, Ranking
from loco.tasks.data import TaskData

from .analyzer import TermIds
from .texts import analyzed, whole


class OkapiBM25:
    """rank-bm25's BM25Okapi over the terms that :class:`.lucene.LuceneBM25` ranks by.

    Its formula scores a term that stands in half of the documents with zero, and in a small or uniform pool a frequent
    one even below that, so a score says nothing about whether a document was found. Returned are the documents that
    share a term with the query, whatever their score.
    """

    order_free = True

    def __init__(self, card: ModelCard, runtime: Runtime | None = None) -> None:
        try:
            import rank_bm25
        except ImportError as error:
            raise LocoError(
                f"Model '{card.name}' needs the package rank-bm25. Run: pip install 'loco-bench[rank-bm25]'"
            ) from error
        self.card = card
        self._okapi = rank_bm25.BM25Okapi

    def rank(self, task: TaskData, k: int) -> Ranking:
        """The ``k`` best documents for every query of ``task``."""
        term_ids = TermIds()
        with phase("index"):
            documents = [ids.tolist() for ids in analyzed(task.documents.texts, term_ids, "Reading documents")]
            # BM25Okapi divides by the number of terms it has seen.
            index = self._okapi(documents, **self.card.parameters) if term_ids.vocabulary else None
            terms_by_document = [frozenset(ids) for ids in documents]
        with phase("search"):
            queries = [ids.tolist() for ids in analyzed(task.queries.texts, term_ids, "Reading queries")]
            hits: dict[str, list[Hit]] = {}
            for query, ids in tracked(list(zip(task.queries.ids, queries, strict=True)), "Searching"):
                asked = frozenset(ids)
                found = [place for place, terms in enumerate(terms_by_document) if not asked.isdisjoint(terms)]
                pool = Pool([task.documents.ids[place] for place in found])
                hits[query] = pool.top(index.get_scores(ids)[found], k) if index and found else []
        return Ranking(hits, whole(queries, documents), dtype="float64")
