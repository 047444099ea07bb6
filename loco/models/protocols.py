"""What a model must offer to be evaluated."""

from __future__ import annotations

from typing import Protocol

from loco.models.card import ModelCard
from loco.rank.ranking import Ranking
from loco.tasks.data import TaskData


class Retriever(Protocol):
    """A model that ranks a task's whole pool of documents by itself."""

    card: ModelCard

    def rank(self, task: TaskData, k: int) -> Ranking:
        """The ``k`` best documents for every query of ``task``.

        Mark the phases of the work with :func:`loco.phases.phase`; select with :class:`loco.rank.ranking.Pool`,
        which orders ties as trec_eval does.
        """
        ...
