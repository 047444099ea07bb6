"""A built task: texts, relevance judgements and the manifest that says where they come from.

On disk a task is one folder, ``<data>/<variant>/<task>/``::

    queries.parquet     columns id, text
    documents.parquet   columns id, text
    qrels.tsv           query-id, corpus-id, score (tab separated, with that header)
    manifest.json       a Manifest

The folder appears in one rename, so a half-built task never exists, and every file's SHA-256 stands in the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loco.errors import LocoError, unknown
from loco.files import recovered, replacing_folder, sha256_of
from loco.tasks.card import TaskCard, task_cards

Variant = Literal["paper", "release", "mini", "imported"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
Split = Literal["test", "train"]
SPLITS: tuple[Split, ...] = get_args(Split)
Qrels = Mapping[str, Mapping[str, int]]

AUDIT_FILE = "audit.json"  # beside the task's own files, where it has been audited
_ROWS_AT_ONCE = 64  # a whole split as text, as UTF-8 and as Arrow columns can take gigabytes
_LOOKS = 3
_QRELS_HEADER = ("query-id", "corpus-id", "score")


@dataclass(frozen=True)
class Texts:
    """Texts and their ids, in a fixed order; ids are unique."""

    ids: tuple[str, ...]
    texts: Sequence[str]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str]], kind: str) -> Texts:
        """From (id, text) pairs. ``kind`` ("query", "document") is the noun for errors.

        Raises LocoError for an id that is empty, stands twice, or holds a tab or a line break, which the qrels file
        could not carry, or a NUL, at which trec_eval would cut it; and for a text that UTF-8 cannot carry.
        """
        pairs = list(rows)
        seen: set[str] = set()
        for identifier, text in pairs:
            if not identifier or any(character in identifier for character in "\0\t\r\n"):
                raise LocoError(f"The {kind} id {identifier!r} is empty or holds a tab or line break or NUL.")
            if identifier in seen:
                raise LocoError(f"The {kind} id '{identifier}' stands twice; ids must be unique.")
            seen.add(identifier)
            try:
                (identifier + text).encode()
            except UnicodeEncodeError:
                raise LocoError(f"The {kind} {identifier!r} holds a lone surrogate, which is no character.") from None
        return cls(tuple(i for i, _ in pairs), tuple(text for _, text in pairs))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self.ids, self.texts, strict=True)

    @property
    def mean_chars(self) -> float:
        """Mean length in characters (Unicode code points)."""
        return sum(map(len, self.texts)) / len(self.texts)

    @property
    def sha256(self) -> str:
        """Hash of the contents, whatever the order of rows or the file format."""
        digest = hashlib.sha256()
        for number in sorted(range(len(self)), key=self.ids.__getitem__):
            for part in (self.ids[number].encode(), self.texts[number].encode()):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return digest.hexdigest()


class _FileModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Provenance(_FileModel):
    """Who made a task out of what.

    ``equivalent`` is empty where the rows are the variant's own, else the reason why they only stand in for them.
    ``source_sha256`` has the SHA-256, in hexadecimal, of each file that was read, by what ``source`` calls it.
    ``dropped`` counts what was left out, by reason; ``licences`` the texts under each, where they differ.
    """

    builder: str
    builder_version: int
    source: str
    source_revision: str
    source_sha256: dict[str, str] = {}
    equivalent: str = ""
    dropped: dict[str, int] = {}
    licences: dict[str, int] = {}


class Counts(_FileModel):
    """How large a task came out; means are characters."""

    queries: int = Field(ge=0)
    documents: int = Field(ge=0)
    relevant: int = Field(ge=0)
    mean_query_chars: float = Field(ge=0)
    mean_document_chars: float = Field(ge=0)


class ContentHashes(_FileModel):
    """SHA-256 of what a task says, independent of row order and file format: what results are comparable by."""

    queries: str
    documents: str
    qrels: str


class Manifest(_FileModel):
    """What stands in ``manifest.json``."""

    schema_version: Literal[1]
    task: str
    variant: Variant
    split: Split
    provenance: Provenance
    counts: Counts
    card: TaskCard
    content: ContentHashes
    files: dict[str, str]


@dataclass(frozen=True)
class TaskData:
    """A task ready to be evaluated. ``qrels``: query id -> {document id: grade}, grade 0 being not relevant."""

    card: TaskCard
    variant: Variant
    provenance: Provenance
    queries: Texts
    documents: Texts
    qrels: Qrels
    split: Split = "test"

    def __post_init__(self) -> None:
        where = f"Task '{self.card.name}' ({self.variant})"
        if not len(self.queries) or not len(self.documents):
            raise LocoError(f"{where} has {len(self.queries)} queries and {len(self.documents)} documents: not a task.")
        queries, documents = set(self.queries.ids), set(self.documents.ids)
        for query, grades in self.qrels.items():
            if query not in queries:
                raise LocoError(f"{where}: the qrels name a query '{query}' that does not exist.")
            for document in grades:
                if document not in documents:
                    raise LocoError(
                        f"{where}: the qrels of query '{query}' name a document '{document}' that does not exist."
                    )
        for query in self.queries.ids:
            if not any(grade > 0 for grade in self.qrels.get(query, {}).values()):
                raise LocoError(f"{where}: query '{query}' has no relevant document, so nothing can be scored.")

    @cached_property
    def content(self) -> ContentHashes:
        """The hashes results are compared by."""
        lines = sorted(f"{q}\t{d}\t{grade}\n" for q, grades in self.qrels.items() for d, grade in grades.items())
        return ContentHashes(
            queries=self.queries.sha256,
            documents=self.documents.sha256,
            qrels=hashlib.sha256("".join(lines).encode()).hexdigest(),
        )

    @property
    def counts(self) -> Counts:
        """Rows and mean lengths."""
        return Counts(
            queries=len(self.queries),
            documents=len(self.documents),
            relevant=sum(grade > 0 for grades in self.qrels.values() for grade in grades.values()),
            mean_query_chars=round(self.queries.mean_chars, 2),
            mean_document_chars=round(self.documents.mean_chars, 2),
        )


def variant_named(name: str) -> Variant:
    """The variant called ``name``, or a LocoError with a suggestion."""
    for variant in VARIANTS:
        if variant == name:
            return variant
    raise unknown("variant", name, VARIANTS, "loco build-data --help")


def split_named(name: str) -> Split:
    """The split called ``name``, or a LocoError with a suggestion."""
    for split in SPLITS:
        if split == name:
            return split
    raise unknown("split", name, SPLITS, "loco build-data --help")


def task_names(data: Path, variant: Variant) -> list[str]:
    """The tasks that a variant can have: the benchmark's twelve, or what has been imported."""
    if variant != "imported":
        return list(task_cards())
    folders = {path.parent.name.removesuffix(".train") for path in (data / variant).glob("*/manifest.json")}
    return sorted(name for name in folders if "." not in name)  # what is being written has a dot in front


