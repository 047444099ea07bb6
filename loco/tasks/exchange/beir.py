"""BEIR folders: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv`` (arXiv 2104.08663).

Judgements are tab separated under the header ``query-id corpus-id score``. BEIR reads them as CSV, so that an id with
a quotation mark in it stands in quotation marks, its own doubled.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from loco.errors import LocoError
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, TaskData, Texts
from loco.tasks.exchange.record import EXPORT_FILE, Export
from loco.tasks.sources.files import SourceFile, checksums, local_file, opened
from loco.tasks.sources.jsonl import Row, at, read_rows, short

NAME = "beir"
VERSION = 1

_HEADER = "query-id\tcorpus-id\tscore\n"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_GRADE = re.compile(r"-?[0-9]{1,6}")  # trec_eval makes a table as long as the highest grade


def _as_text(identifier: object) -> object:
    return str(identifier) if type(identifier) is int else identifier  # some folders number their texts


class _Query(Row):
    identifier: Annotated[str, BeforeValidator(_as_text), Field(alias="_id")]
    text: str


class _Document(_Query):
    title: str | None = None


def write(task: TaskData, folder: Path) -> None:
    """Write a task's files into ``folder``. Titles are empty: a document of ours is one text."""
    _write_lines(folder / "queries.jsonl", ({"_id": i, "text": text} for i, text in task.queries))
    _write_lines(folder / "corpus.jsonl", ({"_id": i, "title": "", "text": text} for i, text in task.documents))
    (folder / "qrels").mkdir()
    with (folder / "qrels" / f"{task.split}.tsv").open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(_HEADER)
        for query, grades in task.qrels.items():
            stream.writelines(f"{_quoted(query)}\t{_quoted(document)}\t{g}\n" for document, g in grades.items())


def import_beir(folder: Path, name: str | None = None, split: str = "test") -> TaskData:
    """A BEIR folder as a task of the variant "imported", called ``name``, by default what the folder is called.

    ``split`` names the file below ``qrels/``; "train" becomes the task's train split, every other its test split. A
    document is its title, a blank and its text, as BEIR's own models read it, or the text alone where the title is
    empty. Left out and counted in the provenance: judgements of texts that do not exist, and queries that are left
    without a relevant document.

    Raises LocoError for a folder, a file or a line that is not BEIR's.
    """
    folder = folder.resolve()  # "." has no name
    if not folder.is_dir():
        raise LocoError(f"{folder} is not a folder. Unpack an archive first.")
    name = _checked_name(folder.name if name is None else name)
    files = {part: _file(folder, part) for part in ("queries.jsonl", "corpus.jsonl", _judgements(folder, split))}
    query_file, document_file, qrels_file = files.values()
    notes: Counter[str] = Counter()
    queries = [(row.identifier, row.text) for _, row in read_rows(query_file, _Query, ("identifier",), notes)]
    documents = [
        (row.identifier, f"{row.title} {row.text}" if row.title else row.text)
        for _, row in read_rows(document_file, _Document, ("identifier",), notes)
    ]
    known_queries, known_documents = {i for i, _ in queries}, {i for i, _ in documents}
    judged: dict[str, dict[str, int]] = {}
    for number, query, document, grade in read_qrels(qrels_file, known_queries):
        if query not in known_queries:
            notes["judgements of unknown queries"] += 1
        elif document not in known_documents:
            notes["judgements of unknown documents"] += 1
        elif judged.setdefault(query, {}).setdefault(document, grade) != grade:
            raise LocoError(
                f"{at(qrels_file, number)}: the query {short(query)} and the document {short(document)} are judged "
                "twice, with different scores. Remove the wrong one."
            )
    qrels = {query: grades for query, grades in judged.items() if any(grade > 0 for grade in grades.values())}
    if not qrels:
        raise LocoError(
            f"By {qrels_file} no query of queries.jsonl has a relevant document in corpus.jsonl. "
            "Do the three files belong together?"
        )
    if unjudged := sum(query not in qrels for query, _ in queries):
        notes["queries left without a relevant document"] = unjudged
    return TaskData(
        card=_card(folder, name),
        variant="imported",
        provenance=Provenance(
            builder=NAME,
            builder_version=VERSION,
            source=f"{folder.name}: {', '.join(files)}",
            source_revision=", ".join(file.revision for file in files.values()),
            source_sha256=checksums(*files.values()),
            dropped=dict(notes),
        ),
        queries=Texts.of(((i, text) for i, text in queries if i in qrels), "query"),
        documents=Texts.of(documents, "document"),
        qrels=qrels,
        split="train" if split == "train" else "test",
    )


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _quoted(identifier: str) -> str:
    if '"' not in identifier:
        return identifier
    doubled = identifier.replace('"', '""')
    return f'"{doubled}"'


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def read_qrels(file: SourceFile, queries: set[str]) -> Iterator[tuple[int, str, str, int]]:
    """Line number, query, document and grade of each judgement."""
    with opened(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                content = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise LocoError(f"{at(file, number)}: not UTF-8 (byte 0x{line[error.start]:02x}).") from error
            if not content:
                continue
            cells = [_unquoted(cell) for cell in content.split("\t")]
            if len(cells) != 3:
                raise LocoError(
                    f"{at(file, number)}: {len(cells)} columns instead of query-id, corpus-id and score between tabs."
                )
            query, document, score = cells
            if _GRADE.fullmatch(score):
                yield number, query, document, int(score)
            # What else can stand on the first line is a header, whatever its words; some folders have none.
            elif number > 1 or (query in queries and content != _HEADER.rstrip()):
                raise LocoError(f"{at(file, number)}: the score {short(score)} is not a whole number below a million.")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name) or name == "all":
        raise LocoError(
            f"{short(name)} cannot be the name of a task: only letters, digits, dash and underscore can. "
            "Choose one with --name."
        )
    return name


def _judgements(folder: Path, split: str) -> str:
    """The file of the split's judgements, below ``folder``."""
    splits = sorted(path.stem for path in folder.glob("qrels/*.tsv"))
    if split in splits:
        return f"qrels/{split}.tsv"
    if not splits:
        raise LocoError(
            f"{folder} is not a BEIR folder: it has no qrels/{split}.tsv. "
            "It takes corpus.jsonl, queries.jsonl and qrels/<split>.tsv."
        )
    raise LocoError(
        f"{folder} has no judgements of the split {short(split)}, only of: {', '.join(splits)}. Try --split."
    )


def _file(folder: Path, part: str) -> SourceFile:
    if not (folder / part).is_file():
        raise LocoError(f"{folder} is not a BEIR folder: it has no {part}.")
    return local_file(folder / part, part)


def _card(folder: Path, name: str) -> TaskCard:
    """What an export of ours says of the data, else that nothing is known."""
    path = folder / EXPORT_FILE
    if path.is_file():
        try:
            card = Export.model_validate_json(path.read_bytes()).card
        except (OSError, ValidationError) as error:
            raise LocoError(f"{path} is damaged. Without it the folder is imported as any other: remove it.") from error
        return card.model_copy(update={"name": name, "table10": None})
    return TaskCard(
        name=name,
        domain="not stated",
        source=f"BEIR folder {folder.name}",
        source_url="",
        licence="not stated",
        citation="",
        query="query",
        document="document",
    )
