"""What stands behind one row of the board: scores, what the model saw of the texts, lengths, the worst queries."""

from __future__ import annotations

import heapq
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loco.results import Bucket, Measurement, Metric, RoleCoverage
from loco.score.buckets import CUT_BUCKETS, LENGTH_BUCKETS
from loco.score.metrics import MEASURES, PRIMARY

from .board import Entry, Filed
from .figures import Figure, count, part
from .tables import Cell, Heading, Table, headings, nothing, number, shaded, text
from .texts import below_results, visible

WORST = 10

_NAMES = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}
_NOT_KNOWN = Cell("not known", "the model cuts texts by itself, where nobody can tell", kind="num muted")
_PARTS = Cell("by its parts", "a model made of models: each part saw texts in its own way", kind="num muted")


def scores(entry: Entry, pages: Mapping[str, str]) -> Table:
    """The primary measure of every task. ``pages`` has the address of a task's page, by task."""
    measured = entry.origin == "measured"
    columns = [Heading("Task"), Heading("nDCG@10", True)]
    if measured:
        columns += [
            Heading("95 % interval", True, "of the mean over queries"),
            *headings(numbers=("Queries", "Documents")),
            Heading("Document tokens seen", True, "share of the documents' tokens, in the model's own, that it read"),
            Heading("Documents cut", True, "documents that the model did not read to their end"),
            Heading("Result"),
            Heading("Run"),
        ]
    else:
        columns += [Heading("Source"), Heading("Result")]
    numbers = {source: place for place, source in enumerate(sources(entry), 1)}
    rows = []
    for task, filed in entry.cells.items():
        figure = Figure.of(filed.result.metrics[PRIMARY])
        row = [text(task, link=pages.get(task, "")), shaded(figure)]
        measurement = filed.result.measurement
        if measurement is not None:
            counts = measurement.data.counts
            row += [
                number(figure.interval, figure.told),
                number(count(counts.queries)),
                number(count(counts.documents)),
                *_seen(measurement),
                Cell("JSON", link=below_results(filed.path)),
                Cell("run.gz", link=below_results(filed.run)) if filed.run else nothing(),
            ]
        else:
            row += [Cell(f"[{numbers[filed.result.source]}]"), Cell("JSON", link=below_results(filed.path))]
        rows.append(row)
    return Table("nDCG@10 in percent, by task", columns, rows)


def sources(entry: Entry) -> list[str]:
    """Who reported the figures of a row, each once."""
    return list(dict.fromkeys(filed.result.source for filed in entry.cells.values() if filed.result.source))


def measures(entry: Entry) -> Table | None:
    """Every measure of every task with its interval; None where only the primary one is known."""
    known = [name for name in MEASURES if any(name in filed.result.metrics for filed in entry.cells.values())]
    if known in ([], [PRIMARY]):
        return None
    rows = [
        [text(task), *(_interval(filed.result.metrics.get(name)) for name in known)]
        for task, filed in entry.cells.items()
    ]
    return Table(
        "All measures in percent, each with its 95 % interval", headings("Task", numbers=map(_name, known)), rows
    )


def seen(entry: Entry) -> Table | None:
    """What the model read of queries and documents; None where it was not measured, or is made of models."""
    rows = [
        [text(task), *_role(measurement.queries), *_role(measurement.documents)]
        for task, measurement in measurements(entry)
        if not measurement.parts
    ]
    numbers = [
        f"{role} {what}"
        for role in ("Queries", "Documents")
        for what in ("", "cut", "without tokens", "tokens", "seen")
    ]
    found = headings("Task", numbers=(name.replace("  ", " ").strip() for name in numbers))
    return Table("What the model saw, in its own tokens", found, rows) if rows else None