def task_folder(data: Path, variant: Variant, task: str, split: Split = "test") -> Path:
    """Where a task stands below the data folder; its train split stands beside it.

    Raises LocoError for a task the variant does not have, so that no name leads out of the folder.
    """
    names = task_names(data, variant)
    if task not in names:
        raise unknown("task", task, names, "loco tasks")
    return _folder(data, variant, task, split)


def write_task(task: TaskData, data: Path) -> Manifest:
    """Write a task to its folder in one rename, replacing an earlier build of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing_folder(_folder(data, task.variant, task.card.name, task.split)) as folder:
        schema = pa.schema({"id": pa.string(), "text": pa.large_string()})
        for name, texts in (("queries", task.queries), ("documents", task.documents)):
            with pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") as writer:
                for start in range(0, len(texts), _ROWS_AT_ONCE):
                    part = slice(start, start + _ROWS_AT_ONCE)
                    columns = (texts.ids[part], [text.encode() for text in texts.texts[part]])
                    writer.write_table(pa.table(list(map(pa.array, columns, schema.types)), schema=schema))
        rows = [_QRELS_HEADER, *((q, d, str(g)) for q, grades in task.qrels.items() for d, g in grades.items())]
        (folder / "qrels.tsv").write_text(
            "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n"
        )
        manifest = Manifest(
            schema_version=1,
            task=task.card.name,
            variant=task.variant,
            split=task.split,
            provenance=task.provenance,
            counts=task.counts,
            card=task.card,
            content=task.content,
            files={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8", newline="\n")
    return manifest


def read_manifest(data: Path, variant: Variant, task: str, split: Split = "test") -> Manifest | None:
    """The manifest of a built task, or None where it is not built."""
    folder = task_folder(data, variant, task, split)
    path = folder / "manifest.json"
    try:
        content = _read_patiently(folder, path.name)
        if content is None:
            return None
        manifest = Manifest.model_validate_json(content)
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "json"
        raise LocoError(f"{path} is damaged ({where}: {problem['msg']}). {_rebuild(variant, task, split)}") from error
    if (manifest.task, manifest.variant, manifest.split) != (task, variant, split):
        found = f"{manifest.task} ({manifest.variant}, {manifest.split})"
        raise LocoError(f"{path} is of {found}, not of what its folder says. {_rebuild(variant, task, split)}")
    return manifest


def _read_patiently(folder: Path, name: str) -> bytes | None:
    """A file of a folder that another process may be replacing, which takes it away for a moment; None without it."""
    for _ in range(_LOOKS):
        try:
            return (recovered(folder) / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


def built_tasks(data: Path, variant: Variant) -> tuple[list[Manifest], list[LocoError]]:
    """The manifests of the test splits built in a variant, in the order of Table 10, and what is wrong with others."""
    found, damaged = [], []
    for task in task_names(data, variant):
        try:
            manifest = read_manifest(data, variant, task)
        except LocoError as error:
            damaged.append(error)
        else:
            found += [manifest] if manifest is not None else []
    return found, damaged


def check_file(data: Path, manifest: Manifest, name: str) -> Path:
    """The path of a built task's file, once it has been found to be what the manifest says, else a LocoError."""
    path = task_folder(data, manifest.variant, manifest.task, manifest.split) / name
    try:
        whole = sha256_of(path) == manifest.files.get(name)
    except OSError:
        whole = False
    if not whole:
        again = _rebuild(manifest.variant, manifest.task, manifest.split)
        raise LocoError(f"{path} is missing or not what its manifest says. {again}")
    return path


