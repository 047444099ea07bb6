"""What built tasks say of themselves: lengths, audit, an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loco.errors import LocoError
from loco.progress import tracked
from loco.tasks.audit import Audit, Finding, audit, built_overlap, findings, read_audit
from loco.tasks.data import VARIANTS, Manifest, built_tasks, check_file, read_task
from loco.tasks.lengths import read_lengths

from .figures import Figure
from .texts import visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXCERPT = 400  # characters of a text
_ROWS_AT_ONCE = 64
_QUICK = 2_000_000  # characters of documents that are audited on the spot, in about a second


@dataclass(frozen=True)
class Example:
    """A query and a document that is relevant to it, their beginnings; ``*_more`` are the characters left out."""

    query: str
    query_id: str
    query_more: int
    document: str
    document_id: str
    document_more: int


@dataclass(frozen=True)
class Audited:
    """What an audit found. ``duplicates`` is how many documents are near another, of all."""

    ceiling: Figure
    exact: Figure
    capped: str
    duplicates: str
    lexical: Figure
    lexical_model: str
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Built:
    """A task that is built here. ``problem`` says what could not be read of it, ``unshown`` why no example is shown."""

    label: str
    manifest: Manifest
    lengths: NDArray[np.int64] | None
    audited: Audited | None
    audit_command: str
    example: Example | None
    unshown: str
    problem: str


@dataclass(frozen=True)
class Folder:
    """What is built in a folder: by task, its variants. ``problems`` are of tasks that nothing can be said about."""

    tasks: Mapping[str, Sequence[Built]]
    problems: Sequence[str]


def built(data: Path | None) -> Folder:
    """What is built in a folder; nothing without one. A damaged task is told, and the others are shown."""
    found: dict[str, list[Built]] = {}
    problems: list[str] = []
    if data is None:
        return Folder(found, problems)
    for variant in VARIANTS:
        manifests, damaged = built_tasks(data, variant)
        problems += [_said(error, data) for error in damaged]
        for manifest in tracked(manifests, f"Reading tasks, {variant}"):
            found.setdefault(manifest.task, []).append(_built(data, manifest))
    return Folder(found, problems)


def _built(data: Path, manifest: Manifest) -> Built:
    label = manifest.variant + (" (equivalent)" if manifest.provenance.equivalent else "")
    command = f"loco audit {manifest.task} --variant {manifest.variant} --data FOLDER"
    try:
        for name in ("queries.parquet", "documents.parquet", "qrels.tsv"):
            check_file(data, manifest, name)
        lengths = next(read_lengths(data, [manifest])).lengths
        unshown = _unshown(manifest)
        return Built(
            label=label,
            manifest=manifest,
            lengths=lengths,
            audited=_audited(data, manifest),
            audit_command=command,
            example=None if unshown else _example(data, manifest),
            unshown=unshown,
            problem="",
        )
    except LocoError as error:
        return Built(label, manifest, None, None, command, None, "", _said(error, data))


def _said(error: LocoError, data: Path) -> str:
    """An error without the folders of this machine."""
    return visible(str(error).replace(f"{data}/", ""))


def _audited(data: Path, manifest: Manifest) -> Audited | None:
    """From the audit that stands beside the task, or a fresh one where that takes no time."""
    name, variant, counts = manifest.task, manifest.variant, manifest.counts
    found = read_audit(data, variant, name)
    if found is None:
        if counts.documents * counts.mean_document_chars > _QUICK:
            return None
        found = audit(read_task(data, variant, name), built_overlap(data, variant, name))
    return _told(found)


def _told(found: Audit) -> Audited:
    near = sum(map(len, found.duplicate_documents.near))
    return Audited(
        ceiling=Figure.of(found.ceiling.near_duplicates),
        exact=Figure.of(found.ceiling.exact_duplicates),
        capped=f"{found.ceiling.queries_below_one:,} of {found.queries:,}",
        duplicates=f"{near:,} of {found.documents:,}",
        lexical=Figure.of(found.lexical.ndcg_at_10),
        lexical_model=visible(found.lexical.model),
        findings=[Finding(finding.level, visible(finding.text)) for finding in findings(found)],
    )


def _example(data: Path, manifest: Manifest) -> Example:
    """The first judgement that calls a document relevant. The files are known to be what the manifest says."""
    lines = check_file(data, manifest, "qrels.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    query, document, _ = next(row for line in lines if int((row := line.split("\t"))[2]) > 0)
    question, text = _text(data, manifest, "queries", query), _text(data, manifest, "documents", document)
    return Example(
        query=visible(question[:EXCERPT]),
        query_id=visible(query, 100),
        query_more=max(len(question) - EXCERPT, 0),
        document=visible(text[:EXCERPT]),
        document_id=visible(document, 100),
        document_more=max(len(text) - EXCERPT, 0),
    )


def _text(data: Path, manifest: Manifest, kind: str, wanted: str) -> str:
    """One text, without reading those behind it."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(check_file(data, manifest, f"{kind}.parquet"), pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", "text"]):
            ids = batch["id"].to_pylist()
            if wanted in ids:
                return str(batch["text"][ids.index(wanted)])
    raise LocoError(f"Task '{manifest.task}' ({manifest.variant}) has no {kind} called '{wanted}'.")


def _unshown(manifest: Manifest) -> str:
    """Why no text of a task is shown. The texts of mini are made up, whatever the licence of the task they resemble."""
    if manifest.variant != "mini" and "redistribut" in manifest.card.licence:
        return f"The licence of these texts ({visible(manifest.card.licence)}) does not let this page show any."
    return ""
