"""One policy for all vendors: what is tried again, after how long, and when enough is enough."""

from __future__ import annotations

import random

# A request refused, broken off or answered with nonsense so often in a row is given up; what was answered is kept.
TRIES = 8
# An answer that is none may be on the bill all the same: fewer of them are paid for.
UNREADABLE_TRIES = 5

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
# A vendor that asks for more than this wants its user to come back another time.
LONGEST_ASKED = 600.0

_PASSING = frozenset({408, 409, 425, 429})


def passing(status: int) -> bool:
    """Whether an HTTP status may be another one in a moment: too busy, too many requests, the vendor's own trouble."""
    return status in _PASSING or status >= 500


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, drawn between half of that and all,
    lest everybody who was refused together comes back together.
    """
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
