"""What is to be measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from loco.errors import LocoError
from loco.models.runtime import Runtime
from loco.results.speed import MOST_RUNS

DEFAULT_TOKENS = (128, 2048, 8192, 32768)
"""The lengths of Table 5."""
DEFAULT_REPEATS = 5

_LONGEST = 10_000_000  # tokens; some 50 MB of text, many times the longest document of any task


@dataclass(frozen=True)
class SpeedOptions:
    """``tokens`` are the lengths, each measured ``repeats`` times after a first pass that is kept apart.

    ``strategies`` are names, each measured by itself; None means the card's default.
    """

    tokens: tuple[int, ...] = DEFAULT_TOKENS
    repeats: int = DEFAULT_REPEATS
    strategies: str | Sequence[str] | None = None
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        if not self.tokens:
            raise LocoError("No length is named. Write for example: --tokens 128,2048")
        for tokens in self.tokens:
            if not 1 <= tokens <= _LONGEST:
                raise LocoError(f"A text of {tokens:,} tokens cannot be timed: choose lengths from 1 to {_LONGEST:,}.")
            if self.tokens.count(tokens) > 1:
                raise LocoError(f"The length {tokens} is named twice: name each once.")
        if not 1 <= self.repeats <= MOST_RUNS:
            raise LocoError(f"A median of {self.repeats:,} runs cannot be: choose --repeats from 1 to {MOST_RUNS:,}.")


def lengths_in(text: str) -> tuple[int, ...]:
    """The lengths of a list such as ``128,2048``. Raises LocoError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not re.fullmatch(r"\d{1,9}", part, re.ASCII):
            raise LocoError(
                f"'{' '.join(part.split()):.40}' is no length: --tokens takes whole numbers from 1 to {_LONGEST:,}, "
                "separated by commas, as in --tokens 128,2048"
            )
    return tuple(map(int, parts))
