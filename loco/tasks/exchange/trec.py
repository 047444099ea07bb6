r"""TREC's judgements and topics, and the documents as a JSON collection of Anserini's.

    documents/documents.jsonl   {"id", "contents"}
    topics.tsv                  id, text
    qrels.txt                   query, 0, document, grade, between blanks

The formats separate by white space, so ids are encoded as in the run files of :mod:`loco.trec`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from loco.tasks.data import TaskData
from loco.trec import trec_id

# What one reader or another takes for the end of a line, and the tab that ends the id.
_BREAK = re.compile("\r\n|[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def write(task: TaskData, folder: Path) -> None:
    """Write a task's files into ``folder``. A topic is one line: a tab or line break in a query becomes a blank."""
    (folder / "documents").mkdir()
    with (folder / "documents" / "documents.jsonl").open("w", encoding="utf-8", newline="\n") as stream:
        for document, text in task.documents:
            stream.write(json.dumps({"id": trec_id(document), "contents": text}, ensure_ascii=False) + "\n")
    with (folder / "topics.tsv").open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{trec_id(query)}\t{_BREAK.sub(' ', text)}\n" for query, text in task.queries)
    with (folder / "qrels.txt").open("w", encoding="utf-8", newline="\n") as stream:
        for query, grades in task.qrels.items():
            stream.writelines(f"{trec_id(query)} 0 {trec_id(document)} {grade}\n" for document, grade in grades.items())
