"""Task cards: what each of the benchmark's tasks is, as data (``cards.toml``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from loco.errors import unknown
from loco.files import read_toml


class Table10(BaseModel):
    """The figures the paper prints for a task in its Table 10. Means are characters over the test split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_queries: int
    train_documents: int
    test_queries: int
    test_documents: int
    mean_query_chars: int
    mean_document_chars: int


class TaskCard(BaseModel):
    """One task: where it comes from, under which licence, and how large the paper says it is.

    ``table10`` is absent for a data set that is none of the paper's twelve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    domain: str
    source: str
    source_url: str
    licence: str
    citation: str
    query: str
    document: str
    table10: Table10 | None = None


@cache
def task_cards() -> dict[str, TaskCard]:
    """All task cards by name, in the order of the paper's Table 10."""
    rows = read_toml(Path(__file__).with_name("cards.toml"))["task"]
    return {row["name"]: TaskCard.model_validate(row) for row in rows}


def task_card(name: str) -> TaskCard:
    """The card called ``name``; a name nobody knows is a :class:`LocoError` with a suggestion."""
    cards = task_cards()
    if name not in cards:
        raise unknown("task", name, cards, "loco tasks")
    return cards[name]
