"""What the page of charts is made of: sections of figures, each with its legend, notes and table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from .board import Entry
from .figures import percent
from .tables import Cell, Table, text
from .texts import visible

MODEL, STRATEGY = "MODEL", "STRATEGY"  # in a command, for whoever types it to fill in


@dataclass(frozen=True)
class Sign:
    """A row of a legend; ``series`` is the number of its line, for the script that lights it up."""

    picture: Markup
    name: str
    href: str = ""
    series: int | None = None


@dataclass(frozen=True)
class Chart:
    """A picture with its legend, what must be known to read it, and its table. A map has no picture but a table."""

    identifier: str
    variant: str
    heading: str
    picture: Markup | None
    legend: Sequence[Sign]
    notes: Sequence[str]
    table: Table
    crowded: bool = False


@dataclass(frozen=True)
class Missing:
    """A figure that cannot be drawn: why, and what to type. ``variant`` is empty for several variants or none."""

    sentence: str
    command: str
    variant: str = ""


@dataclass(frozen=True)
class Section:
    """The figures to one question."""

    identifier: str
    title: str
    about: str
    figures: Sequence[Chart] = ()
    missing: Sequence[Missing] = field(default=())


def model_cell(entry: Entry) -> Cell:
    """A row's model, with the way to its page."""
    return text(entry.name or entry.model.name, link=f"models/{entry.model_id}.html")


def label(entry: Entry) -> str:
    """A row in words."""
    return visible(entry.label)


def interval(low: float | None, high: float | None) -> str:
    """The ends of an interval behind a figure; nothing where there are none."""
    return "" if low is None or high is None else f" ({percent(low)} to {percent(high)})"
