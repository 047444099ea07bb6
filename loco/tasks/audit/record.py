"""What an audit found, as it stands in ``audit.json`` beside the task."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from loco.errors import LocoError
from loco.files import write_atomically
from loco.tasks.data import AUDIT_FILE, ContentHashes, Split, Variant, read_manifest, task_folder

Ids = tuple[str, ...]
Groups = tuple[Ids, ...]


class _FileModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DuplicateDocuments(_FileModel):
    """Documents that repeat one another; groups of two and more ids, the largest first.

    ``exact``: equal but for white space. ``near``: joined by a chain of pairs whose sets of ``shingle_words``-word
    shingles have a Jaccard similarity of at least ``threshold``; exact duplicates are in there too.
    ``distinct_exact`` and ``distinct_near`` count the groups including those of one document.
    """

    shingle_words: int
    threshold: float
    exact: Groups
    near: Groups
    distinct_exact: int
    distinct_near: int


class QueryFindings(_FileModel):
    """``same_text``: groups of queries whose texts are equal but for white space.

    ``same_text_other_relevant``: the queries among them that do not have the same relevant documents.
    ``verbatim_in_relevant``: queries that stand word for word, white space aside, in a document relevant to them;
    ``verbatim_elsewhere``: in another document only.
    """

    same_text: Groups
    same_text_other_relevant: Ids
    verbatim_in_relevant: Ids
    verbatim_elsewhere: Ids


class Lengths(_FileModel):
    """Lengths in reference tokens. ``over``: how many texts have more tokens than the key."""

    mean: float
    longest: int
    over: dict[int, int]


class TextFindings(_FileModel):
    """What is odd about the texts of one role, by the ids of the texts.

    ``empty``: nothing but white space. ``replacement_characters``: U+FFFD, what a decoder leaves of bytes that it
    cannot read. ``control_characters``: C0 and C1 controls that are no white space, and U+0085. ``mojibake``: UTF-8
    that was read as Windows-1252 or Latin-1. ``letters_not_latin``: share of all letters that are not of the Latin
    script; ``mostly_not_latin``: texts of which this is true for more than half of the letters.
    """

    empty: Ids
    replacement_characters: Ids
    control_characters: Ids
    mojibake: Ids
    letters_not_latin: float
    mostly_not_latin: Ids
    tokens: Lengths


class TrainOverlap(_FileModel):
    """Test queries and documents whose text, white space aside, stands in the train split in the same role."""

    queries: Ids
    documents: Ids


class LexicalScore(_FileModel):
    """What a lexical model reaches: how far shared words alone solve the task."""

    model: str
    revision: str
    ndcg_at_10: float


class Ceiling(_FileModel):
    """The mean nDCG@10 that a perfect model can expect: see :mod:`loco.tasks.audit.ceiling`.

    ``near_duplicates`` bounds models that do not see what sets near-duplicates apart, ``exact_duplicates`` every model.
    ``queries_below_one`` counts the queries that near-duplicates affect.
    """

    near_duplicates: float
    exact_duplicates: float
    queries_below_one: int
    derivation: str


class Audit(_FileModel):
    """What stands in ``audit.json``. Equal tasks give equal files."""

    schema_version: Literal[1]
    task: str
    variant: Variant
    split: Split
    content: ContentHashes
    queries: int
    documents: int
    ceiling: Ceiling
    train_overlap: TrainOverlap | None
    duplicate_documents: DuplicateDocuments
    query_findings: QueryFindings
    dropped_when_built: dict[str, int]
    reference_tokenizer: str
    query_texts: TextFindings
    document_texts: TextFindings
    lexical: LexicalScore


def write_audit(audit: Audit, data: Path) -> Path:
    """Write an audit into its task's folder below ``data``, whole or not at all. Returns the file's path.

    Raises LocoError where the task is not built or the folder is not writable.
    """
    if read_manifest(data, audit.variant, audit.task, audit.split) is None:
        raise LocoError(
            f"Task '{audit.task}' ({audit.variant}, {audit.split}) is not in {data}, so its audit has no place to go. "
            f"Run: loco build-data {audit.task} --variant {audit.variant}"
        )
    path = task_folder(data, audit.variant, audit.task, audit.split) / AUDIT_FILE
    write_atomically(path, (audit.model_dump_json(indent=2) + "\n").encode())
    return path


def read_audit(data: Path, variant: Variant, task: str, split: Split = "test") -> Audit | None:
    """The audit beside a built task; None where there is none, or where it is one of other contents.

    Raises LocoError for a damaged file.
    """
    manifest = read_manifest(data, variant, task, split)
    path = task_folder(data, variant, task, split) / AUDIT_FILE
    try:
        audit = Audit.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "json"
        raise LocoError(
            f"{path} is damaged ({where}: {problem['msg']}). Write it again: loco audit {task} --variant {variant}"
        ) from error
    return audit if manifest is not None and audit.content == manifest.content else None
