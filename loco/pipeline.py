"""A model ready to rank, whichever kind it is, and its rankings as trec_eval will see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from loco.encode.dense import plan_dense, rank_dense
from loco.encode.forms import VectorForm
from loco.encode.late import rank_late
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy
from loco.errors import LocoError
from loco.models.card import ModelCard, Service
from loco.models.protocols import Encoder, Retriever
from loco.money import Paid, Plan, Spending
from loco.rank.ranking import Hit, Ranking
from loco.score.metrics import DEPTH
from loco.tasks.data import TaskData
from loco.trec import trec_id


@dataclass(frozen=True)
class Bill:
    """What was spent so far on a model called ``model`` at a service."""

    model: str
    service: Service
    spent: Spending


class Ranker(Protocol):
    """Anything that ranks a task under strategies: a single model, or one made of several (``loco.compose``)."""

    @property
    def card(self) -> ModelCard:
        """Its card."""
        ...

    def rankings(self, strategies: Sequence[Strategy], task: TaskData) -> dict[str, Ranking]:
        """For each strategy, by its name, what the model ranks: at most DEPTH documents a query."""
        ...

    @property
    def bills(self) -> tuple[Bill, ...]:
        """What was spent so far, one for each model in it that costs money."""
        ...


class RankingModel:
    """A loaded model, and the embedding store in the folder ``cache`` where it has vectors.

    Raises LocoError for a form of vectors that the model does not have.
    """

    def __init__(self, model: Retriever | Encoder, form: VectorForm, cache: Path) -> None:
        self._model, self._form = model, form
        self._planned: set[bytes] = set()
        self.card = model.card
        if isinstance(model, Encoder):
            self._store = EmbeddingStore(cache)
            if model.traits.token_vectors and form.smaller:
                raise LocoError(
                    f"Model '{self.card.name}' has a vector for each token, which loco makes no smaller: leave out "
                    "--dim and --quantise."
                )
        elif form.smaller:
            raise LocoError(f"Model '{self.card.name}' has no vectors to make smaller: leave out --dim and --quantise.")

    def rankings(self, strategies: Sequence[Strategy], task: TaskData) -> dict[str, Ranking]:
        """For each strategy, by its name, what the model ranks: at most DEPTH documents a query, all from one pass."""
        if isinstance(self._model, Encoder):
            if self._model.traits.token_vectors:
                return rank_late(self._model, strategies, task, DEPTH, self._store)
            return rank_dense(self._model, strategies, task, DEPTH, self._store, self._form)
        return {strategy.name: self._model.rank(task, DEPTH) for strategy in strategies}

    @property
    def bills(self) -> tuple[Bill, ...]:
        """What was spent so far, where the model costs money."""
        if self.card.service is None or not isinstance(self._model, Paid):
            return ()
        return (Bill(self.card.name, self.card.service, self._model.till.spent),)

    def plan(self, strategies: Sequence[Strategy], task: TaskData) -> tuple[Plan, float] | None:
        """What :meth:`rankings` would send to a service beside what earlier plans have, and about how many seconds that
        would take; None for a model without a service.
        """
        service = self.card.service
        if service is None or not isinstance(self._model, Encoder):
            return None
        plan = plan_dense(self._model, strategies, task, self._store, self._planned)
        return plan, plan.seconds(service, self._model.traits.concurrency)


def ordered(ranking: Ranking, task: TaskData, model: str) -> dict[str, list[Hit]]:
    """A ranking as trec_eval will see it, whoever made it, or a LocoError where it is not one."""
    documents = set(task.documents.ids)
    in_order: dict[str, list[Hit]] = {}
    for query in task.queries.ids:
        hits = [Hit(document, float(np.float32(value))) for document, value in ranking.hits.get(query, ())]
        strange = next((hit for hit in hits if hit.document not in documents or not math.isfinite(hit.score)), None)
        if strange is not None:
            raise LocoError(
                f"Model '{model}' scored document '{strange.document}' with {strange.score} for query '{query}' of "
                f"task '{task.card.name}': not a finite score of a document of that task. The adapter has a bug."
            )
        if len({hit.document for hit in hits}) != len(hits) or len(hits) > DEPTH:
            raise LocoError(
                f"Model '{model}' returned {len(hits)} hits for query '{query}' of task '{task.card.name}', some twice "
                f"or more than {DEPTH}. The adapter has a bug."
            )
        hits.sort(key=lambda hit: trec_id(hit.document), reverse=True)
        hits.sort(key=lambda hit: -hit.score)
        in_order[query] = hits
    return in_order
