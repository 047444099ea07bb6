"""How often a 95 % interval of loco contains the truth: promised 93 to 97 % of the time at 300 queries.

python benchmarks/coverage.py                     300 queries
python benchmarks/coverage.py --queries 50

Per-query values of nDCG@10 as they are with one relevant document: 1 / log2(1 + position), or 0. The sample is drawn
from a distribution whose mean is known, the interval is made as loco makes it, and the shares that contain that mean,
lie above it and lie below it are counted. Distributions: positions by a rule (hits at the first place, misses, the
rest thinning out from the second place to the tenth), only zeros and ones, and the real values in results/measured.
The difference of two sides is that of two such values, which agree on a share of the queries or move by a place.

Three intervals are shown. Of one side's mean, loco compare uses BCa; of a difference, the outer one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from loco.compare.sides import find_sides
from loco.score.resampling import UNIT, Floats, bca, millionths, outer, percentile, resampled_sums

SAMPLES = 2_000
AT_ONCE = 500
SEED = 1
POSITIONS = np.append(1 / np.log2(1 + np.arange(1, 11)), 0.0)
RESULTS = Path(__file__).resolve().parents[1] / "results" / "measured"


def positions(first: float, missed: float, thinning: float = 0.6) -> Floats:
    """The probability of each position from 1 to 10, and of none of them."""
    rest = thinning ** np.arange(9)
    return np.concatenate([[first], rest / rest.sum() * (1 - first - missed), [missed]])


def moved(base: Floats, up: float, down: float, lost: float, found: float) -> tuple[Floats, Floats]:
    """Differences and their probabilities: documents move up or down a place or are lost, missed ones come first."""
    last = len(POSITIONS) - 1
    joint = np.diag(base)
    for place in range(last):
        for other, share in ((max(place - 1, 0), up), (place + 1, down), (last, lost)):
            joint[place, other] += base[place] * share
            joint[place, place] -= base[place] * share
    joint[last, 0] += base[last] * found
    joint[last, last] -= base[last] * found
    return np.subtract.outer(POSITIONS, POSITIONS).T.ravel(), joint.ravel()


def singles() -> Iterator[tuple[str, Floats, Floats]]:
    """Name, values and their probabilities."""
    for name, first, missed in (
        ("nearly nothing found", 0.02, 0.95),
        ("little found", 0.05, 0.85),
        ("middling", 0.35, 0.15),
        ("good", 0.70, 0.10),
        ("very good", 0.90, 0.02),
        ("nearly perfect", 0.97, 0.01),
        ("all but perfect", 0.985, 0.005),
    ):
        yield name, POSITIONS, positions(first, missed)
    for ones in (0.02, 0.1, 0.5, 0.9, 0.98):
        yield f"{ones:.0%} ones, else zeros", np.array([1.0, 0.0]), np.array([ones, 1 - ones])
    for side in find_sides([RESULTS], "paper", ["qmsum"]).sides:
        values = np.array(list(side.tasks["qmsum"].measurement.per_query.values()))
        yield f"qmsum (paper): {side.label}", values, np.full(len(values), 1 / len(values))


def pairs() -> Iterator[tuple[str, Floats, Floats]]:
    """Name, differences and their probabilities."""
    for name, one, other, same in (
        ("both middling, unrelated", (0.35, 0.15), (0.40, 0.15), 0.0),
        ("good against middling, half the same", (0.70, 0.10), (0.35, 0.15), 0.5),
        ("two versions of a good model", (0.70, 0.10), (0.72, 0.10), 0.9),
        ("two versions that hardly differ", (0.70, 0.10), (0.75, 0.05), 0.97),
        ("very good against nearly perfect", (0.90, 0.02), (0.97, 0.01), 0.5),
        ("nearly perfect, both", (0.97, 0.01), (0.98, 0.01), 0.5),
        ("nearly nothing found, both", (0.02, 0.95), (0.03, 0.93), 0.5),
    ):
        p, q = positions(*one), positions(*other)
        differ = (1 - same) * np.outer(q, p)
        differ[0, 0] += same  # the same answer on both sides, wherever it stood, is a difference of nothing
        yield name, np.subtract.outer(POSITIONS, POSITIONS).ravel(), differ.ravel()
    good, perfect, poor = positions(0.70, 0.10), positions(0.90, 0.02), positions(0.05, 0.85)
    for name, base, changes in (
        ("good, one in ten up a place, one in ten down", good, (0.1, 0.1, 0.0, 0.0)),
        ("good, one in twenty up a place, one in fifty down", good, (0.05, 0.02, 0.0, 0.0)),
        ("good, a few moved, lost or found", good, (0.02, 0.02, 0.005, 0.05)),
        ("very good, one in thirty lost", perfect, (0.0, 0.0, 0.03, 0.0)),
        ("very good, one in fifty lost, half of the missed found", perfect, (0.0, 0.0, 0.02, 0.5)),
        ("little found, one in thirty more", poor, (0.0, 0.0, 0.0, 0.03)),
    ):
        yield name, *moved(base, *changes)
    sides = find_sides([RESULTS], "paper", ["qmsum"]).sides
    columns = [side.tasks["qmsum"].measurement.per_query for side in sides]
    for side, column in zip(sides[1:], columns[1:], strict=True):
        values = np.array([column[query] - columns[0][query] for query in columns[0]])
        yield f"qmsum (paper): {side.label} - {sides[0].label}", values, np.full(len(values), 1 / len(values))


def coverage(values: Floats, shares: Floats, queries: int, samples: int) -> dict[str, tuple[float, float, float]]:
    """By interval: the share that contains the true mean, that lies above it, and that lies below it."""
    random = np.random.default_rng(SEED)
    shares = shares / shares.sum()
    values = millionths(values)
    truth = float(values @ shares)
    counts = {name: np.zeros(3) for name in ("percentile", "BCa", "outer")}
    for _ in range(0, samples, AT_ONCE):
        drawn = random.choice(values, size=(queries, AT_ONCE), p=shares)
        # The samples share the draws, as the columns of one task do: each is still resampled as it would be alone.
        resampled = resampled_sums(drawn, random) / queries
        mean = drawn.sum(axis=0) / queries
        ends = (percentile(resampled), bca(resampled, mean, drawn - mean), outer(resampled, mean))
        for name, (low, high) in zip(counts, ends, strict=True):
            above, below = low > truth + 1e-6, high < truth - 1e-6
            counts[name] += np.array([np.sum(~above & ~below), above.sum(), below.sum()])
    return {name: tuple(count / (-(-samples // AT_ONCE) * AT_ONCE)) for name, count in counts.items()}


def main() -> None:
    """Print a line for each distribution."""
    options = argparse.ArgumentParser(description="How often a 95 % interval contains the truth.")
    options.add_argument("--queries", type=int, default=300)
    options.add_argument("--samples", type=int, default=SAMPLES)
    chosen = options.parse_args()
    noise = 1.96 * (0.95 * 0.05 / chosen.samples) ** 0.5
    print(
        f"{chosen.queries} queries, {chosen.samples:,} samples each (+- {noise:.1%}): inside (above, below the truth)"
    )
    print(f"{'':76} {'mean':>7}  {'percentile':24} {'BCa':24} outer")
    for title, distributions in (("one side's mean", singles()), ("difference of two sides", pairs())):
        print(title)
        for name, values, shares in distributions:
            found = coverage(values, shares, chosen.queries, chosen.samples)
            cells = [f"{inside:6.1%} ({above:5.1%}, {below:5.1%}) " for inside, above, below in found.values()]
            mean = float(np.round(values * UNIT) @ shares) / UNIT
            print(f"  {name:74} {mean:7.4f}  {' '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
