"""Seeded choices that come out the same on every machine and Python version."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A random source. Built on ``random.Random(...).random()`` alone.

    That is the one method whose sequence the standard library promises never to change for a given seed;
    ``choice`` and ``shuffle`` carry no such promise.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random  # noqa: S311 (texts, not secrets)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def between(self, low: float, high: float) -> float:
        """A number from ``low`` up to, and without, ``high``."""
        return low + (high - low) * self._random()

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int((high - low + 1) * self._random())

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(len(items) * self._random())]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = int((last + 1) * self._random())
            order[last], order[other] = order[other], order[last]
        return order

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different items, in a random order."""
        if count > len(items):
            raise ValueError(f"{count} items wanted of {len(items)}")
        return self.shuffled(items)[:count]
