"""What a task's train split shares with its test split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from loco.tasks.audit.record import TrainOverlap
from loco.tasks.audit.words import normalised
from loco.tasks.data import SPLITS, Manifest, TaskData, Variant, check_file, read_manifest

_ROWS_AT_ONCE = 64


def overlap(task: TaskData, train: TaskData) -> TrainOverlap:
    """The texts of a task that stand in its train split too, in the same role, white space aside."""
    return TrainOverlap(
        queries=_shared(task.queries, train.queries), documents=_shared(task.documents, train.documents)
    )


def built_overlap(data: Path, variant: Variant, task: str) -> TrainOverlap | None:
    """The same for a task built in both splits, read row by row; None where one of them is not built.

    Raises LocoError for a damaged file.
    """
    test, train = (read_manifest(data, variant, task, split) for split in SPLITS)
    if test is None or train is None:
        return None
    return TrainOverlap(
        queries=_shared(*(_built(data, manifest, "queries.parquet") for manifest in (test, train))),
        documents=_shared(*(_built(data, manifest, "documents.parquet") for manifest in (test, train))),
    )


def digest(text: str) -> bytes:
    """What equal texts have in common, white space aside."""
    return hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _shared(texts: Iterable[tuple[str, str]], others: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    known = {digest(text) for _, text in others}
    return tuple(identifier for identifier, text in texts if digest(text) in known)


def _built(data: Path, manifest: Manifest, name: str) -> Iterable[tuple[str, str]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(check_file(data, manifest, name), pre_buffer=False, buffer_size=1 << 20) as parquet:
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=["id", "text"]):
            yield from zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True)
