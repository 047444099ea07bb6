"""qasper_title and qasper_abstract from QASPER v0.3: a paper's title or abstract finds the paper's text.

Documented: a JSON file a split, one object ``{arXiv id: {title, abstract, full_text, ...}}`` with ``full_text`` a list
of ``{section_name, paragraphs}``; the two ``.tgz`` they come in; the hub's parquet, where ``full_text`` is a struct of
the parallel lists ``section_name`` and ``paragraphs``; and how a document is put together (:func:`document_of`), with
papers without any text left out. Train is QASPER's train, test its test; its dev split is not used.

Inferred: the JSON file may lie in any folder of its ``.tgz``, and a paper whose title (or abstract) is null or blank is
left out of the task that asks for it. The manifest counts both kinds of papers left out.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import ValidationError

from loco.errors import LocoError, one_line
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant
from loco.tasks.sources.files import SourceFile, checksums, local_file, opened, refuse_outside
from loco.tasks.sources.hub import hub_file
from loco.tasks.sources.jsonl import Row, repaired, short, wrong_field
from loco.tasks.sources.upstream import upstreams

NAME = "qasper"
VERSION = 1

_REPO = "allenai/qasper"
_REVISION = upstreams()[_REPO].revision
_UPSTREAM = "https://qasper-dataset.s3.us-west-2.amazonaws.com"
_TASKS = ("qasper_title", "qasper_abstract")
_LARGEST_JSON = 1 << 30  # the real ones are below 100 MB
_ROWS_AT_ONCE = 64

Section = tuple[str | None, Sequence[str] | None]


class _Section(Row):
    section_name: str | None
    paragraphs: list[str] | None


class _JsonPaper(Row):
    title: str | None
    abstract: str | None
    full_text: list[_Section] | None


class _Sections(Row):
    section_name: list[str | None] | None
    paragraphs: list[list[str] | None] | None


class _ParquetPaper(Row):
    id: str
    title: str | None
    abstract: str | None
    full_text: _Sections | None


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class _Paper:
    """One paper, whatever the file; ``where`` is how an error names it."""

    where: str
    id: str
    title: str | None
    abstract: str | None
    text: str


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The tasks this builder can make in a variant, for either split."""
    return _TASKS if variant == "paper" else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people."""
    return (
        f"{_json(split)} or {_archive(split)} (QASPER v0.3, {_UPSTREAM}/{_archive(split)}) "
        f"or {_parquet(split)} (hub dataset {_REPO}, revision {_REVISION})"
    )


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` is, or holds, QASPER's file of at least one split."""
    return any(_found(split, source) for split in ("test", "train"))


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from ``source``, for which :func:`holds` is true, or from the hub; in the order of the file.

    Raises LocoError for a file that is damaged, or not there for this split.
    """
    file = _file(split, source, card.name)
    field = "title" if card.name == "qasper_title" else "abstract"
    notes: Counter[str] = Counter()
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    papers = list(_papers(file))
    for paper in papers:
        query = paper.title if field == "title" else paper.abstract
        identifier = repaired(paper.id, notes)
        if identifier in documents:
            raise LocoError(
                f"{paper.where}: the id {short(identifier)} stands twice; ids must be unique. {file.remedy}"
            )
        if not paper.text:
            notes["papers without a text"] += 1
        elif query is None or not query.strip():
            notes[f"papers without {'a title' if field == 'title' else 'an abstract'}"] += 1
        else:
            queries[identifier] = repaired(query, notes)
            documents[identifier] = repaired(paper.text, notes)
    if not papers:
        raise LocoError(f"{file} holds no papers. {file.remedy}")
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=file.label,
        source_revision=file.revision,
        source_sha256=checksums(file),
        equivalent=_equivalent(card, split, len(papers)),
        dropped=dict(notes),
    )
    return TaskData(
        card=card,
        variant=variant,
        provenance=provenance,
        queries=Texts.of(queries.items(), "query"),
        documents=Texts.of(documents.items(), "document"),
        qrels={identifier: {identifier: 1} for identifier in queries},
        split=split,
    )


def document_of(sections: Iterable[Section]) -> str:
    """A paper's sections (name, paragraphs) as one text: name and paragraphs on a line each, stripped in the end.

    Paragraphs are joined by blanks. A null name, or null paragraphs, leave their line out; empty ones leave it empty.
    """
    lines = []
    for name, paragraphs in sections:
        if name is not None:
            lines.append(name)
        if paragraphs is not None:
            lines.append(" ".join(paragraphs))
    return "\n".join(lines).strip()


def _papers(file: SourceFile) -> Iterator[_Paper]:
    if file.path.suffix == ".parquet":
        return _parquet_papers(file)
    return _json_papers(file, _archived(file) if file.member else _content(file))


def _json_papers(file: SourceFile, content: bytes) -> Iterator[_Paper]:
    if not content.strip():
        raise LocoError(f"{file} is empty. {file.remedy}")
    try:
        papers = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LocoError(f"{file} is not UTF-8 (byte {error.start + 1:,}). {file.remedy}") from error
    except json.JSONDecodeError as error:
        raise LocoError(
            f"{file} is not JSON, or cut off ({error.msg}, line {error.lineno} column {error.colno}). {file.remedy}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise LocoError(f"{file} is not usable JSON ({error}). {file.remedy}") from error
    if not isinstance(papers, dict):
        raise LocoError(f"{file} is not a JSON object of papers. Is it QASPER's? {file.remedy}")
    for identifier, value in papers.items():
        where = f"{file}, paper {short(identifier)}"
        paper = _checked(_JsonPaper, value, where, file)
        sections = ((section.section_name, section.paragraphs) for section in paper.full_text or ())
        yield _Paper(where, identifier, paper.title, paper.abstract, document_of(sections))


def _parquet_papers(file: SourceFile) -> Iterator[_Paper]:
    for number, value in enumerate(_parquet_rows(file), 1):
        where = f"{file}, row {number}"
        paper = _checked(_ParquetPaper, value, where, file)
        names = (paper.full_text and paper.full_text.section_name) or []
        paragraphs = (paper.full_text and paper.full_text.paragraphs) or []
        if len(names) != len(paragraphs):
            raise LocoError(
                f"{where}: full_text has {len(names)} section names but {len(paragraphs)} lists of paragraphs. "
                f"{file.remedy}"
            )
        text = document_of(zip(names, paragraphs, strict=True))
        yield _Paper(where, paper.id, paper.title, paper.abstract, text)


def _parquet_rows(file: SourceFile) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(_ParquetPaper.model_fields)
    try:
        with pq.ParquetFile(file.path) as parquet:
            for column in columns:
                if column not in parquet.schema_arrow.names:
                    raise LocoError(f"{file}: the column '{column}' is missing. Is it QASPER's? {file.remedy}")
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a string column that is not UTF-8
        raise LocoError(f"{file} is damaged or not parquet ({one_line(error)}). {file.remedy}") from error


def _checked(kind: type[RowT], value: object, where: str, file: SourceFile) -> RowT:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise LocoError(f"{where}: {wrong_field(error)}. {file.remedy}") from error


def _content(file: SourceFile) -> bytes:
    with opened(file) as lines:
        return b"".join(lines)


def _archived(file: SourceFile) -> bytes:
    """The wanted member of a ``.tgz``, read where it lies; to the archive's end, where its checksum stands."""
    content: bytes | None = None
    try:
        with gzip.open(file.path) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for info in archive:
                    refuse_outside(info.name, file)
                    if content is None and info.isreg() and PurePosixPath(info.name).name == file.member:
                        content = _bytes(archive, info, file)
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError) as error:
        raise LocoError(f"{file.path} is a damaged or unusual tgz ({error}). {file.remedy}") from error
    except OSError as error:
        raise LocoError(f"Cannot read {file.path}: {error.strerror or error}. {file.remedy}") from error
    if content is None:
        raise LocoError(f"{file.path} holds no {file.member}. Is it the right tgz?")
    return content


