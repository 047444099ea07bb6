"""Progress bars: on standard error, where that is a terminal, and nowhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item")


def tracked(items: Sequence[Item], label: str) -> Iterable[Item]:
    """The items, one by one, counted by a bar called ``label``."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, label, console=Console(stderr=True), transient=True)


class Meter(Protocol):
    """Something to tell how far reading texts has come."""

    def advance(self, texts: float, characters: float, tokens: int) -> None:
        """So many more texts (or parts of one) of so many characters are done, ``tokens`` of them computed just now."""
        ...


@contextmanager
def meter(label: str, texts: int, characters: int) -> Iterator[Meter]:
    """A bar over ``texts`` texts of ``characters`` characters in all, with texts and tokens a second and time left.

    The time left goes by characters: texts differ too much in length to be counted.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(label, total=max(characters, 1), rate="")
        done_texts, done_tokens, start = 0.0, 0, time.monotonic()

        class Bar:
            def advance(self, more_texts: float, more_characters: float, tokens: int) -> None:
                nonlocal done_texts, done_tokens
                done_texts, done_tokens = done_texts + more_texts, done_tokens + tokens
                seconds = max(time.monotonic() - start, 1e-3)
                rate = (
                    f"{done_texts:,.0f}/{texts:,}  {done_texts / seconds:,.1f}/s  {done_tokens / seconds:,.0f} tokens/s"
                )
                progress.update(bar, advance=more_characters, rate=rate)

        yield Bar()


class _Silent:
    def advance(self, texts: float, characters: float, tokens: int) -> None:
        """Nobody is looking."""
