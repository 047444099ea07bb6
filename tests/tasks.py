"""Small tasks for tests."""

from __future__ import annotations

from collections.abc import Mapping

from loco.models.card import ModelCard
from loco.tasks.card import task_card
from loco.tasks.data import Provenance, TaskData, Texts

MADE_BY_HAND = Provenance(builder="test", builder_version=1, source="made by hand", source_revision="")


def small_task(
    queries: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
    qrels: Mapping[str, Mapping[str, int]] | None = None,
    name: str = "qmsum",
) -> TaskData:
    """Three meetings, two questions, unless told otherwise; variant mini."""
    queries = queries or {"q1": "budget of the remote control", "q2": "when is the next meeting"}
    documents = documents or {
        "d1": "The budget of the remote control is twelve euros fifty.",
        "d2": "They agreed that the next meeting is on Monday, after lunch.",
        "d3": "Nobody said anything of substance.",
    }
    qrels = qrels or {"q1": {"d1": 1}, "q2": {"d2": 1}}
    return TaskData(
        card=task_card(name),
        variant="mini",
        provenance=MADE_BY_HAND,
        queries=Texts.of(queries.items(), "query"),
        documents=Texts.of(documents.items(), "document"),
        qrels=qrels,
    )


def model_card(name: str, factory: str, *strategies: str, revision: str = "1") -> ModelCard:
    """The card of a model that a test makes up."""
    return ModelCard(
        name=name,
        family="test",
        revision=revision,
        description="",
        licence="",
        url="",
        trained_on_loco=False,
        factory=factory,
        strategies=strategies or ("full",),
    )
