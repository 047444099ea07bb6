"""Sides against the first one: task by task, on average, and query by query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loco.compare.positions import Relevant, relevant_documents
from loco.compare.sides import Found, Side, check_comparable
from loco.compare.statistics import LEVEL, Draws, Estimate, difference, draw, holm, p_value
from loco.errors import LocoError
from loco.progress import tracked
from loco.score.resampling import UNIT, Floats, millionths
from loco.tasks.card import task_cards

LARGEST = 10
# With fewer queries that differ, no interval from them contains the truth as often as it should (docs/compare.md).
_FEW = 10


@dataclass(frozen=True)
class Tested:
    """A difference of nDCG@10, the other side's minus the first's.

    ``p`` is that of the randomization test, ``corrected`` after Holm's correction for all tests of the comparison.
    """

    first: float
    other: float
    difference: Estimate
    p: float
    corrected: float

    @property
    def verdict(self) -> str:
        """How the other side is, seen from the first: better, worse or not distinguishable."""
        if self.corrected >= LEVEL:
            return "not distinguishable"
        return "better" if self.difference.value > 0 else "worse"


@dataclass(frozen=True)
class TaskDifference:
    """One task: ``wins`` are queries that the other side answers better, ``losses`` those that the first does."""

    task: str
    queries: int
    tested: Tested
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class QueryDifference:
    """One query: its nDCG@10 on both sides, and its relevant documents where they are known."""

    task: str
    query: str
    first: float
    other: float
    relevant: tuple[Relevant, ...]


@dataclass(frozen=True)
class Pair:
    """A side against the first. ``average`` is None for a single task, whose difference it would repeat.

    ``largest``: the queries whose values differ most, at most ten. ``only_first``, ``only_other``: tasks that one side
    has and the other has not.
    """

    first: Side
    other: Side
    tasks: tuple[TaskDifference, ...]
    average: Tested | None
    largest: tuple[QueryDifference, ...]
    only_first: tuple[str, ...]
    only_other: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All sides against the first, ``tests`` in all; ``notes`` are what a reader must know beside the figures."""

    pairs: tuple[Pair, ...]
    tests: int
    notes: tuple[str, ...]


def compare(found: Found, data: Path) -> Comparison:
    """Compare every side with the first one, on the tasks that both have.

    ``data`` is the folder of built tasks, for the names of relevant documents. Raises LocoError where there is nothing
    to compare, or where results of a task are of different data.
    """
    first, others = _first_and_others(found)
    draws: dict[str, Draws] = {}
    holders: dict[str, list[Side]] = {}
    for task in in_order(first.tasks):
        sides = [side for side in found.sides if task in side.tasks]
        if len(sides) > 1:
            check_comparable(task, sides)
            holders[task] = sides
    for task in tracked(list(holders), "Resampling"):
        draws[task] = draw(task, values_of(task, holders[task]))
    notes = list(found.notes)
    for side in found.sides:
        if side.model.untrained:
            notes.append(f"{side.label} is untrained, its weights drawn at random: its figures say nothing of a model.")
    pairs = []
    for other in others:
        common = [task for task in holders if other in holders[task]]
        if common:
            pairs.append(_pair(first, other, common, draws, holders))
        else:
            notes.append(f"{other.label} has no task in common with {first.label}, and is left out.")
    if not pairs:
        raise LocoError(f"No task in common with '{first.label}', which has {', '.join(in_order(first.tasks))}.")
    for pair in pairs:
        few = [row.task for row in pair.tasks if 0 < row.wins + row.losses < _FEW]
        if few:
            notes.append(
                f"{pair.other.label} and {first.label} differ on fewer than {_FEW} queries of {', '.join(few)}: too "
                "few to rely on the interval; the test holds all the same."
            )
    pairs = _corrected(pairs)
    tests = sum(len(_tests(pair)) for pair in pairs)
    with_documents = []
    for pair in pairs:
        largest, missing = _with_documents(pair, data)
        with_documents.append(replace(pair, largest=largest))
        notes += [note for note in missing if note not in notes]
    return Comparison(tuple(with_documents), tests, tuple(notes))


