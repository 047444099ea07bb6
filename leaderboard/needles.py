"""Needles in haystacks: curves by position, and maps of position and length."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from loco.compare.statistics import Estimate
from loco.needle.drawing import short_length
from loco.needle.haystacks import DISTRACTORS, POSITIONS
from loco.needle.published import PublishedCurve, published
from loco.results import Metric, NeedleResult
from loco.results.needle import Cell as NeedleCell

from . import plotting
from .board import Board
from .chart import MODEL, Chart, Missing, Section, Sign, interval
from .figures import Figure, percent
from .plotting import Line
from .tables import Cell, Table, headings, number, shaded, text
from .texts import below_results, visible

_BANDS = 4  # in one figure; of more, a band is shown where it is asked for


def curves(board: Board) -> Section:
    """Curves over the position of the gold passage, those of the same haystacks in one figure."""
    groups: dict[tuple[object, ...], list[tuple[str, NeedleResult]]] = {}
    for path, result in board.needles:
        made = result.haystacks
        if not made.lengths and not result.model.untrained:
            same = (made.source, made.sha256, made.positions, made.distractors or 0, made.queries)
            groups.setdefault(same, []).append((path, result))
    figures = [
        _curves(f"needle-{place}", sorted(members, key=lambda one: (-_mean(one[1]), one[0])))
        for place, (_, members) in enumerate(sorted(groups.items(), key=lambda one: str(one[0])))
    ]
    missing = []
    if not figures:
        missing = [Missing("No needle was hidden at several positions yet.", f"loco needle-haystack --model {MODEL}")]
    about = (
        "Each query's gold passage is put at one position of a long document after the other. A model that reads all "
        "of a document alike has a level curve."
    )
    return Section("needle", "Needle in a haystack, by position", about, figures, missing)


def maps(board: Board) -> Section:
    """A map of position and length for each result that has lengths."""
    found = [one for one in board.needles if one[1].haystacks.lengths and not one[1].model.untrained]
    figures = [_map(f"map-{place}", path, result) for place, (path, result) in enumerate(found)]
    missing = []
    if not figures:
        command = f"loco needle-haystack --model {MODEL} --lengths 1k,4k,16k"
        missing = [Missing("No needle was hidden in documents of several lengths yet.", command)]
    about = "The same, in documents of several lengths: a map for each model and strategy."
    return Section("maps", "Needle in a haystack, by position and length", about, figures, missing)


def _curves(identifier: str, members: Sequence[tuple[str, NeedleResult]]) -> Chart:
    first = members[0][1]
    made = first.haystacks
    papers = (made.positions, made.distractors) == (POSITIONS, DISTRACTORS)
    series, links = [], []
    for path, result in members:
        name = _name(result)
        told = [f"{name}, {_position(cell, papers)}: {_told(cell.ndcg)}" for cell in result.cells]
        places = [cell.position if papers else cell.depth for cell in result.cells]
        figures = [cell.ndcg for cell in result.cells]
        lows, highs = [figure.low for figure in figures], [figure.high for figure in figures]
        series.append(Line(name, places, [figure.value for figure in figures], lows, highs, told))
        links.append(below_results(path))
    if papers:
        series += [_printed(curve) for curve in published().model]
        links += [""] * (len(series) - len(links))
    shown = series[: plotting.DISTINCT]
    heading = f"{visible(made.source)}, {made.queries:,} queries, one passage among {made.distractors} others"
    notes = ["Bands are 95 % intervals at each position."]
    if papers:
        notes.append(
            f"Dashed curves are printed in {published().source}, of its own haystacks: compare shapes, not levels."
        )
    if any(result.order_free for _, result in members):
        notes.append("A line as level as a ruler is a model to which the order of words does not matter.")
    if len(shown) < len(series):
        notes.append(f"{len(shown)} of {len(series)} curves are drawn; the table has all.")
    title = f"nDCG@10 by the position of the gold passage, {heading}"
    if papers:
        label = f"Passages before the gold passage, of {DISTRACTORS}"
        ticks = [(float(place), str(place), "") for place in (*range(0, POSITIONS, 5), POSITIONS - 1)]
    else:
        label = "Share of passages before the gold passage"
        ticks = [(quarter / 4, f"{25 * quarter} %", "") for quarter in range(5)]
    signs = [
        Sign(plotting.key(place, line.hollow, line=True), line.name, links[place], place)
        for place, line in enumerate(shown)
    ]
    columns = [str(cell.position) if papers else f"{cell.depth:.0%}" for cell in first.cells]
    return Chart(
        identifier=identifier,
        variant="",
        heading=heading,
        picture=plotting.lines(identifier, title, shown, label, ticks, first.chance, bands=True),
        legend=[*signs, Sign(plotting.level(), f"chance, {percent(first.chance)} %")],
        notes=notes,
        table=Table(
            f"{title}, in percent",
            headings("Curve", "Origin", numbers=columns),
            [_row(line, link) for line, link in zip(series, links, strict=True)],
        ),
        crowded=len(shown) > _BANDS,
    )


def _printed(curve: PublishedCurve) -> Line:
    name, values = f"{curve.name} (printed)", [value / 100 for value in curve.ndcg]
    told = [f"{name}, {place} of {DISTRACTORS} passages before: {percent(v)} %" for place, v in enumerate(values)]
    unknown = [None] * len(values)
    return Line(name, range(len(values)), values, unknown, unknown, told, hollow=True)


def _row(line: Line, link: str) -> Sequence[Cell]:
    cells = []
    for value, low, high in zip(line.ys, line.lows, line.highs, strict=True):
        known = low is not None and high is not None
        figure = Figure.of(Estimate(value, low or 0.0, high or 0.0) if known else value)
        cells.append(number(figure.shown, figure.told))
    return [text(line.name, link=link), Cell("reported" if line.hollow else "measured"), *cells]


def _map(identifier: str, path: str, result: NeedleResult) -> Chart:
    made, name = result.haystacks, _name(result)
    rows = []
    for length in made.lengths:
        cells = [shaded(Figure.of(cell.ndcg)) for cell in result.cells if cell.length == length]
        rows.append([Cell(f"{short_length(length)} tokens"), *cells])
    note = (
        f"{made.queries:,} queries of {visible(made.source)}; lengths in tokens of {visible(made.tokenizer)}. Chance "
        f"is {percent(result.chance)} %. The deeper the colour, the higher; each cell's title has its interval."
    )
    return Chart(
        identifier=identifier,
        variant="",
        heading=name,
        picture=None,
        legend=[Sign(Markup(""), "The result file", below_results(path))],
        notes=[note],
        table=Table(
            f"nDCG@10 in percent of {name}, by length and share of passages before the gold one",
            headings("Length", numbers=[f"{cell.depth:.0%}" for cell in result.cells[: made.positions]]),
            rows,
        ),
    )


def _mean(result: NeedleResult) -> float:
    return math.fsum(cell.ndcg.value for cell in result.cells) / len(result.cells)


def _name(result: NeedleResult) -> str:
    return visible(", ".join(filter(None, (result.model.name, result.strategy, result.vector_form))))


def _position(cell: NeedleCell, papers: bool) -> str:
    return f"{cell.position} of {DISTRACTORS} passages before" if papers else f"{cell.depth:.0%} of the passages before"


def _told(metric: Metric) -> str:
    return f"{percent(metric.value)} %{interval(metric.low, metric.high)}"
