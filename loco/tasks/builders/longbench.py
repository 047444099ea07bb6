"""multifieldqa, 2wikimqa and passage_retrieval from LongBench-E, its splits drawn as the paper drew them.

Documented: the file of each task, a row's fields, ``data.zip`` with the files in its folder ``data/`` as the hub ships
them, and the split by scikit-learn (:func:`drawn`). One row is one query (``input``) and one document (``context``),
both under its ``_id``. A context that several rows share stands in the pool once for each of them, as the paper's
counts say, and only a query's own copy is relevant to it: near-duplicates and texts on both sides of the split are part
of the original. The hub shows ``THUDM/LongBench`` under its owner's new name, ``zai-org/LongBench``, as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from loco.errors import LocoError
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant
from loco.tasks.sources.files import SourceFile, checksums, local_file
from loco.tasks.sources.hub import hub_file
from loco.tasks.sources.jsonl import Row, read_rows

NAME = "longbench"
VERSION = 1

_REPO = "THUDM/LongBench"
_ARCHIVE = "data.zip"
_FILES = {
    "multifieldqa": "multifieldqa_en_e.jsonl",
    "2wikimqa": "2wikimqa_e.jsonl",
    "passage_retrieval": "passage_retrieval_en_e.jsonl",
}
_TEST_SHARE = 0.2
_SEED = 42


class _LongBenchRow(Row):
    id: str = Field(alias="_id")
    input: str
    context: str


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The tasks this builder can make in a variant, for either split."""
    return tuple(_FILES) if variant == "paper" else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people; both splits are drawn from the same one."""
    return f"{_FILES[task]}, data/{_FILES[task]} or {_ARCHIVE} (LongBench, hub dataset {_REPO})"


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` is, or holds, LongBench's file of the task."""
    return _found(task, source) is not None


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from ``source``, for which :func:`holds` is true, or from the hub; in the order of the split.

    Raises LocoError for a file that is damaged or missing.
    """
    file = _file(card.name, source)
    notes: Counter[str] = Counter()
    rows = [row for _, row in read_rows(file, _LongBenchRow, ("id",), notes)]
    chosen = [rows[index] for index in drawn(len(rows), split)]
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=file.label,
        source_revision=file.revision,
        source_sha256=checksums(file),
        equivalent=_equivalent(card, len(rows)),
        dropped=dict(notes),
    )
    return TaskData(
        card=card,
        variant=variant,
        provenance=provenance,
        queries=Texts.of(((row.id, row.input) for row in chosen), "query"),
        documents=Texts.of(((row.id, row.context) for row in chosen), "document"),
        qrels={row.id: {row.id: 1} for row in chosen},
        split=split,
    )


def drawn(rows: int, split: Split) -> list[int]:
    """The numbers, from 0, of the rows in a split, in its order.

    What ``train_test_split(frame, test_size=0.2, random_state=42)`` of scikit-learn picks. It shuffles by one
    ``RandomState(42).permutation(rows)``, takes the first ceil(0.2 * rows) for test and all others, in the order of
    the permutation, for train. NumPy keeps the stream of RandomState as it is for ever (NEP 19).
    """
    import numpy as np

    order: list[int] = np.random.RandomState(_SEED).permutation(rows).tolist()
    tests = math.ceil(_TEST_SHARE * rows)
    return order[:tests] if split == "test" else order[tests:]


def _equivalent(card: TaskCard, rows: int) -> str:
    """Why the rows are not the paper's: which ones are drawn depends on how many there are."""
    if card.table10 is None:
        return ""
    expected = card.table10.train_queries + card.table10.test_queries
    if rows == expected:
        return ""
    return f"the source holds {rows} rows where the paper's held {expected}, so the split drawn from them is another"


def _member(task: str) -> str:
    return f"data/{_FILES[task]}"


def _file(task: str, source: Path | None) -> SourceFile:
    if source is None:
        return hub_file(_REPO, _ARCHIVE, _member(task))
    path = _found(task, source)
    if path is None:
        raise LocoError(f"{source} holds no {wanted(task, 'test')}.")
    if path.suffix == ".zip":
        return local_file(path, _ARCHIVE, _member(task))
    return local_file(path, _FILES[task])


def _found(task: str, source: Path) -> Path | None:
    if source.is_file():
        # LongBench has a file without "_e" for each of these, with other rows: only the exact name will do.
        return source if source.suffix == ".zip" or source.name == _FILES[task] else None
    places = (source / _FILES[task], source / _member(task), source / _ARCHIVE)
    return next((place for place in places if place.is_file()), None)
