"""A page for each model: its card, every result under every strategy, where they come from, what it is worst at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loco.models.card import ModelIdentity

from . import evidence
from .board import VARIANTS, Board, Entry, Printed
from .elsewhere import needle, speed
from .evidence import Worst
from .figures import Figure, count
from .leagues import badges
from .provenance import Fact, Provenance, provenance
from .site import Page, Renderer
from .tables import Cell, Heading, Table, headings, nothing, number, shaded, text
from .tasks import task_pages
from .texts import Piece, link, pieces, visible


@dataclass(frozen=True)
class Source:
    """Who reported figures; ``number`` is what the table calls them."""

    number: int
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Stated:
    """An average as a source prints it, in percent."""

    shown: str
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Row:
    """Everything of one row of the board.

    ``average`` is None where a task is missing, or where only a source's own average is known.
    """

    id: str
    way: str
    variant: str
    badges: Sequence[tuple[str, str]]
    average: Figure | None
    covered: str
    scores: Table | None
    sources: Sequence[Source]
    printed: Sequence[Stated]
    remarks: Sequence[Sequence[Piece]]
    equivalent: str
    measures: Table | None
    seen: Table | None
    lengths: Sequence[Table]
    worst: Sequence[Worst]
    provenance: Provenance | None


@dataclass(frozen=True)
class Card:
    """What results say that the model is. Where they do not agree, each card says how many of them say so."""

    heading: str
    facts: Sequence[Fact]


def pages(board: Board, renderer: Renderer) -> Iterator[Page]:
    """A page for every model that has a row on the board."""
    tasks = task_pages(board)
    models: dict[str, list[Entry]] = {}
    for entry in board.entries:
        models.setdefault(entry.model_id, []).append(entry)
    for name, entries in models.items():
        entries.sort(key=lambda entry: (VARIANTS.index(entry.variant), entry.origin, -(entry.mean or 0), entry.way))
        yield _page(name, entries, board, tasks, renderer)


def _page(name: str, entries: Sequence[Entry], board: Board, tasks: Mapping[str, str], renderer: Renderer) -> Page:
    model = entries[0].model
    called = visible(model.name)
    return renderer.page(
        "model.html",
        f"models/{name}.html",
        called,
        name=called,
        description=pieces(_description(entries)),
        cards=_cards(entries),
        overview=_overview(entries),
        averages=_averages(entries),
        compared=next((entry.id for entry in entries if entry.cells), ""),
        rows=[_row(entry, tasks) for entry in entries],
        needles=[needle(path, one) for path, one in board.needles if one.model.name == model.name],
        speeds=[speed(path, one) for path, one in board.speeds if one.model.name == model.name],
    )


def _description(entries: Sequence[Entry]) -> str:
    return next((entry.model.description for entry in entries if entry.model.description), "")


def _cards(entries: Sequence[Entry]) -> list[Card]:
    """The different cards among the results of a model, the most frequent first."""
    found: dict[str, tuple[ModelIdentity, list[str]]] = {}
    for entry in entries:
        results = [filed.result.model for filed in entry.cells.values()] or [entry.model]
        for model in results:
            found.setdefault(model.model_dump_json(), (model, []))[1].append(entry.way)
    ordered = sorted(found.values(), key=lambda item: -len(item[1]))
    return [
        Card(
            "" if len(ordered) == 1 else f"{len(ways):,} results, {visible(', '.join(dict.fromkeys(ways)), 200)}",
            _facts(model),
        )
        for model, ways in ordered
    ]


def _facts(model: ModelIdentity) -> list[Fact]:
    trained = {True: "yes", False: "no", None: "not known"}[model.trained_on_loco]
    facts = [
        Fact.of("Family", model.family or "not known"),
        Fact.of("Revision", model.revision or "none stated"),
        Fact.of("Licence", model.licence or "not stated"),
        Fact.of("Window", f"{count(model.max_tokens)} tokens" if model.max_tokens else "none stated"),
        Fact.of("Weights", count(model.weights) or "not stated"),
        Fact.of("Trained on LoCo", trained),
        Fact("Page", [link(model.url)] if model.url else [Piece("none stated")]),
    ]
    if model.untrained:
        facts.append(Fact.of("Untrained", "its weights were drawn at random, so it is never ranked"))
    for name, value in model.parameters.items():
        facts.append(Fact.of(name, value if isinstance(value, str) and value else json.dumps(value)))
    return facts


def _overview(entries: Sequence[Entry]) -> Table:
    rows = []
    for entry in entries:
        average = None if entry.average is None else Figure.of(entry.average)
        rows.append(
            [
                Cell(visible(entry.way), link=f"#{entry.id}"),
                Cell(entry.variant),
                nothing("not of every task") if average is None else shaded(average),
                number(average.interval if average else ""),
                number(_covered(entry)),
                Cell("", badges=badges(entry)),
                Cell("compare", link=f"compare.html?rows={entry.id}") if entry.cells else Cell(),
            ]
        )
    columns = [
        *headings("Strategy", "Variant"),
        Heading("Average", True, "plain mean of nDCG@10 over the tasks of the benchmark, in percent"),
        Heading("95 % interval", True),
        Heading("Tasks", True),
        Heading("Kind"),
        Heading("Others"),
    ]
    return Table("Rows of this model, averages in percent", columns, rows)


def _covered(entry: Entry) -> str:
    return f"{len(entry.cells)} of {len(entry.tasks)}"


def _averages(entries: Sequence[Entry]) -> Table | None:
    """What sources print beside what the cells give, where they differ or where there are no cells."""
    rows = []
    for entry in entries:
        for printed in entry.printed:
            if printed.differs or entry.mean is None:
                rows.append(_printed(entry, printed))
    columns = [
        *headings("Strategy", "Variant"),
        *headings(numbers=("Printed", "By the cells", "Difference")),
        Heading("Source"),
    ]
    return (
        Table("Averages as sources print them, where their own cells give another or none are known", columns, rows)
        if rows
        else None
    )


def _printed(entry: Entry, printed: Printed) -> list[Cell]:
    own = entry.mean
    return [
        text(entry.way, link=f"#{entry.id}"),
        Cell(f"{entry.variant}, {visible(entry.benchmark, 60)}"),
        number(f"{printed.percent:g}"),
        number("no cells" if own is None else f"{100 * own:.2f}"),
        number("" if own is None else f"{printed.percent - 100 * own:+.2f}"),
        Cell(pieces=pieces(printed.source), kind="text"),
    ]


def _row(entry: Entry, tasks: Mapping[str, str]) -> Row:
    return Row(
        id=entry.id,
        way=visible(entry.way),
        variant=entry.variant,
        badges=badges(entry),
        average=None if entry.average is None else Figure.of(entry.average),
        covered=_covered(entry),
        scores=evidence.scores(entry, tasks) if entry.cells else None,
        sources=[Source(place, pieces(source)) for place, source in enumerate(evidence.sources(entry), 1)],
        printed=[Stated(f"{printed.percent:g}", pieces(printed.source)) for printed in entry.printed],
        remarks=[pieces(remark) for remark in entry.remarks],
        equivalent=visible(entry.equivalent),
        measures=evidence.measures(entry),
        seen=evidence.seen(entry),
        lengths=evidence.lengths(entry),
        worst=evidence.worst(entry),
        provenance=provenance(entry),
    )
