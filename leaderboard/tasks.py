"""A page for each task: what it is, its rows, how long they are, what an audit finds, an example, the ranking on it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loco.compare.statistics import Estimate
from loco.results import Metric, RoleCoverage
from loco.results.summary import equivalent
from loco.score.metrics import PRIMARY
from loco.tasks.card import TaskCard, task_cards
from loco.tasks.data import ContentHashes, Counts, Manifest

from .board import VARIANTS, Board, Entry, Filed, League
from .built import Built, Folder, built
from .figures import Figure, count, part
from .leagues import title
from .lengths import Spread, histogram
from .provenance import Fact
from .ranks import Place, ranked
from .site import Page, Renderer
from .tables import Cell, Heading, Table, headings, nothing, number, shaded, text
from .texts import link, visible

INDEX = "tasks/index.html"
_HASH = 12


@dataclass(frozen=True)
class Ranking:
    """The rows of one league that have a figure for a task."""

    heading: str
    table: Table


def task_pages(board: Board) -> dict[str, str]:
    """The address of the page of every task: the benchmark's, and those with a result on the board."""
    names = dict.fromkeys([*task_cards(), *(task for entry in board.entries for task in entry.cells)])
    return {name: _address(name) for name in names}


def pages(board: Board, renderer: Renderer, data: Path | None = None) -> Iterator[Page]:
    """The list of tasks, and a page for each. ``data`` is a folder of built tasks; None means that there is none."""
    folder = built(data)
    addresses = task_pages(board)
    addresses |= {name: _address(name) for name in folder.tasks if name not in addresses}
    yield _index(board, renderer, addresses, folder)
    for name, address in addresses.items():
        yield _page(name, address, board, renderer, folder.tasks.get(name, []), data is not None)


def _address(task: str) -> str:
    """A task of the benchmark keeps its name; the name of an imported one is a stranger's, and gets a hash."""
    if task in task_cards():
        return f"tasks/{task}.html"
    plain = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")[:40]
    return f"tasks/imported-{plain}-{hashlib.sha256(task.encode()).hexdigest()[:16]}.html".replace("--", "-")


def _index(board: Board, renderer: Renderer, addresses: Mapping[str, str], folder: Folder) -> Page:
    cards = task_cards()
    rows = []
    for name, card in cards.items():
        assert card.table10 is not None  # noqa: S101 (cards.toml has the paper's twelve)
        sizes = card.table10
        rows.append(
            [
                text(name, link=addresses[name]),
                text(card.domain, kind="brief"),
                text(card.source, kind="brief"),
                text(f"{card.query} → {card.document}", kind="text"),
                *(number(count(size)) for size in (sizes.test_queries, sizes.test_documents)),
                *(number(count(size)) for size in (sizes.mean_query_chars, sizes.mean_document_chars)),
                *_counted(board, name),
            ]
        )
    columns = [
        *headings("Task", "Domain", "Source", "From what to what"),
        *headings(numbers=("Queries", "Documents", "Mean query", "Mean document", "Measured", "Reported")),
    ]
    own = Table(
        "The twelve tasks of LoCoV1; sizes as the paper prints them, of the test split, lengths in characters",
        columns,
        rows,
    )
    others = [
        [text(name, link=address), *_counted(board, name), Cell("yes" if name in folder.tasks else "no")]
        for name, address in addresses.items()
        if name not in cards
    ]
    imported = Table(
        "Imported tasks", [Heading("Task"), *headings(numbers=("Measured", "Reported")), Heading("Built here")], others
    )
    return renderer.page(
        "tasks.html", INDEX, "Tasks", own=own, imported=imported if others else None, problems=folder.problems
    )


def _counted(board: Board, task: str) -> list[Cell]:
    """How many rows of the board have a figure for a task, by origin."""
    origins = [entry.origin for entry in board.entries if task in entry.cells]
    return [number(count(origins.count(origin))) for origin in ("measured", "reported")]


