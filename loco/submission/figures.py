"""Figures that no measurement can give, found without the data or the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import numpy as np

from loco.results import Measurement, NeedleResult, Result, SpeedResult
from loco.results.files import Record
from loco.score import bootstrap
from loco.score.metrics import DEPTH, PRIMARY
from loco.score.resampling import UNIT, Floats, millionths, percentile, resampled_sums
from loco.submission.findings import Finding

_ROUNDING = 2e-6  # two figures of six decimals
_RESAMPLING = 0.005  # what other random numbers do to the end of an interval, and more; few queries make steps
_CLOCKS = timedelta(days=1)

# For a task with one relevant document a query, each of these is at most the next.
_RISING = (
    ("ndcg@1", "ndcg@3", "ndcg@5", "ndcg@10", "ndcg@100", "recall@100"),
    ("ndcg@1", "mrr@10", "ndcg@10", "recall@10", "recall@100"),
    ("mrr@10", "map@100", "ndcg@100"),
)


def check_times(record: Record) -> Iterator[Finding]:
    """A time that took none, or has not come yet."""
    measured = record.measurement if isinstance(record, Result) else record
    if measured is None:
        return
    if measured.finished_at > datetime.now(timezone.utc) + _CLOCKS:
        yield Finding("error", "figures", f"was measured on {measured.finished_at:%Y-%m-%d}, which has not come yet")
    if isinstance(measured, Measurement | NeedleResult):
        if measured.seconds == 0:
            yield Finding("error", "figures", "took 0 seconds: submit the result as loco wrote it")
        longer = [name for name, cost in measured.phases.items() if cost.seconds > measured.seconds + 0.01]
        if longer:
            yield Finding(
                "error", "figures", f"phase {longer[0]!r:.60} took longer than the whole of {measured.seconds} seconds"
            )
    if isinstance(measured, SpeedResult) and any(row.problem for row in measured.rows):
        yield Finding("note", "figures", "has lengths without figures, with what stood in the way")


def check_figures(result: Result, measurement: Measurement) -> Iterator[Finding]:
    """Scores, counts and intervals that do not go together."""
    counts = measurement.data.counts
    if measurement.depth != DEPTH:
        yield Finding("error", "figures", f"ranks {measurement.depth} documents a query, and not {DEPTH}")
    for role, coverage, there in (
        ("queries", measurement.queries, counts.queries),
        ("documents", measurement.documents, counts.documents),
    ):
        if coverage is not None and coverage.texts != there:
            yield Finding(
                "error", "figures", f"has {there:,} {role} by its data and {coverage.texts:,} by what was seen"
            )
    if counts.relevant < counts.queries:
        yield Finding("error", "figures", f"has {counts.relevant:,} relevant documents for {counts.queries:,} queries")
    single = counts.relevant == counts.queries  # every query has at least one
    values = {name: metric.value for name, metric in result.metrics.items()}
    for names in _RISING if single else (("recall@10", "recall@100"),):
        for less, more in pairwise(names):
            if values[less] > values[more] + _ROUNDING:
                yield Finding(
                    "error", "figures", f"{less} is {values[less]} and {more} only {values[more]}, which cannot be"
                )
    if single:
        possible = {0.0, *(round(1 / math.log2(1 + rank), 6) for rank in range(1, 11))}
        odd = [
            (query, value)
            for query, value in measurement.per_query.items()
            if min(abs(value - one) for one in possible) > _ROUNDING
        ]
        if odd:
            query, value = odd[0]
            yield Finding(
                "error",
                "figures",
                f"{len(odd):,} queries have an {PRIMARY} that no rank of one relevant document gives, among them "
                f"{query!r:.60} with {value}",
            )
    yield from _check_interval(result, measurement)


def _check_interval(result: Result, measurement: Measurement) -> Iterator[Finding]:
    how = measurement.bootstrap
    if (how.confidence, how.resamples) != (bootstrap.CONFIDENCE, bootstrap.RESAMPLES):
        yield Finding(
            "error",
            "figures",
            f"has intervals of {how.confidence:.0%} from {how.resamples:,} resamples, and not of "
            f"{bootstrap.CONFIDENCE:.0%} from {bootstrap.RESAMPLES:,}, as all others have",
        )
        return
    metric = result.metrics[PRIMARY]
    values = np.array(list(measurement.per_query.values()))[:, None]
    low, high = bootstrap.intervals(values) if how.method == bootstrap.METHOD else _percentiles(values)
    stated, right = (metric.low or 0.0, metric.high or 0.0), (low.item(), high.item())
    least = _RESAMPLING + float(np.ptp(values)) / len(values) / 4
    if any(abs(one - other) > least for one, other in zip(stated, right, strict=True)):
        yield Finding(
            "error",
            "figures",
            f"the interval of {PRIMARY} is {stated[0]:.4f} to {stated[1]:.4f}, but {right[0]:.4f} to {right[1]:.4f} by "
            "the per-query values",
        )


def _percentiles(values: Floats) -> tuple[Floats, Floats]:
    """The intervals of older files, of the column means of ``values``, shape (queries, columns)."""
    sums = resampled_sums(millionths(values), np.random.default_rng(bootstrap.SEED))
    low, high = percentile(sums / len(values))
    return low / UNIT, high / UNIT
