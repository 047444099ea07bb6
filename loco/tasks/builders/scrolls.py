"""summ_screen_fd, gov_report and qmsum from SCROLLS: LoCo's test split is SCROLLS' validation split, its train
split SCROLLS' train split.

One row ``{id, pid, input, output}`` is one query (``output``, id ``pid``) and one document (``input``, id ``id``). In
these three tasks SCROLLS repeats neither id, and a file that does is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from loco.errors import LocoError
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant
from loco.tasks.sources.files import SourceFile, checksums, local_file
from loco.tasks.sources.hub import hub_file
from loco.tasks.sources.jsonl import Row, at, read_rows

NAME = "scrolls"
VERSION = 1

_REPO = "tau/scrolls"
_TASKS = ("summ_screen_fd", "gov_report", "qmsum")
_FILES: dict[Split, str] = {"test": "validation.jsonl", "train": "train.jsonl"}


class _ScrollsRow(Row):
    id: str
    pid: str
    input: str
    output: str


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The tasks this builder can make in a variant and split."""
    return _TASKS if variant == "paper" or (variant == "release" and split == "test") else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people."""
    return f"{_member(task, split)} or {task}.zip (SCROLLS, hub dataset {_REPO})"


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` is, or holds, SCROLLS' file of the task."""
    return any(_found(task, split, source) for split in _FILES)


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from ``source``, for which :func:`holds` is true, or from the hub."""
    file = _file(card.name, split, source)
    notes: Counter[str] = Counter()
    rows = read_rows(file, _ScrollsRow, ("pid", "id"), notes)
    queries = Texts.of(((row.pid, row.output) for _, row in rows), "query")
    if variant == "release" and card.name == "qmsum":
        documents, qrels = _transcripts(rows, file)
        equivalent = (
            f"from SCROLLS, as documents its {len(documents)} distinct transcripts without the question in front; "
            "that the release holds these is inferred from its number of documents"
        )
    else:
        documents = Texts.of(((row.id, row.input) for _, row in rows), "document")
        qrels = {row.pid: {row.id: 1} for _, row in rows}
        equivalent = "" if variant == "paper" else "from SCROLLS, row by row; the release's own rows were not read"
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=file.label,
        source_revision=file.revision,
        source_sha256=checksums(file),
        equivalent=equivalent,
        dropped=dict(notes),
    )
    return TaskData(card, variant, provenance, queries, documents, qrels, split)


def _transcripts(rows: Sequence[tuple[int, _ScrollsRow]], file: SourceFile) -> tuple[Texts, dict[str, dict[str, int]]]:
    """The distinct meetings, each under the id of the first row that holds it, and every query's one meeting."""
    first: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for number, row in rows:
        _, blank_line, transcript = row.input.partition("\n\n")
        if not blank_line:
            raise LocoError(
                f"{at(file, number)}: no blank line parts the question from the transcript in the field 'input'. "
                "Is this SCROLLS' qmsum?"
            )
        qrels[row.pid] = {first.setdefault(transcript, row.id): 1}
    return Texts.of(((identifier, text) for text, identifier in first.items()), "document"), qrels


def _member(task: str, split: Split) -> str:
    return f"{task}/{_FILES[split]}"


def _file(task: str, split: Split, source: Path | None) -> SourceFile:
    if source is None:
        return hub_file(_REPO, f"{task}.zip", _member(task, split))
    path = _found(task, split, source)
    if path is None:
        raise LocoError(f"{source} holds no {wanted(task, split)}.")
    if path.suffix == ".zip":
        return local_file(path, path.name, _member(task, split))
    return local_file(path, _member(task, split) if task in _folder_names(path) else path.name)


def _found(task: str, split: Split, source: Path) -> Path | None:
    if source.is_file():
        # A file named by hand is taken at its word, unless its folder or its name says that it is something else.
        others = set(_TASKS) - {task}
        foreign = others & _folder_names(source) or source.name in set(_FILES.values()) - {_FILES[split]}
        usable = source.suffix == ".zip" or (source.suffix == ".jsonl" and not foreign)
        return source if usable else None
    places = [source / _member(task, split), source / f"{task}.zip", source / _FILES[split]]
    if task not in _folder_names(places[-1]):
        places.pop()
    return next((place for place in places if place.is_file()), None)


def _folder_names(file: Path) -> set[str]:
    """What the folder of ``file`` is called, as given and with links followed."""
    return {file.parent.name, file.resolve().parent.name}