def lengths(entry: Entry) -> list[Table]:
    """Scores by how long the relevant document is, and by how much of it was cut, where results say so."""
    found = [(task, measurement.buckets) for task, measurement in measurements(entry) if measurement.buckets]
    by_length = [
        [text(task), *(_bucket(buckets.by_length.get(name)) for name in LENGTH_BUCKETS)] for task, buckets in found
    ]
    by_cut = [
        [text(task), *(_bucket(buckets.by_cut.get(name)) for name in CUT_BUCKETS)]
        for task, buckets in found
        if buckets.by_cut is not None
    ]
    tokenizers = ", ".join(sorted({visible(buckets.tokenizer, 100) for _, buckets in found}))
    tables = [
        (f"nDCG@10 by the length of the relevant document, in tokens of {tokenizers}", LENGTH_BUCKETS, by_length),
        ("nDCG@10 by the share of the relevant document that the model never saw", CUT_BUCKETS, by_cut),
    ]
    return [
        Table(f"{caption}; in brackets the queries", headings("Task", numbers=names), rows)
        for caption, names, rows in tables
        if rows
    ]


@dataclass(frozen=True)
class Worst:
    """The lowest queries of a task, and the command that explains the first of them."""

    task: str
    heading: str
    table: Table
    command: str


def worst(entry: Entry) -> list[Worst]:
    """The queries with the lowest values of each task. Which documents are relevant to them no result says."""
    return [
        _worst(task, filed, filed.result.measurement) for task, filed in entry.cells.items() if filed.result.measurement
    ]


def measurements(entry: Entry) -> Iterator[tuple[str, Measurement]]:
    """The tasks of a row that were measured."""
    for task, filed in entry.cells.items():
        if filed.result.measurement is not None:
            yield task, filed.result.measurement


def _worst(task: str, filed: Filed, measurement: Measurement) -> Worst:
    values = measurement.per_query
    lowest = heapq.nsmallest(WORST, values.items(), key=lambda item: (item[1], item[0]))
    zero = sum(value == 0 for value in values.values())
    rows = [[text(query), shaded(Figure.of(value))] for query, value in lowest]
    found = f"{task}: {zero:,} of {len(values):,} queries have 0"
    path, query = f"results/{filed.path}", lowest[0][0]
    return Worst(
        task=visible(task),
        heading=visible(found),
        table=Table(
            f"The lowest {len(rows)} of {len(values):,} queries", headings("Query", numbers=("nDCG@10",)), rows
        ),
        # A query called like an option is none.
        command=visible(shlex.join(["loco", "explain", path, *(["--"] if query.startswith("-") else []), query])),
    )


def _seen(measurement: Measurement) -> Sequence[Cell]:
    coverage = measurement.documents
    if coverage is None:
        return [_PARTS if measurement.parts else _NOT_KNOWN] * 2
    tokens = f"{coverage.tokens_seen:,} of {coverage.tokens:,} tokens"
    texts = f"{coverage.texts_cut:,} of {coverage.texts:,} documents"
    return (
        number(f"{part(coverage.tokens_seen, coverage.tokens)} %" if coverage.tokens else "no tokens", tokens),
        number(count(coverage.texts_cut), texts),
    )


def _role(coverage: RoleCoverage | None) -> Sequence[Cell]:
    if coverage is None:
        return [_NOT_KNOWN] * 5
    return (
        number(count(coverage.texts)),
        number(count(coverage.texts_cut)),
        number(count(coverage.texts_empty)),
        number(count(coverage.tokens)),
        number(
            f"{part(coverage.tokens_seen, coverage.tokens)} %" if coverage.tokens else "", f"{coverage.tokens_seen:,}"
        ),
    )


def _interval(metric: Metric | None) -> Cell:
    if metric is None:
        return nothing("no figure")
    figure = Figure.of(metric)
    return number(f"{figure.shown} ({figure.interval})" if figure.interval else figure.shown, figure.told)


def _bucket(bucket: Bucket | None) -> Cell:
    if bucket is None:
        return nothing("no query")
    figure = Figure.of(bucket)
    queries = f"{bucket.queries:,} quer{'y' if bucket.queries == 1 else 'ies'}"
    return Cell(f"{figure.shown} ({bucket.queries:,})", f"{figure.told}; {queries}", kind=f"num heat {figure.heat}")


def _name(measure: str) -> str:
    kind, _, depth = measure.partition("@")
    return f"{_NAMES.get(kind, kind.capitalize())}@{depth}"
