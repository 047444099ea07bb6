"""Never a test row: what is trained on, held against everything that is tested."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.tasks.audit.overlap import digest
from loco.tasks.data import VARIANTS, TaskData, built_tasks, not_built, read_task


@dataclass(frozen=True)
class Leaks:
    """What train splits share with test splits, by text; white space, case and how letters are encoded aside.

    ``queries``: (number of the train split, query id) of each query that is tested too; ``told`` says of the first
    where.
    ``documents`` counts distinct texts of train documents that stand in a test pool.
    """

    queries: frozenset[tuple[int, str]]
    told: str
    documents: int


def leaks(trains: Sequence[TaskData], data: Path) -> Leaks:
    """What train splits share with the test splits of every task built, of whatever variant.

    Raises LocoError where a task's own test split is not built, so that nothing could be found, or is damaged.
    """
    queries: dict[bytes, list[tuple[int, str]]] = {}
    for number, train in enumerate(trains):
        for identifier, text in train.queries:
            queries.setdefault(_same(text), []).append((number, identifier))
    documents = {_same(text) for train in trains for text in train.documents.texts}
    shared: set[tuple[int, str]] = set()
    seen: set[bytes] = set()
    told = ""
    for test in _tests(trains, data):
        for identifier, text in test.queries:
            same = queries.get(_same(text), [])
            if same and not told:
                number, mine = same[0]
                told = f"query '{mine}' of {trains[number].card.name}.train is query '{identifier}' of {test.card.name}"
                told += "" if test.variant in {train.variant for train in trains} else f" ({test.variant})"
            shared.update(same)
        seen |= documents.intersection(map(_same, test.documents.texts))
    return Leaks(frozenset(shared), told, len(seen))


def _same(text: str) -> bytes:
    """What texts have in common that most models read as one."""
    return digest(unicodedata.normalize("NFKC", text).casefold())


def _tests(trains: Sequence[TaskData], data: Path) -> Iterable[TaskData]:
    for variant in VARIANTS:  # those of others too: paper and release have rows in common, and tasks are imported
        manifests, damaged = built_tasks(data, variant)
        if damaged:
            raise damaged[0]
        built = [manifest.task for manifest in manifests]
        for train in trains:
            if train.variant == variant and train.card.name not in built:
                raise LocoError(
                    f"Nobody can tell whether test rows are trained on: {not_built(data, variant, train.card.name)}"
                )
        for name in built:
            yield read_task(data, variant, name)
