"""Tables as the pages show them: every cell a text, some with a link, the exact value, or a shade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .figures import Figure
from .texts import Piece, visible


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    ``told`` is shown to whoever points at it. ``link`` is an address below the site's folder, or the site's own page
    with a ``#``. ``kind`` are classes of the stylesheet. ``pieces`` stand in the place of ``text``, ``badges`` behind
    it, each a class and a text.
    """

    text: str = ""
    told: str = ""
    link: str = ""
    kind: str = ""
    pieces: Sequence[Piece] = ()
    badges: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Heading:
    """A column. ``number`` sets its figures to the right; ``told`` explains it."""

    text: str
    number: bool = False
    told: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under headings. The first cell of a row names it."""

    caption: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]] = field(default=())


def text(content: str, told: str = "", link: str = "", kind: str = "", longest: int = 200) -> Cell:
    """A cell with what a stranger may have written."""
    return Cell(visible(content, longest), visible(told), link, kind)


def number(content: str, told: str = "") -> Cell:
    """A cell with a figure that needs no interval."""
    return Cell(content, told, kind="num")


def nothing(told: str = "") -> Cell:
    """A cell without a figure. ``told`` says why."""
    return Cell("\u2013", told, kind="num none")


def shaded(figure: Figure | None) -> Cell:
    """A cell shaded by its figure; one without says so."""
    if figure is None:
        return nothing("no figure")
    return Cell(figure.shown, figure.told, kind=f"num heat {figure.heat}")


def headings(*names: str, numbers: Iterable[str] = ()) -> list[Heading]:
    """Columns of texts, then columns of figures."""
    return [*(Heading(name) for name in names), *(Heading(name, number=True) for name in numbers)]
