"""A measure by how long the relevant document is, and by how much of it the model never saw (arXiv 2402.07440, A.14).

A query with several relevant documents counts by the longest of them, in reference tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from loco.score import bootstrap

LengthBucket = Literal["under 2k", "2k to 8k", "8k to 32k", "32k and over"]
CutBucket = Literal["none", "up to 50 %", "50 to 90 %", "over 90 %"]
LENGTH_BUCKETS: tuple[LengthBucket, ...] = get_args(LengthBucket)
CUT_BUCKETS: tuple[CutBucket, ...] = get_args(CutBucket)

_LENGTHS = (2_048, 8_192, 32_768)  # reference tokens: the windows of the models that LoCoV1 compares

_Name = TypeVar("_Name", bound=str)


@dataclass(frozen=True)
class BucketMean:
    """The mean over the ``queries`` of a bucket, and the ends of its interval; one query alone has no interval."""

    queries: int
    mean: float
    low: float | None
    high: float | None


def length_bucket(tokens: int) -> LengthBucket:
    """Where a document of so many reference tokens belongs: 2,048 begin "2k to 8k", 32,768 "32k and over"."""
    return LENGTH_BUCKETS[sum(tokens >= bound for bound in _LENGTHS)]


def cut_bucket(tokens: int, seen: int) -> CutBucket:
    """Where a document belongs of whose ``tokens``, the model's own, the first ``seen`` were read.

    Exactly half of the tokens cut is "up to 50 %", exactly nine tenths "50 to 90 %". Nothing is cut of an empty one.
    """
    cut = tokens - seen
    return CUT_BUCKETS[(cut > 0) + (2 * cut > tokens) + (10 * cut > 9 * tokens)]


def longest(documents: Sequence[str], lengths: Mapping[str, int]) -> str:
    """Which of a query's relevant documents it counts by: the longest, the greatest id among equally long ones."""
    return max(documents, key=lambda document: (lengths[document], document))


def bucket_means(
    values: Mapping[str, float], buckets: Mapping[str, _Name], names: Sequence[_Name]
) -> dict[_Name, BucketMean]:
    """The mean of each bucket that has a query, in the order of ``names``, with intervals as for all queries together.

    ``values`` and ``buckets`` are a measure and the name of a bucket, by query.
    """
    found: dict[_Name, BucketMean] = {}
    for name in names:
        own = [value for query, value in values.items() if buckets[query] == name]
        if own:
            low, high = bootstrap.intervals(np.array(own)[:, np.newaxis])
            several = len(own) > 1
            found[name] = BucketMean(
                len(own),
                math.fsum(own) / len(own),
                float(low[0]) if several else None,
                float(high[0]) if several else None,
            )
    return found