def _page(name: str, address: str, board: Board, renderer: Renderer, there: Sequence[Built], with_data: bool) -> Page:
    card = next((one.manifest.card for one in there), None) or task_cards().get(name)
    if name in task_cards():
        card = task_cards()[name]
    rows = [(entry, entry.cells[name]) for entry in board.entries if name in entry.cells]
    spreads = [Spread(one.label, one.lengths) for one in there if one.lengths is not None]
    return renderer.page(
        "task.html",
        address,
        visible(name, 100),
        name=visible(name),
        card=card,
        facts_shown=_facts(card) if card else [],
        sizes=_sizes(card, rows, there),
        spreads=[visible(spread.told) for spread in spreads],
        histogram=histogram(spreads) if spreads else None,
        built=there,
        command=_command(name),
        with_data=with_data,
        rankings=_rankings(rows),
    )


def _command(task: str) -> str:
    if task in task_cards():
        build = f"loco build-data {task} --variant release --out FOLDER"
        return f"{build}\nloco leaderboard build results -o site --data FOLDER"
    return "loco import --help"


def _facts(card: TaskCard) -> list[Fact]:
    return [
        Fact.of("Domain", card.domain),
        Fact.of("Source", card.source),
        Fact("Address", [link(card.source_url)]),
        Fact.of("Licence", card.licence),
        Fact.of("Citation", card.citation),
    ]


def _sizes(card: TaskCard | None, rows: Sequence[tuple[Entry, Filed]], there: Sequence[Built]) -> Table:
    """The paper's figures, then every set of rows that is built here or that a result was measured on."""
    lines: list[list[Cell]] = []
    if card is not None and card.table10 is not None:
        printed = card.table10
        for split, queries, documents in (
            ("test", printed.test_queries, printed.test_documents),
            ("train", printed.train_queries, printed.train_documents),
        ):
            lines.append(
                [
                    Cell(f"Table 10, {split}"),
                    *(number(count(amount)) for amount in (queries, documents)),
                    nothing("not printed"),
                    *(
                        number(count(m) if split == "test" else "")
                        for m in (printed.mean_query_chars, printed.mean_document_chars)
                    ),
                    Cell("arXiv 2402.07440, Table 10"),
                    nothing(),
                    number(""),
                ]
            )
    found: dict[tuple[str, ContentHashes], tuple[Counts, str, list[str], int]] = {}
    for one in there:
        manifest = one.manifest
        found[manifest.variant, manifest.content] = (manifest.counts, _made(manifest), [one.label, "built here"], 0)
    for _, filed in rows:
        if (measurement := filed.result.measurement) is None:
            continue
        key = (filed.result.variant, measurement.data.content)
        label = filed.result.variant + (" (equivalent)" if equivalent(filed.result) else "")
        made = measurement.data.provenance
        counts, source, named, results = found.get(key) or (
            measurement.data.counts,
            f"{made.builder} {made.builder_version}, {made.source}",
            [label],
            0,
        )
        found[key] = (counts, source, named, results + 1)
    for (_, content), (counts, source, named, results) in sorted(
        found.items(), key=lambda item: (VARIANTS.index(item[0][0]), -item[1][3])
    ):
        lines.append(
            [
                Cell(named[0]),
                *(number(count(amount)) for amount in (counts.queries, counts.documents, counts.relevant)),
                *(number(f"{mean:,.0f}") for mean in (counts.mean_query_chars, counts.mean_document_chars)),
                text(source, kind="text"),
                text(
                    content.documents[:_HASH],
                    f"documents {content.documents}, queries {content.queries}, judgements {content.qrels}",
                    kind="hash",
                ),
                number(count(results), "measured on these very contents"),
            ]
        )
    columns = [
        Heading("Variant"),
        *headings(numbers=("Queries", "Documents", "Relevant", "Mean query", "Mean document")),
        Heading("Made from"),
        Heading("Hash of documents", told="SHA-256 of their contents, whatever the order of rows or the file format"),
        Heading("Results", True),
    ]
    return Table("How many rows there are; mean lengths in characters", columns, lines)