def read_task(data: Path, variant: Variant, task: str, split: Split = "test") -> TaskData:
    """A built task, its files checked against the manifest's hashes.

    What is returned is one build, whole: if another one takes its place meanwhile, that is read instead.
    """
    folder = task_folder(data, variant, task, split)
    before = _stamp(folder)
    while (manifest := read_manifest(data, variant, task, split)) is not None:
        try:
            return _read(manifest, folder)
        except LocoError as error:
            after = _stamp(folder)
            if after == before:
                raise LocoError(f"{error} {_rebuild(variant, task, split)}") from error
            before = after
    raise not_built(data, variant, task, split)


def not_built(data: Path, variant: Variant, task: str, split: Split = "test") -> LocoError:
    """The error for a task that is not there."""
    return LocoError(f"Task '{task}' ({variant}) is not in {data}. Run: {_command(variant, task, split)}")


def _stamp(folder: Path) -> tuple[int, int] | None:
    """What tells one build in a folder from the next, equal ones included."""
    try:
        status = (folder / "manifest.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _read(manifest: Manifest, folder: Path) -> TaskData:
    queries = Texts.of(_rows(manifest, folder / "queries.parquet"), "query")
    documents = Texts.of(_rows(manifest, folder / "documents.parquet"), "document")
    qrels: dict[str, dict[str, int]] = {}
    path = folder / "qrels.tsv"
    try:
        for line in _checked(manifest, path).decode().split("\n")[1:-1]:
            query, document, grade = line.split("\t")
            qrels.setdefault(query, {})[document] = int(grade)
    except ValueError as error:  # not UTF-8 among them
        raise LocoError(f"{path} is damaged ({error}).") from error
    task = TaskData(manifest.card, manifest.variant, manifest.provenance, queries, documents, qrels, manifest.split)
    if task.content != manifest.content:
        raise LocoError(f"{folder} does not hold what its manifest says.")
    return task


def _rows(manifest: Manifest, path: Path) -> list[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = _checked(manifest, path)
    try:
        table = pq.read_table(pa.BufferReader(content), columns=["id", "text"])
        ids, texts = (table[name].cast(pa.large_string()) for name in ("id", "text"))
        rows = list(zip(ids.to_pylist(), texts.to_pylist(), strict=True))
    except MemoryError:  # pyarrow's own is an ArrowException too, and says nothing about the file
        raise
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise LocoError(f"{path} is damaged ({' '.join(str(error).split())[:200]}).") from error
    if ids.null_count or texts.null_count:
        raise LocoError(f"{path} is damaged (null values).")
    return rows


def _checked(manifest: Manifest, path: Path) -> bytes:
    """The bytes of a task's file. They are read once, so that what was checked is what is used."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != manifest.files.get(path.name):
        raise LocoError(f"{path} is missing or not what its manifest says.")
    return content


def _folder(data: Path, variant: Variant, task: str, split: Split) -> Path:
    return data / variant / (task if split == "test" else f"{task}.{split}")


def _rebuild(variant: Variant, task: str, split: Split) -> str:
    return f"Build it again: {_command(variant, task, split)}"


def _command(variant: Variant, task: str, split: Split) -> str:
    if variant == "imported":
        return f"loco import FOLDER --name {task}"
    return f"loco build-data {task} --variant {variant}" + (f" --split {split}" if split != "test" else "")
