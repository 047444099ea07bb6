"""The ways a request can fail, whichever vendor's client it came through."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Refused(Exception):  # noqa: N818  (a request that was)
    """The vendor answered with an error: the HTTP status, what it says, and the seconds it asks to wait for."""

    status: int
    message: str
    retry_after: float | None = None


@dataclass
class Unanswered(Exception):  # noqa: N818
    """No answer came, or only a part of it. ``reached`` tells whether the request may have got there."""

    message: str
    reached: bool = True


@dataclass
class Unreadable(Exception):  # noqa: N818
    """An answer came that is none: ``reason`` says why. ``tokens`` is what it says it cost, None if it does not."""

    reason: str
    tokens: int | None = field(default=None)


@dataclass
class OtherModel(Exception):  # noqa: N818
    """The answer is another model's."""

    model: str
    tokens: int | None = field(default=None)
