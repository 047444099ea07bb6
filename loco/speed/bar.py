"""The progress bar of a measurement: it moves between runs only, since one that is drawn meanwhile takes their time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(label: str, tokens: int) -> Iterator[Callable[[str, int], None]]:
    """A bar over ``tokens`` tokens; call what it yields with what comes next and how many more are done."""
    if not sys.stderr.isatty():
        yield lambda coming, done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task(label, total=tokens)

        def step(coming: str, done: int) -> None:
            progress.update(bar, description=f"{label}{coming and ', '}{coming}", advance=done, refresh=True)

        yield step
