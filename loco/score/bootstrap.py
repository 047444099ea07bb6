"""Confidence intervals of means over queries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20240212
_CELLS_AT_ONCE = 4_000_000


def intervals(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Percentile bootstrap of the column means (Efron and Tibshirani 1993, chapter 13).

    ``values``: shape (queries, measures). Queries are drawn with replacement, the same draw for all measures. Returns
    the lower and upper ends, each of shape (measures,). The seed is fixed: equal values give equal intervals.
    """
    queries, measures = values.shape
    random = np.random.default_rng(SEED)
    means = np.empty((RESAMPLES, measures))
    block = max(1, _CELLS_AT_ONCE // queries)
    for start in range(0, RESAMPLES, block):
        stop = min(start + block, RESAMPLES)
        drawn = random.integers(0, queries, size=(stop - start, queries))
        # How often each query was drawn, times the values: one product instead of gathering every measure.
        offsets = np.arange(stop - start)[:, None] * queries
        times = np.bincount((drawn + offsets).ravel(), minlength=drawn.size).reshape(drawn.shape)
        means[start:stop] = times @ values / queries
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high
