"""The page on method: how figures come about, what is never compared, what is wrong in sources, how to take part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loco.score import bootstrap
from loco.score.buckets import CUT_BUCKETS, LENGTH_BUCKETS

from .board import Board, Entry, Printed
from .figures import count
from .leagues import title
from .site import Page, Renderer
from .tables import Cell, Heading, Table, headings, number, text
from .texts import Piece, pieces, visible


@dataclass(frozen=True)
class Mistakes:
    """What is wrong in a source, or easily misread."""

    source: Sequence[Piece]
    texts: Sequence[Sequence[Piece]]


def page(board: Board, renderer: Renderer) -> Page:
    """``method.html``."""
    return renderer.page(
        "method.html",
        "method.html",
        "Method",
        resamples=count(bootstrap.RESAMPLES),
        confidence=f"{bootstrap.CONFIDENCE:.0%}",
        lengths=LENGTH_BUCKETS,
        cuts=CUT_BUCKETS,
        leagues=_leagues(board),
        mistakes=_mistakes(board),
        averages=_averages(board),
        refused=[visible(line, 600) for line in board.refused],
    )


def pages(board: Board, renderer: Renderer) -> Iterator[Page]:
    """The one page, as the other modules give theirs."""
    yield page(board, renderer)


def _leagues(board: Board) -> Table | None:
    """How many rows each list of this board has."""
    found: dict[str, list[Entry]] = {}
    for entry in sorted(board.entries, key=lambda entry: (board.variants.index(entry.variant), entry.league)):
        found.setdefault(title(entry.league), []).append(entry)
    rows = [
        [Cell(heading), number(count(len(entries))), number(count(sum(entry.complete for entry in entries)))]
        for heading, entries in found.items()
    ]
    columns = [Heading("List"), Heading("Rows", True), Heading("Ranked", True, "with a figure for every task")]
    return Table("The lists of this board", columns, rows) if rows else None


def _averages(board: Board) -> Table | None:
    rows = [
        _average(entry, printed)
        for entry in board.entries
        for printed in entry.printed
        if printed.differs and entry.mean is not None
    ]
    columns = [
        *headings("Model", "Strategy"),
        *headings(numbers=("Printed", "By the cells", "Difference")),
        Heading("Source"),
    ]
    return Table("Averages that are not those of the cells they stand beside", columns, rows) if rows else None


def _average(entry: Entry, printed: Printed) -> list[Cell]:
    own = 100 * (entry.mean or 0.0)
    return [
        text(entry.name or entry.model.name, link=f"models/{entry.model_id}.html#{entry.id}"),
        text(entry.way),
        number(f"{printed.percent:g}"),
        number(f"{own:.2f}"),
        number(f"{printed.percent - own:+.2f}"),
        Cell(pieces=pieces(printed.source)),
    ]


def _mistakes(board: Board) -> list[Mistakes]:
    """The mistakes that the board's files of reported figures list, by source."""
    found: dict[str, list[Sequence[Piece]]] = {}
    for reported in board.reported:
        for mistake in reported.mistake:
            found.setdefault(mistake.source, []).append(pieces(mistake.text))
    return [Mistakes(pieces(source), texts) for source, texts in found.items()]