def values_of(task: str, sides: Sequence[Side]) -> Floats:
    """Values of nDCG@10 in millionths, shape (queries, sides), the queries in the order of their ids."""
    queries = sorted(sides[0].tasks[task].measurement.per_query)
    columns = [side.tasks[task].measurement.per_query for side in sides]
    return millionths([[column[query] for column in columns] for query in queries])


def in_order(tasks: Mapping[str, object]) -> list[str]:
    """Tasks in the order of Table 10, others behind them by name."""
    order = {name: place for place, name in enumerate(task_cards())}
    return sorted(tasks, key=lambda task: (order.get(task, len(order)), task))


def _first_and_others(found: Found) -> tuple[Side, tuple[Side, ...]]:
    if len(found.sides) < 2:
        there = f"only '{found.sides[0].label}'" if found.sides else "none"
        also = f" {found.notes[-1]}" if found.notes else ""
        raise LocoError(f"Two sides are needed for a comparison, and there is {there} ({found.variant}).{also}")
    return found.sides[0], found.sides[1:]


def _pair(
    first: Side, other: Side, common: Sequence[str], draws: Mapping[str, Draws], holders: Mapping[str, list[Side]]
) -> Pair:
    columns = {task: (draws[task], holders[task].index(other), holders[task].index(first)) for task in common}
    tasks = []
    for task in common:
        mine, theirs = first.tasks[task].measurement.per_query, other.tasks[task].measurement.per_query
        gains = [round((theirs[query] - mine[query]) * UNIT) for query in mine]
        wins, losses = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        ties = len(gains) - wins - losses
        tasks.append(TaskDifference(task, len(gains), _tested([columns[task]]), wins, ties, losses))
    average = _tested(list(columns.values())) if len(common) > 1 else None
    return Pair(
        first=first,
        other=other,
        tasks=tuple(tasks),
        average=average,
        largest=tuple(_largest(first, other, common)),
        only_first=tuple(task for task in in_order(first.tasks) if task not in common),
        only_other=tuple(task for task in in_order(other.tasks) if task not in common),
    )


def _largest(first: Side, other: Side, tasks: Sequence[str]) -> list[QueryDifference]:
    """The queries whose values differ most; of those that differ equally, one of each task before a second of any."""
    rows: list[tuple[int, int, QueryDifference]] = []
    for task in tasks:
        theirs = other.tasks[task].measurement.per_query
        equals: Counter[int] = Counter()
        for query, value in first.tasks[task].measurement.per_query.items():
            gap = abs(round((theirs[query] - value) * UNIT))
            if gap:
                rows.append((-gap, equals[gap], QueryDifference(task, query, value, theirs[query], ())))
                equals[gap] += 1
    return [row for _, _, row in sorted(rows, key=lambda row: row[:2])[:LARGEST]]


def _tested(columns: list[tuple[Draws, int, int]]) -> Tested:
    p = p_value(columns)
    first = sum(draws.values[:, one].mean() for draws, _, one in columns) / len(columns) / UNIT
    other = sum(draws.values[:, one].mean() for draws, one, _ in columns) / len(columns) / UNIT
    return Tested(float(first), float(other), difference(columns), p, p)


def _tests(pair: Pair) -> list[Tested]:
    return [row.tested for row in pair.tasks] + ([pair.average] if pair.average else [])


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs, the p-values of all their tests corrected together."""
    corrected = iter(holm([test.p for pair in pairs for test in _tests(pair)]))
    done = []
    for pair in pairs:
        tasks = tuple(replace(row, tested=replace(row.tested, corrected=next(corrected))) for row in pair.tasks)
        average = replace(pair.average, corrected=next(corrected)) if pair.average else None
        done.append(replace(pair, tasks=tasks, average=average))
    return done


def _with_documents(pair: Pair, data: Path) -> tuple[tuple[QueryDifference, ...], list[str]]:
    """The queries that differ most, with their relevant documents, and what to say where these are not known."""
    queries: dict[str, list[str]] = {}
    for row in pair.largest:
        queries.setdefault(row.task, []).append(row.query)
    relevant, notes = {}, []
    for task, asked in queries.items():
        found, note = relevant_documents(pair.first.tasks[task], pair.other.tasks[task], asked, data)
        relevant.update({(task, query): tuple(rows) for query, rows in found.items()})
        notes += [note] if note else []
    return tuple(replace(row, relevant=relevant.get((row.task, row.query), ())) for row in pair.largest), notes
