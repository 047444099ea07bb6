"""Ranks of sides by their average, each with the band that the data cannot narrow down.

Every two sides are tested against each other, with Holm's correction for all pairs. A side's band begins behind those
that are distinguishably better and ends before those that are distinguishably worse. As no pair is wrongly told apart
but with a chance of five in a hundred, all bands contain the true ranks at once with the rest (Mogstad, Romano, Shaikh
and Wilhelm 2024, "Inference for Ranks", section 3). Ranks of resamples would not do: where two sides are equally good,
their spread is too narrow, however many queries there are (Hall and Miller 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from loco.compare.pairs import in_order, values_of
from loco.compare.sides import Found, Side, check_comparable
from loco.compare.statistics import LEVEL, Estimate, draw, holm, mean, p_value
from loco.errors import LocoError
from loco.progress import tracked


@dataclass(frozen=True)
class Ranked:
    """A side's average nDCG@10 over the tasks, its rank, and the best and worst rank that it may truly have.

    Sides with equal averages have the same rank, the best of those they take up; ``tied`` says so.
    """

    side: Side
    average: Estimate
    rank: int
    tied: bool
    best: int
    worst: int


@dataclass(frozen=True)
class Ranking:
    """All sides that were measured on all of ``tasks``, best first; ``tests`` pairs were tested."""

    tasks: tuple[str, ...]
    ranked: tuple[Ranked, ...]
    tests: int
    notes: tuple[str, ...]


def rank(found: Found, tasks: Sequence[str]) -> Ranking:
    """Rank the sides on the tasks named, or on the largest set of tasks that any side has.

    A side that lacks one of them is left out, as is an untrained model, and a note says so. Raises LocoError where
    fewer than two sides are left, or where results of a task are of different data.
    """
    notes = list(found.notes)
    trained = []
    for side in found.sides:
        if side.model.untrained:
            notes.append(f"{side.label} is untrained, its weights drawn at random: never ranked.")
        else:
            trained.append(side)
    chosen = in_order(dict.fromkeys(tasks)) if tasks else _largest_set(trained)
    sides = []
    for side in trained:
        missing = [task for task in chosen if task not in side.tasks]
        if missing:
            notes.append(f"{side.label} lacks {', '.join(missing)}: not ranked.")
        else:
            sides.append(side)
    if len(sides) < 2:
        what = f" measured on {', '.join(chosen)}" if chosen else ""
        also = f" {notes[-1]}" if notes else ""
        raise LocoError(f"Two sides{what} ({found.variant}) are needed for ranks, and there are {len(sides)}.{also}")
    for task in chosen:
        check_comparable(task, sides)
    draws = [draw(task, values_of(task, sides)) for task in tracked(chosen, "Resampling")]
    averages = [mean([(one, column) for one in draws]) for column in range(len(sides))]
    pairs = list(combinations(range(len(sides)), 2))
    p_values = [p_value([(one, a, b) for one in draws]) for a, b in tracked(pairs, "Testing pairs")]
    better = [0] * len(sides)
    worse = [0] * len(sides)
    for (a, b), p in zip(pairs, holm(p_values), strict=True):
        if p < LEVEL:
            winner, loser = (a, b) if averages[a].value > averages[b].value else (b, a)
            better[loser] += 1
            worse[winner] += 1
    # Averages that differ in their last bits only are equal; a result file has six decimals.
    rounded = [round(average.value, 7) for average in averages]
    ranked = [
        Ranked(
            side=side,
            average=averages[column],
            rank=1 + sum(other > rounded[column] for other in rounded),
            tied=rounded.count(rounded[column]) > 1,
            best=1 + better[column],
            worst=len(sides) - worse[column],
        )
        for column, side in enumerate(sides)
    ]
    return Ranking(tuple(chosen), tuple(sorted(ranked, key=lambda one: one.rank)), len(pairs), tuple(notes))


def _largest_set(sides: Sequence[Side]) -> list[str]:
    """The tasks of the side with most of them; of two such sets the one that more sides have."""
    sets = {frozenset(side.tasks) for side in sides}
    if not sets:
        return []
    best = max(sets, key=lambda s: (len(s), sum(s <= side.tasks.keys() for side in sides), sorted(s)))
    return in_order(dict.fromkeys(best))
