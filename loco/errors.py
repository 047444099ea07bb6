"""The exceptions a user is meant to read, and what goes into their lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LocoError(Exception):
    """Something the user can act on: what happened, why, and what to do about it, in one line.

    The command line prints it without a traceback and exits with status 2.
    """


class BadText(LocoError):  # noqa: N818
    """A text that a model cannot read: ``index`` is its place among the texts handed over, ``reason`` what it has.

    The reason goes on from a name of the text, as in "holds a lone surrogate", without a full stop. Whoever knows what
    the text is called says that instead of its number.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"Text number {index + 1} {reason}.")
        self.index = index
        self.reason = reason


def unknown(kind: str, name: str, known: Iterable[str], see: str) -> LocoError:
    """An error for a name that is not among ``known``, suggesting the closest one.

    ``kind`` is the noun ("task"), ``see`` the command or page that lists the known names.
    """
    name = " ".join(name.splitlines())
    names = sorted(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    suggestion = f" Did you mean '{by_folded[close[0]]}'?" if close else ""
    return LocoError(f"No {kind} '{name}'.{suggestion} See: {see}")


def one_line(error: BaseException) -> str:
    """What an exception says, to stand in a line of our own; its kind where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
