"""From values to pixels along an axis, with ticks at round values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The values from ``low`` to ``high`` lie between the pixels ``start`` and ``end``, evenly."""

    low: float
    high: float
    start: float
    end: float
    step: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, ticks: int = 6) -> Scale:
        """A scale that ends with the values it shows, about ``ticks`` steps long; whole steps for whole numbers."""
        shown = list(values) or [0.0, 1.0]
        low, high = min(shown), max(shown)
        if low == high:
            around = max(0.5, abs(low) / 1000)  # half of one would vanish beside 1e17
            low, high = low - around, high + around
        step = _round_step((high - low) / ticks)
        if all(float(value).is_integer() for value in shown):
            step = max(step, 1.0)
        return cls(low, high, start, end, step)

    @classmethod
    def from_zero_to_one(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """From 0 to 1 in steps of 0.2, or, where a value lies outside, from and to a round value beyond it."""
        shown = [0.0, 1.0, *values]
        low, high = min(shown), max(shown)
        step = _round_step((high - low) / 5)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end, step)

    def place(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def share(self, value: float) -> float:
        """Where a value lies between ``low`` (0) and ``high`` (1)."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    @property
    def ticks(self) -> list[float]:
        """The multiples of the step on this scale."""
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [count * self.step for count in range(first, last + 1)]


def check_finite(values: Sequence[float], what: str) -> None:
    """Raise ValueError where one of the values is NaN or infinite."""
    for place, value in enumerate(values):
        if not math.isfinite(value):
            raise ValueError(f"{what} holds {value} at position {place}; only finite values can be drawn.")


def _round_step(least: float) -> float:
    """The first of 1, 2, 5, 10, ... (times any power of ten) that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))
