"""Scores by the length of the relevant document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loco.results import Bucket
from loco.score.buckets import LENGTH_BUCKETS

from . import plotting
from .board import VARIANTS, Board, Entry
from .chart import MODEL, Chart, Missing, Section, Sign, interval, label, model_cell
from .figures import percent
from .plotting import Line
from .tables import Table, headings, number, text
from .texts import visible

_NAMED = 3  # tasks that a heading has room for


def together(parts: Sequence[Bucket]) -> tuple[float, float | None, float | None]:
    """The mean over all queries of some buckets of different tasks, and its interval; None where a part has none.

    Tasks are independent samples, so the distances of the ends from the means add up as their squares do, weighted (the
    method of variance estimates recovery: Zou and Donner 2008, Statistics in Medicine 27, 1693-1702).
    """
    queries = sum(part.queries for part in parts)
    value = math.fsum(part.value * part.queries for part in parts) / queries
    down, up = 0.0, 0.0
    for part in parts:
        if part.low is None or part.high is None:
            return value, None, None
        share = part.queries / queries
        down += (share * max(part.value - part.low, 0.0)) ** 2
        up += (share * max(part.high - part.value, 0.0)) ** 2
    return value, value - math.sqrt(down), value + math.sqrt(up)


class _Measured(NamedTuple):
    """What rows of one figure were measured on; sorted, those with most tasks of a variant stand first.

    ``tasks`` has the hashes of each task's queries, judgements and documents, ``queries`` how many queries are in each
    bucket. ``training`` and ``stands_in`` are the kind of the rows: of different kinds, none are ranked in one list.
    """

    place: int
    fewest: int
    split: str
    training: str
    stands_in: bool
    tasks: tuple[tuple[str, str, str, str], ...]
    queries: tuple[int, ...]


@dataclass(frozen=True)
class _Row:
    """An entry with the buckets of its tasks, by their name."""

    entry: Entry
    buckets: Mapping[str, Sequence[Bucket]]

    @property
    def mean(self) -> float:
        """Over all queries."""
        return together([bucket for parts in self.buckets.values() for bucket in parts])[0]


def section(board: Board) -> Section:
    """A figure for all rows of a kind that were measured on the same queries and documents."""
    groups: dict[_Measured, list[_Row]] = {}
    older: Counter[str] = Counter()
    for entry in board.entries:
        if entry.origin != "measured" or entry.training == "untrained":
            continue
        found: dict[str, list[Bucket]] = {}
        tasks = []
        for task, filed in entry.cells.items():
            measured = filed.result.measurement
            if measured is not None and measured.buckets is not None:
                content = measured.data.content
                tasks.append((task, content.queries, content.qrels, content.documents))
                for name, bucket in measured.buckets.by_length.items():
                    found.setdefault(name, []).append(bucket)
        if tasks:
            queries = tuple(sum(bucket.queries for bucket in found.get(name, ())) for name in LENGTH_BUCKETS)
            kind = (entry.split, entry.training, bool(entry.equivalent))
            group = _Measured(VARIANTS.index(entry.variant), -len(tasks), *kind, tuple(sorted(tasks)), queries)
            groups.setdefault(group, []).append(_Row(entry, found))
        else:
            older[entry.variant] += 1
    figures = [
        _figure(f"length-{place}", group, sorted(groups[group], key=lambda row: -row.mean))
        for place, group in enumerate(sorted(groups))
    ]
    missing = []
    for variant in board.variants:
        command = f"loco eval --model {MODEL} --task all --variant {variant}"
        if older[variant]:
            were = "row was" if older[variant] == 1 else "rows were"
            sentence = f"{older[variant]} {were} measured on {variant} before the lengths of documents were recorded."
            missing.append(Missing(sentence, f"{command} --force", variant))
        elif not any(figure.variant == variant for figure in figures):
            missing.append(Missing(f"No row was measured on {variant}.", command, variant))
    about = (
        "nDCG@10 of the queries whose relevant document is that long, in tokens of one tokenizer for all models: 2k "
        "are 2,048. Of several tasks, queries are put together, so lengths differ in their tasks too."
    )
    return Section("lengths", "Score by document length", about, figures, missing)


def _figure(identifier: str, group: _Measured, members: Sequence[_Row]) -> Chart:
    queries = {name: count for name, count in zip(LENGTH_BUCKETS, group.queries, strict=True) if count}
    series, rows = [], []
    for row in members:
        points = [together(row.buckets[name]) for name in queries]
        told = [
            f"{label(row.entry)}, {name}: {percent(value)} %{interval(low, high)}, {_queries(queries[name])}"
            for name, (value, low, high) in zip(queries, points, strict=True)
        ]
        values, lows, highs = zip(*points, strict=True)
        series.append(Line(label(row.entry), range(len(queries)), values, lows, highs, told))
        figures = (number(f"{percent(value)}{interval(low, high)}") for value, low, high in points)
        rows.append((model_cell(row.entry), text(row.entry.way), *figures))
    shown = series[: plotting.DISTINCT]
    tasks = [visible(task) for task, *_ in group.tasks]
    heading = f"{VARIANTS[group.place]}, " + (f"{len(tasks)} tasks" if len(tasks) > _NAMED else " and ".join(tasks))
    heading += {"zero-shot": "", "trained": ", trained on LoCo"}.get(group.training, ", training not known")
    heading += ", equivalent rows" if group.stands_in else ""
    notes = [f"Tasks: {', '.join(tasks)}."] if len(tasks) > _NAMED else []
    notes.append(
        "Bars are 95 % intervals, " + ("those of the tasks put together." if len(tasks) > 1 else "per length.")
    )
    if len(shown) < len(series):
        notes.append(f"The {len(shown)} best of {len(series)} rows are drawn; the table has all.")
    title = f"nDCG@10 by the length of the relevant document, {heading}"
    ticks = [(place, name, _queries(queries[name])) for place, name in enumerate(queries)]
    return Chart(
        identifier=identifier,
        variant=VARIANTS[group.place],
        heading=heading,
        picture=plotting.lines(identifier, title, shown, "Length of the relevant document in tokens", ticks),
        legend=[
            Sign(plotting.key(place, line=True), label(row.entry), f"models/{row.entry.model_id}.html", place)
            for place, row in enumerate(members[: len(shown)])
        ],
        notes=notes,
        table=Table(
            f"{title}, in percent with 95 % intervals",
            headings("Model", "Strategy", numbers=(f"{name} ({_queries(count)})" for name, count in queries.items())),
            rows,
        ),
    )


def _queries(count: int) -> str:
    return "1 query" if count == 1 else f"{count:,} queries"
