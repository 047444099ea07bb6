"""Natural Questions with their gold passages and answers: ``nq-open-oracle.jsonl.gz`` of lost-in-the-middle.

2,655 questions, each with the one Wikipedia passage that answers it (github.com/nelson-liu/lost-in-the-middle, MIT;
the texts are CC BY-SA 3.0). Distractors are drawn from the other questions' passages: the file has no others.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from loco.errors import LocoError
from loco.needle.lines import first_of, rows
from loco.needle.source import Question, Source
from loco.tasks.data import Provenance
from loco.tasks.sources.files import checksums, local_file
from loco.tasks.sources.jsonl import Row

NAME = "nq-oracle"
VERSION = 1
FILE = "nq-open-oracle.jsonl.gz"
_FILES = (FILE, FILE.removesuffix(".gz"))


class _Passage(Row):
    text: str
    isgold: bool


class _Question(Row):
    question: str
    answers: list[str]
    ctxs: list[_Passage]


def holds(path: Path) -> bool:
    """Whether a path is a file, or a folder that holds the oracle file."""
    return path.is_file() or first_of(path, *_FILES) is not None


def read(path: Path) -> Source:
    """The questions of the oracle file at a path, or in the folder there; a question's id is ``q`` and its line.

    Left out and counted: questions without one gold passage or without answers.
    """
    file = local_file(path if path.is_file() else first_of(path, *_FILES) or path / FILE, FILE)
    notes: Counter[str] = Counter()
    questions = []
    for number, row in rows(file, _Question):
        gold = [passage.text.strip() for passage in row.ctxs if passage.isgold]
        answers = tuple(answer for answer in row.answers if answer.strip())
        if len(gold) != 1 or not gold[0] or not answers or not row.question.strip():
            notes["questions without a gold passage or an answer"] += 1
            continue
        questions.append(Question(f"q{number:05d}", row.question, gold[0], answers))
    if not questions:
        raise LocoError(f"{file.path} holds no question with a gold passage. Is it {FILE}?")
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=file.label,
        source_revision=file.revision,
        source_sha256=checksums(file),
        dropped=dict(notes),
    )
    return Source(NAME, questions, [question.gold for question in questions], True, provenance)
