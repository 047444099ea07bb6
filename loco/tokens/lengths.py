"""How long the relevant documents of a task are, in reference tokens; counted once and kept beside the task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loco.errors import LocoError
from loco.files import write_atomically
from loco.progress import tracked
from loco.tasks.data import ContentHashes, TaskData, task_folder
from loco.tokens.reference import NAME, count_tokens

LENGTHS_FILE = "reference_tokens.json"


class _Kept(BaseModel):
    """What stands in the file: the tokens of each relevant document, special tokens not counted, by its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    tokenizer: Literal["bert-base-uncased"] = NAME
    content: ContentHashes
    tokens: dict[str, Annotated[int, Field(ge=0)]]


def relevant_documents(task: TaskData) -> dict[str, tuple[str, ...]]:
    """The documents relevant to each query, by the query's id."""
    return {
        query: tuple(document for document, grade in task.qrels[query].items() if grade > 0)
        for query in task.queries.ids
    }


def relevant_lengths(task: TaskData, data: Path) -> Mapping[str, int]:
    """The reference tokens of every document that is relevant to some query, by its id.

    ``data`` is the folder the task was built in. Counts are kept in the task's own folder, where that can be written,
    and hold for these contents alone.
    """
    path = task_folder(data, task.variant, task.card.name, task.split) / LENGTHS_FILE
    wanted = {document for documents in relevant_documents(task).values() for document in documents}
    with suppress(OSError, ValidationError):
        kept = _Kept.model_validate_json(path.read_bytes())
        if kept.content == task.content and kept.tokens.keys() == wanted:
            return kept.tokens
    rows = [row for row in task.documents if row[0] in wanted]
    counts = count_tokens(text for _, text in tracked(rows, "Measuring relevant documents"))
    tokens = {identifier: count for (identifier, _), count in zip(rows, counts, strict=True)}
    with suppress(LocoError):
        write_atomically(path, (_Kept(content=task.content, tokens=tokens).model_dump_json(indent=2) + "\n").encode())
    return tokens
