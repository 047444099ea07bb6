"""Differences of nDCG@10 between two sides: intervals, tests, and their correction for being many.

Queries are the sample: what is said holds for other queries of the same tasks, not for other tasks. A test asks whether
a query's two values could as well stand the other way round: each difference has its sign drawn anew (Fisher 1935;
for retrieval: Smucker, Allan and Carterette 2007). Intervals are from queries drawn with replacement within each task,
all sides with the same draws. Which bootstrap interval holds what it promises depends on what it is of, as
benchmarks/coverage.py shows: BCa for one side's mean, the outer one for a difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loco.score.bootstrap import SEED
from loco.score.resampling import RESAMPLES, UNIT, Floats, bca, flipped_sums, outer, resampled_sums

# With the observed arrangement, 50,000: the least p-value is 0.00002, which stays below 0.05 times up to 2,499 tests.
FLIPS = 49_999
LEVEL = 0.05
# Averages of the same values over tasks may differ in their last bits, and still tie. In millionths.
_NOISE = 1e-6


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference of means of nDCG@10, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """What the sums over a task's queries could have been, side by side.

    ``values``: nDCG@10 in millionths, shape (queries, sides). ``resampled``: (resamples, sides). ``flipped``: (flips,
    sides), of which only differences of two columns mean something.
    """

    values: Floats
    resampled: Floats
    flipped: Floats


def draw(task: str, values: Floats) -> Draws:
    """Resamples and sign flips of a task. They depend on the task's name and number of queries alone.

    ``values``: nDCG@10 in millionths, shape (queries, sides).
    """
    resampling, flipping = (_random(task, kind) for kind in (0, 1))
    return Draws(values, resampled_sums(values, resampling), flipped_sums(values, FLIPS, flipping))


def mean(tasks: Sequence[tuple[Draws, int]]) -> Estimate:
    """The mean over queries, then over tasks, of the side in the given column of each task."""
    columns = [(draws.values[:, column], draws.resampled[:, column]) for draws, column in tasks]
    observed, resampled = _averaged(columns)
    influence = np.concatenate([(values - values.mean()) / len(values) for values, _ in columns])
    return _estimate(observed, bca(resampled, observed, influence[:, None]))


def means(tasks: Mapping[str, Floats]) -> list[Estimate]:
    """What :func:`mean` says of each of many sides, all of them at once and without drawing signs.

    ``tasks``: by a task's name nDCG@10 in millionths, shape (queries, sides).
    """
    sides = next(iter(tasks.values())).shape[1]
    observed, resampled = np.zeros(sides), np.zeros((RESAMPLES, sides))
    for task, values in tasks.items():
        observed += values.sum(axis=0) / len(values)
        resampled += resampled_sums(values, _random(task, 0)) / len(values)
    observed /= len(tasks)
    resampled /= len(tasks)
    influence = np.concatenate([(values - values.mean(axis=0)) / len(values) for values in tasks.values()])
    ends = zip(observed, *bca(resampled, observed, influence), strict=True)
    return [Estimate(*(float(part) / UNIT for part in side)) for side in ends]


def difference(tasks: Sequence[tuple[Draws, int, int]]) -> Estimate:
    """The first column minus the second of each task: mean over queries, then over tasks."""
    observed, resampled = _averaged(
        [
            (draws.values[:, one] - draws.values[:, other], draws.resampled[:, one] - draws.resampled[:, other])
            for draws, one, other in tasks
        ]
    )
    return _estimate(observed, outer(resampled, observed))


def p_value(tasks: Sequence[tuple[Draws, int, int]]) -> float:
    """Two-sided randomization test of that difference, with the observed arrangement as one of them.

    That makes it valid whatever the number of flips (Phipson and Smyth 2010).
    """
    observed = sum(
        float((draws.values[:, one] - draws.values[:, other]).sum()) / len(draws.values) for draws, one, other in tasks
    )
    drawn = sum((draws.flipped[:, one] - draws.flipped[:, other]) / len(draws.values) for draws, one, other in tasks)
    extreme = np.count_nonzero(np.abs(drawn) >= abs(observed) - _NOISE)
    return (int(extreme) + 1) / (FLIPS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979): the chance of even one false alarm stays below the level."""
    ascending = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, least = [0.0] * len(p_values), 0.0
    for place, number in enumerate(ascending):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[number]))
        corrected[number] = least
    return corrected


def _random(task: str, kind: int) -> np.random.Generator:
    """What a task's queries (kind 0) or signs (kind 1) are drawn with."""
    return np.random.default_rng([SEED, kind, zlib.crc32(task.encode())])


def _averaged(tasks: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """The mean of the tasks' means, from each task's values and resampled sums: shapes (1,) and (resamples, 1)."""
    observed = sum((values.sum() / len(values) for values, _ in tasks), start=np.float64(0)) / len(tasks)
    resampled = sum((sums / len(values) for values, sums in tasks), start=np.float64(0)) / len(tasks)
    return np.reshape(observed, (1,)), np.reshape(resampled, (-1, 1))


def _estimate(observed: Floats, ends: tuple[Floats, Floats]) -> Estimate:
    value, low, high = (float(part[0]) / UNIT for part in (observed, *ends))
    return Estimate(value, low, high)
