"""Never a test row: what is trained on, held against everything that is tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.tasks.audit.overlap import digest
from loco.tasks.data import VARIANTS, TaskData, built_tasks, not_built, read_task


@dataclass(frozen=True)
class Leaks:
    """What train splits share with test splits, by text, white space aside.

    ``queries``: (train task, query id) of each query that is tested too; ``told`` says of the first where.
    ``documents`` counts distinct texts of train documents that stand in a test pool.
    """

    queries: frozenset[tuple[str, str]]
    told: str
    documents: int


def leaks(trains: Sequence[TaskData], data: Path) -> Leaks:
    """What train splits share with the test splits of every task built, of whatever variant.

    Raises LocoError where a task's own test split is not built, so that nothing could be found, or is damaged.
    """
    queries: dict[bytes, list[tuple[str, str]]] = {}
    for train in trains:
        for identifier, text in train.queries:
            queries.setdefault(digest(text), []).append((train.card.name, identifier))
    documents = {digest(text) for train in trains for text in train.documents.texts}
    shared: set[tuple[str, str]] = set()
    seen: set[bytes] = set()
    told = ""
    for test in _tests(trains, data):
        for identifier, text in test.queries:
            same = queries.get(digest(text), [])
            if same and not told:
                task, mine = same[0]
                told = f"query '{mine}' of {task}.train is query '{identifier}' of {test.card.name}"
                told += "" if test.variant in {train.variant for train in trains} else f" ({test.variant})"
            shared.update(same)
        seen |= documents.intersection(map(digest, test.documents.texts))
    return Leaks(frozenset(shared), told, len(seen))


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
