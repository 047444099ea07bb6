"""Figures as the pages show them: one decimal of a percent, the exact value beside it for whoever wants it."""

from __future__ import annotations

from dataclasses import dataclass

from loco.compare.statistics import Estimate
from loco.results import Metric

_STEPS = 20  # of the heat in the stylesheet: .h0 to .h20


@dataclass(frozen=True)
class Figure:
    """A share between 0 and 1, in percent.

    ``shown`` has one decimal, ``interval`` the ends of the 95 % interval, empty where there is none. ``told`` says the
    exact value and its interval. ``heat`` is the class of a cell that is shaded by it.
    """

    value: float
    shown: str
    interval: str
    told: str
    heat: str

    @classmethod
    def of(cls, estimate: Metric | Estimate | float) -> Figure:
        """Of a mean with or without an interval."""
        value = estimate if isinstance(estimate, float) else estimate.value
        low, high = (None, None) if isinstance(estimate, float) else (estimate.low, estimate.high)
        known = low is not None and high is not None
        return cls(
            value=value,
            shown=percent(value),
            interval=f"{percent(low)} to {percent(high)}" if low is not None and high is not None else "",
            told=f"{value:.6f}" + (f", 95 % interval {low:.6f} to {high:.6f}" if known else ", no interval known"),
            heat=f"h{round(min(max(value, 0.0), 1.0) * _STEPS)}",
        )


def percent(share: float) -> str:
    """A share as percent with one decimal, without the sign."""
    return f"{100 * share:.1f}"


def part(some: int, all_of_them: int) -> str:
    """How many of them, in percent: 100.0 is all and 0.0 none, not nearly so. Empty where there are none at all."""
    if not all_of_them:
        return ""
    shown = percent(some / all_of_them)
    if some < all_of_them and shown == "100.0":
        return "99.9"
    return "0.1" if some and shown == "0.0" else shown


def seconds(amount: float) -> str:
    """A time that somebody waited for."""
    if amount >= 5400:
        return f"{amount / 3600:,.1f} h"
    if amount >= 120:
        return f"{amount / 60:,.1f} min"
    return f"{amount:.3g} s"


def size(amount: int) -> str:
    """Bytes, in decimal units."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if amount >= 0.9995 * unit:
            return f"{amount / unit:,.3g} {name}" if amount < 999.5 * unit else f"{amount / unit:,.0f} {name}"
    return f"{amount} B"


def count(amount: int | None) -> str:
    """A whole number with its thousands set apart; empty where it is not known."""
    return "" if amount is None else f"{amount:,}"
