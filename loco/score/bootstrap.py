"""Confidence intervals of means over queries."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from loco.score.resampling import CONFIDENCE, RESAMPLES, UNIT, bca, millionths, resampled_sums

__all__ = ["CONFIDENCE", "METHOD", "RESAMPLES", "SEED", "intervals"]

METHOD: Literal["BCa"] = "BCa"
SEED = 20240212


def intervals(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bias-corrected and accelerated bootstrap of the column means (:func:`loco.score.resampling.bca`).

    ``values``: shape (queries, measures). Queries are drawn with replacement, the same draw for all measures. Returns
    the lower and upper ends, each of shape (measures,). The seed is fixed: equal values give equal intervals. Where
    nearly every query has the same value, the percentile interval misses the truth twice as often as it should
    (benchmarks/coverage.py).
    """
    queries, exact = len(values), millionths(values)
    means = exact.sum(axis=0) / queries
    low, high = bca(resampled_sums(exact, np.random.default_rng(SEED)) / queries, means, exact - means)
    return low / UNIT, high / UNIT
