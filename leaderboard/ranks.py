"""Places in a list of figures, each with the band of ranks that its interval leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loco.compare.statistics import Estimate

from .board import Entry, League

_DECIMALS = 7  # averages of six decimals that differ in their last bits only are equal


@dataclass(frozen=True)
class Place:
    """A rank, the best of those that equal figures take up; ``tied`` says that there are any.

    ``best`` and ``worst`` bound it as far as intervals tell: in front of it is surely who lies above its interval,
    behind it who lies below. They are None where it has no interval. Only figures with intervals count for a band.
    """

    rank: int
    tied: bool
    best: int | None = None
    worst: int | None = None

    @property
    def band(self) -> str:
        """The ranks it may truly have, or nothing where that is not known."""
        if self.best is None or self.worst is None:
            return ""
        return f"{self.best}" if self.best == self.worst else f"{self.best}\u2013{self.worst}"


def ranked(figures: Mapping[str, Estimate | float]) -> dict[str, Place]:
    """The place of each of the figures, by the same names, best first."""
    values = {name: round(figure.value if isinstance(figure, Estimate) else figure, _DECIMALS)
              for name, figure in figures.items()}  # fmt: skip
    descending = sorted(values.values(), reverse=True)
    first: dict[float, int] = {}
    for rank, value in enumerate(descending, start=1):
        first.setdefault(value, rank)
    known = [figure for figure in figures.values() if isinstance(figure, Estimate)]
    places = {}
    for name in sorted(figures, key=lambda name: (-values[name], name)):
        figure, rank = figures[name], first[values[name]]
        tied = descending.count(values[name]) > 1
        if isinstance(figure, Estimate):
            best = 1 + sum(other.low > figure.high for other in known)
            worst = len(known) - sum(other.high < figure.low for other in known)
            places[name] = Place(rank, tied, best, worst)
        else:
            places[name] = Place(rank, tied)
    return places


def leagues(entries: Sequence[Entry]) -> dict[League, list[Entry]]:
    """The entries of each league: those with a rank first, best first, then the others by what figures they have."""
    found: dict[League, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.league, []).append(entry)
    for members in found.values():
        members.sort(key=lambda entry: (not entry.complete, -(entry.mean or 0), -len(entry.cells), entry.label))
    return found


def places(members: Sequence[Entry]) -> dict[str, Place]:
    """The places, by their ids, of those entries of a league that are ranked."""
    return ranked({entry.id: entry.average for entry in members if entry.complete and entry.average is not None})
