"""What a result says of the lengths of the relevant documents."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TypeVar

from loco.errors import LocoError
from loco.rank.ranking import Coverage, TextCoverage
from loco.results import Bucket, Buckets, CutDocument
from loco.score.buckets import (
    CUT_BUCKETS,
    LENGTH_BUCKETS,
    BucketMean,
    bucket_means,
    cut_bucket,
    length_bucket,
    longest,
)
from loco.tasks.data import TaskData
from loco.tokens import reference
from loco.tokens.lengths import relevant_documents

_Name = TypeVar("_Name", bound=str)


def buckets_of(
    task: TaskData, values: Mapping[str, float], lengths: Mapping[str, int], coverage: Coverage | None
) -> Buckets:
    """A measure by the length of each query's relevant document, and by how much of it the model never saw.

    ``values`` are the measure by query, ``lengths`` the reference tokens of every relevant document.

    Raises LocoError for a coverage that cannot be true.
    """
    decisive = {query: longest(relevant, lengths) for query, relevant in relevant_documents(task).items()}
    by_length = {query: length_bucket(lengths[document]) for query, document in decisive.items()}
    seen = None if coverage is None else _seen(task, coverage.documents, lengths)
    by_cut = {} if seen is None else {query: cut_bucket(*seen[document]) for query, document in decisive.items()}
    return Buckets(
        tokenizer=reference.NAME,
        by_length=_records(bucket_means(values, by_length, LENGTH_BUCKETS)),
        by_cut=None if seen is None else _records(bucket_means(values, by_cut, CUT_BUCKETS)),
        cut={
            document: CutDocument(tokens=tokens, tokens_seen=tokens_seen)
            for document, (tokens, tokens_seen) in (seen or {}).items()
            if tokens_seen < tokens
        },
    )


def _seen(task: TaskData, coverage: TextCoverage, wanted: Container[str]) -> dict[str, tuple[int, int]] | None:
    """The tokens of some documents and those of them that were seen; None where nobody can tell."""
    counts = coverage.by_text
    if counts is None and coverage.texts_cut:
        return None
    if counts is None:
        counts = [(0, 0)] * len(task.documents)
    if len(counts) != len(task.documents) or any(not 0 <= seen <= tokens for tokens, seen in counts):
        raise LocoError(
            f"What the model says of the documents of task '{task.card.name}' that it has seen cannot be true. The "
            "adapter has a bug."
        )
    return {name: own for name, own in zip(task.documents.ids, counts, strict=True) if name in wanted}


def _records(means: Mapping[_Name, BucketMean]) -> dict[_Name, Bucket]:
    return {
        name: Bucket(
            value=round(one.mean, 6),
            low=None if one.low is None else round(one.low, 6),
            high=None if one.high is None else round(one.high, 6),
            queries=one.queries,
        )
        for name, one in means.items()
    }
