"""The one exception a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LocoError(Exception):
    """Something the user can act on: what happened, why, and what to do about it, in one line.

    The command line prints it without a traceback and exits with status 2.
    """


def unknown(kind: str, name: str, known: Iterable[str], see: str) -> LocoError:
    """An error for a name that is not among ``known``, suggesting the closest one.

    ``kind`` is the noun ("task"), ``see`` the command or page that lists the known names.
    """
    names = sorted(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    suggestion = f" Did you mean '{by_folded[close[0]]}'?" if close else ""
    return LocoError(f"No {kind} '{name}'.{suggestion} See: {see}")