def _bytes(archive: tarfile.TarFile, info: tarfile.TarInfo, file: SourceFile) -> bytes:
    if info.size > _LARGEST_JSON:
        raise LocoError(f"{file} would unpack to {info.size:,} bytes, which QASPER does not. {file.remedy}")
    stream = archive.extractfile(info)
    return stream.read() if stream else b""


def _equivalent(card: TaskCard, split: Split, papers: int) -> str:
    """Why the rows are not the paper's, when the file does not hold as many as QASPER v0.3 does."""
    if card.table10 is None:
        return ""
    expected = card.table10.test_queries if split == "test" else card.table10.train_queries
    return "" if papers == expected else f"the source holds {papers} papers where QASPER v0.3 has {expected} in {split}"


def _json(split: Split) -> str:
    return f"qasper-{split}-v0.3.json"


def _archive(split: Split) -> str:
    return "qasper-test-and-evaluator-v0.3.tgz" if split == "test" else "qasper-train-dev-v0.3.tgz"


def _parquet(split: Split) -> str:
    return f"qasper/{split}/0000.parquet"


def _file(split: Split, source: Path | None, task: str) -> SourceFile:
    if source is None:
        return hub_file(_REPO, _parquet(split), revision=_REVISION)
    path = _found(split, source)
    if path is None:
        raise LocoError(f"{source} holds nothing for the {split} split of {task}. Wanted there: {wanted(task, split)}.")
    if path.suffix == ".tgz":
        return local_file(path, path.name, _json(split))
    return local_file(path, _parquet(split) if path.suffix == ".parquet" else path.name)


def _found(split: Split, source: Path) -> Path | None:
    """The file of a split: only names that say which split it is, so that none is taken for the other."""
    if source.is_file():
        named = source.name in (_json(split), _archive(split))
        return source if named or source.absolute().parts[-2:] == (split, "0000.parquet") else None
    places = [source / name for name in (_json(split), _archive(split), _parquet(split), f"{split}/0000.parquet")]
    return next((place for place in places if place.is_file()), None)
