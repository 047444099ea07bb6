"""All twelve tasks from the official release: LoCoV1-Queries and LoCoV1-Documents, one JSON Lines file a task in each.

Some QASPER passages of the release are null. They are left out, with the judgements that name them and the queries
that are left without a relevant document, and the manifest counts all three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from loco.errors import LocoError
from loco.tasks.card import TaskCard, task_cards
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant
from loco.tasks.sources.files import SourceFile, checksums, local_file
from loco.tasks.sources.hub import hub_file
from loco.tasks.sources.jsonl import Row, at, read_rows, short

NAME = "release"
VERSION = 1

_OWNER = "hazyresearch"
_QUERIES = "LoCoV1-Queries"
_DOCUMENTS = "LoCoV1-Documents"


class _ReleaseRow(Row):
    dataset: str


class _Query(_ReleaseRow):
    qid: str
    query: str
    answer_pids: list[str]


class _Document(_ReleaseRow):
    pid: str
    passage: str | None


_ReleaseRowT = TypeVar("_ReleaseRowT", bound=_ReleaseRow)


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The tasks this builder can make in a variant and split."""
    return tuple(task_cards()) if variant == "release" and split == "test" else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people."""
    return (
        f"{_QUERIES}/{_name(task)} and {_DOCUMENTS}/{_name(task)} (official release, "
        f"hub datasets {_OWNER}/{_QUERIES} and {_OWNER}/{_DOCUMENTS})"
    )


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` holds at least one of the task's two files."""
    return any(_found(repo, task, source) for repo in (_QUERIES, _DOCUMENTS))


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from the folder ``source``, for which :func:`holds` is true, or from the hub."""
    query_file, document_file = (_file(repo, card.name, source) for repo in (_QUERIES, _DOCUMENTS))
    notes: Counter[str] = Counter()
    query_rows = _rows(query_file, _Query, "qid", card.name, notes)
    document_rows = _rows(document_file, _Document, "pid", card.name, notes)

    passages = {row.pid: row.passage for _, row in document_rows}
    if empty := sum(passage is None for passage in passages.values()):
        notes["null passages"] = empty
    queries, qrels = [], {}
    for number, row in query_rows:
        relevant = _relevant(row, passages, at(query_file, number), document_file, notes)
        if relevant:
            queries.append((row.qid, row.query))
            qrels[row.qid] = relevant
        else:
            notes["queries left without a relevant document"] += 1
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=f"{query_file.label}, {document_file.label}",
        source_revision=f"{query_file.revision}, {document_file.revision}",
        source_sha256=checksums(query_file, document_file),
        dropped=dict(notes),
    )
    documents = ((pid, passage) for pid, passage in passages.items() if passage is not None)
    return TaskData(
        card, variant, provenance, Texts.of(queries, "query"), Texts.of(documents, "document"), qrels, split
    )


def _rows(
    file: SourceFile, kind: type[_ReleaseRowT], key: str, task: str, notes: Counter[str]
) -> list[tuple[int, _ReleaseRowT]]:
    rows = read_rows(file, kind, (key,), notes)
    for number, row in rows:
        if row.dataset != task:
            raise LocoError(f"{at(file, number)}: belongs to {short(row.dataset)}, not to '{task}'. {file.remedy}")
    return rows


def _relevant(
    row: _Query, passages: dict[str, str | None], where: str, document_file: SourceFile, notes: Counter[str]
) -> dict[str, int]:
    """The query's relevant documents that have a text."""
    if not row.answer_pids:
        raise LocoError(f"{where}: the query {short(row.qid)} names no document in 'answer_pids'.")
    relevant = {}
    for pid in dict.fromkeys(row.answer_pids):
        if pid not in passages:
            raise LocoError(
                f"{where}: the query {short(row.qid)} names the document {short(pid)}, "
                f"which is not in {document_file}. Do both files come from the same release?"
            )
        if passages[pid] is None:
            notes["judgements of null passages"] += 1
        else:
            relevant[pid] = 1
    return relevant


def _name(task: str) -> str:
    return f"documents/{task}_test.jsonl"  # so called in both datasets


def _file(repo: str, task: str, source: Path | None) -> SourceFile:
    if source is None:
        return hub_file(f"{_OWNER}/{repo}", _name(task))
    path = _found(repo, task, source)
    if path is None:
        raise LocoError(f"{source} holds no {repo}/{_name(task)}. Wanted there: {wanted(task, 'test')}.")
    return local_file(path, f"{repo}/{_name(task)}")


def _found(repo: str, task: str, source: Path) -> Path | None:
    """The file in a plain copy of the dataset, or in the newest snapshot of a download cache."""
    plain = source / repo / _name(task)
    if plain.is_file():
        return plain
    snapshots = source / f"datasets--{_OWNER}--{repo}" / "snapshots"
    cached = [path for path in snapshots.glob(f"*/{_name(task)}") if path.is_file()]
    return max(cached, key=lambda path: (path.lstat().st_mtime_ns, path.parts), default=None)
