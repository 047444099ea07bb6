"""Tables for people, on a terminal or in a file."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

# A table that goes to a file or a pipe is not cut to the width of a terminal that is not there.
_WIDTH_WITHOUT_TERMINAL = 200
_NO_LIMIT = 10_000


def console(least: int = 0) -> Console:
    """Standard output, at least ``least`` columns wide, and wide where it is no terminal."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = Console().width if terminal else _WIDTH_WITHOUT_TERMINAL
    return Console(width=max(width, least), highlight=False)


def show(rows: Table) -> None:
    """Print a table whole: where the terminal is narrower, it folds the lines, and no figure is cut."""
    needed = Console(width=_NO_LIMIT).measure(rows).maximum
    console(needed).print(rows)


def table(*headings: str, title: str | None = None) -> Table:
    """A table with columns of text."""
    rows = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        rows.add_column(heading)
    return rows


def add_numbers(rows: Table, *headings: str) -> None:
    """Add columns of numbers."""
    for heading in headings:
        rows.add_column(heading, justify="right", no_wrap=True)


def counted(count: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
