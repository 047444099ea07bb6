"""Drawing queries again and again: what a mean over queries could have been.

Values are whole numbers of millionths (:func:`millionths`): their sums are exact, so that what ties with the observed
value is seen to tie. Columns share their draws: the difference of two columns of draws is a paired one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
UNIT = 1_000_000
_CELLS_AT_ONCE = 4_000_000


def millionths(values: npt.ArrayLike) -> Floats:
    """Values between 0 and 1 in whole millionths, the precision of a result file, as float64: sums stay exact."""
    return np.rint(np.asarray(values, dtype=np.float64) * UNIT)


def resampled_sums(values: Floats, random: np.random.Generator) -> Floats:
    """Sums of the columns over as many queries as there are, drawn with replacement.

    ``values``: shape (queries, columns). Returns shape (RESAMPLES, columns).
    """
    queries = len(values)
    sums = np.empty((RESAMPLES, values.shape[1]))
    block = max(1, _CELLS_AT_ONCE // queries)
    for start in range(0, RESAMPLES, block):
        stop = min(start + block, RESAMPLES)
        drawn = random.integers(0, queries, size=(stop - start, queries))
        # How often each query was drawn, times the values: one product instead of gathering every column.
        offsets = np.arange(stop - start)[:, None] * queries
        times = np.bincount((drawn + offsets).ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums[start:stop] = times.astype(np.float64) @ values
    return sums


def flipped_sums(values: Floats, flips: int, random: np.random.Generator) -> Floats:
    """Sums of the columns, each query's sign drawn anew, the same for all columns.

    ``values``: shape (queries, columns). Returns shape (flips, columns).
    """
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums = np.zeros((flips, values.shape[1]))
    for start in range(0, len(values), 8):
        # Eight queries have 256 patterns of signs: what each adds up to is worked out once, and then looked up.
        eight = values[start : start + 8]
        sums += (signs[:, : len(eight)] @ eight)[random.integers(0, 256, size=flips, dtype=np.uint8)]
    return sums


def percentile(resampled: Floats) -> tuple[Floats, Floats]:
    """The percentile interval (Efron and Tibshirani 1993, chapter 13).

    ``resampled``: the statistic of each resample, shape (resamples, columns). Returns its lower and upper ends, each of
    shape (columns,).
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return low, high


def outer(resampled: Floats, observed: Floats) -> tuple[Floats, Floats]:
    """The interval for a difference: the percentile interval, or its mirror image where that reaches further.

    The mirror image is the basic bootstrap interval (Davison and Hinkley 1997, section 5.2.1). Where few queries
    differ, the first is too short if they differ in both directions, the second if they differ in one. Shapes are
    those of :func:`bca`.
    """
    low, high = percentile(resampled)
    return np.minimum(low, 2 * observed - high), np.maximum(high, 2 * observed - low)


def bca(resampled: Floats, observed: Floats, influence: Floats) -> tuple[Floats, Floats]:
    """The bias-corrected and accelerated interval (Efron 1987; Efron and Tibshirani 1993, chapter 14): for one mean.

    ``resampled``: the statistic of each resample, shape (resamples, columns); ``observed``: the statistic itself, shape
    (columns,); ``influence``: how far each query moves it, shape (queries, columns): for a mean, the query's distance
    from it. Only the proportions of the influences to each other count. Returns the lower and upper ends, each of shape
    (columns,). Where every resample says the same, that is both ends.
    """
    from scipy.special import ndtr, ndtri

    below, upto = (resampled < observed).mean(axis=0), (resampled <= observed).mean(axis=0)
    spread = np.square(influence).sum(axis=0) ** 1.5
    lopsided = (influence**3).sum(axis=0)
    acceleration = np.divide(lopsided, 6 * spread, out=np.zeros_like(spread), where=spread > 0)
    middle = (below + upto) / 2
    inside = (middle > 0) & (middle < 1)
    bias = ndtri(np.where(inside, middle, 0.5))
    ordered = np.sort(resampled, axis=0)
    ends = []
    for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        shifted = bias + ndtri(tail)
        stretch = 1 - acceleration * shifted
        usable = inside & (stretch > 0)
        share = np.where(usable, ndtr(bias + shifted / np.where(usable, stretch, 1)), tail)
        place = share * (len(resampled) - 1)
        under = np.floor(place).astype(np.intp)
        over = np.minimum(under + 1, len(resampled) - 1)
        columns = np.arange(resampled.shape[1])
        first, second = ordered[under, columns], ordered[over, columns]
        ends.append(first + (second - first) * (place - under))
    return np.minimum(ends[0], observed), np.maximum(ends[1], observed)
