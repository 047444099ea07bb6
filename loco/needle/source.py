"""What haystacks are made from: questions with their gold passages, and passages to hide those among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.tasks.data import Provenance

HUB = "hub"
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Question:
    """A query, the passage that answers it, and its answers in words; none where the source does not tell them."""

    identifier: str
    text: str
    gold: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Questions to choose from, and passages to draw distractors from; gold passages may be among these.

    ``name`` goes into file names. ``answers_known`` tells whether the source says what the answers are.
    """

    name: str
    questions: Sequence[Question]
    passages: Sequence[str]
    answers_known: bool
    provenance: Provenance


def source_at(where: str) -> Source:
    """The source called ``where``: "synthetic", "hub", the NQ oracle file or its folder, or a BEIR folder.

    Raises LocoError for anything else, and for a file that is damaged or cannot be had.
    """
    from loco.needle import beir, oracle
    from loco.needle.synthetic import synthetic_source

    if where == SYNTHETIC:
        return synthetic_source()
    if where == HUB:
        return beir.from_hub()
    path = Path(where).expanduser()
    if oracle.holds(path):
        return oracle.read(path)
    if beir.holds(path):
        return beir.read(path)
    missing = "" if path.exists() else " does not exist. It"
    raise LocoError(
        f"{path}{missing or ' is no source of needles. It'} should be {oracle.FILE}, a folder that holds it, or a BEIR "
        f"folder with corpus.jsonl, queries.jsonl and qrels/. Or take --from {HUB}, or --from {SYNTHETIC}."
    )