def _made(manifest: Manifest) -> str:
    made = manifest.provenance
    return f"{made.builder} {made.builder_version}, {made.source}"


def _rankings(rows: Sequence[tuple[Entry, Filed]]) -> list[Ranking]:
    """One list a league, and within it one for each set of contents that results were measured on."""
    groups: dict[tuple[object, ...], list[tuple[Entry, Filed]]] = {}
    for entry, filed in rows:
        measurement = filed.result.measurement
        contents = "" if measurement is None else measurement.data.content.model_dump_json()
        groups.setdefault((_league(entry, filed), contents), []).append((entry, filed))
    return [
        Ranking(_heading(members, sum(key[0] == other[0] for other in groups)), _ranking(members))
        for key, members in sorted(groups.items(), key=lambda item: _order(item[1]))
    ]


def _order(members: Sequence[tuple[Entry, Filed]]) -> tuple[object, ...]:
    entry = members[0][0]
    return (VARIANTS.index(entry.variant), entry.origin, entry.training == "untrained", -len(members), entry.id)


def _heading(members: Sequence[tuple[Entry, Filed]], alike: int) -> str:
    """What a list is of; where several differ in their contents alone, the contents are named."""
    entry, filed = members[0]
    measurement = filed.result.measurement
    contents = f", documents {measurement.data.content.documents[:_HASH]}" if measurement and alike > 1 else ""
    return f"{title(_league(entry, filed))}{contents}"


def _league(entry: Entry, filed: Filed) -> League:
    """What rows share on the page of a task: which other tasks of others they have does not matter there."""
    stands_in = "equivalent" if equivalent(filed.result) else ""
    benchmark = filed.result.task if entry.variant == "imported" else entry.benchmark
    return entry.league._replace(stands_in=stands_in, benchmark=benchmark, data="")


def _ranking(members: Sequence[tuple[Entry, Filed]]) -> Table:
    figures = {entry.id: filed.result.metrics[PRIMARY] for entry, filed in members}
    places = ranked({entry.id: _estimate(figures[entry.id]) for entry, _ in members if entry.training != "untrained"})
    ordered = sorted(members, key=lambda one: (one[0].training == "untrained", -figures[one[0].id].value, one[0].label))
    measured = any(figure.low is not None for figure in figures.values())
    rows = []
    for entry, filed in ordered:
        figure = Figure.of(figures[entry.id])
        row = [
            Cell(visible(entry.name or entry.model.name, 100), link=f"models/{entry.model_id}.html#{entry.id}"),
            text(entry.way, kind="way"),
            *_place(places.get(entry.id), measured),
            shaded(figure),
        ]
        if measured:
            seen = filed.result.measurement.documents if filed.result.measurement else None
            row += [number(figure.interval, figure.told), number(_seen(seen))]
        rows.append(row)
    columns = [*headings("Model", "Strategy"), Heading("Rank", True)]
    if measured:
        columns.append(Heading("Band", True, "the ranks that the intervals leave open"))
    columns.append(Heading("nDCG@10", True))
    if measured:
        columns += [
            Heading("95 % interval", True),
            Heading("Tokens seen", True, "share of the documents' tokens that the model read"),
        ]
    return Table("nDCG@10 in percent", columns, rows)


def _estimate(metric: Metric) -> Estimate | float:
    if metric.low is None or metric.high is None:
        return metric.value
    return Estimate(metric.value, metric.low, metric.high)


def _place(place: Place | None, measured: bool) -> list[Cell]:
    """The rank and, in a list with intervals, its band."""
    if place is None:
        return [nothing("not ranked: its weights were drawn at random")] * (2 if measured else 1)
    told = "shared with an equal figure" if place.tied else ""
    return [number(f"{place.rank}{'=' if place.tied else ''}", told), *([number(place.band)] if measured else [])]


def _seen(documents: RoleCoverage | None) -> str:
    if documents is None:
        return "not known"
    return f"{part(documents.tokens_seen, documents.tokens)} %" if documents.tokens else ""
