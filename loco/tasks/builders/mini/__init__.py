"""A synthetic LoCo: all twelve tasks, made on the spot from a seed, with no download.

Every task imitates its original: the shape of its queries and documents, the ratio of their lengths (at about a fifth
of Table 10's) and what makes it hard. The documents of a domain (a show, an agency, a court, a library ...) share
people, long boilerplate and, in part, the very details that queries ask about; only the right document holds all of a
query's. Those stand in its beginning, middle or end, so that a view of a document's start alone misses most of them.

Same seed, same bytes, on any machine and Python version. Test and train speak of different people, places and names,
whatever their seeds, so more training data is a matter of more seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loco.tasks.builders.mini.dice import Dice
from loco.tasks.builders.mini.drafts import Document
from loco.tasks.builders.mini.shapes import items
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Qrels, Split, TaskData, Texts

NAME = "mini"
VERSION = 1
SEED = 7

Position = Literal["beginning", "middle", "end"]


@dataclass(frozen=True)
class Evidence:
    """Where in a relevant document an answer stands.

    ``start`` up to and without ``end`` are offsets into its text in characters, ``position`` the third of the document
    that the middle of this stretch falls into. ``details`` are the facts it tells, in its own wording; the query
    repeats or paraphrases all or some of them.
    """

    document: str
    start: int
    end: int
    position: Position
    details: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One split of one task. ``evidence``: query id -> one or more places, in each of its relevant documents."""

    queries: Texts
    documents: Texts
    qrels: Qrels
    evidence: dict[str, tuple[Evidence, ...]]


def build(card: TaskCard, split: Split = "test", seed: int = SEED) -> TaskData:
    """One split of a task, generated; the mini variant of the card's task."""
    sample = generate(card.name, split, seed)
    return TaskData(
        card=card,
        variant="mini",
        provenance=Provenance(
            builder=NAME, builder_version=VERSION, source=f"generated, seed {seed}", source_revision=""
        ),
        queries=sample.queries,
        documents=sample.documents,
        qrels=sample.qrels,
        split=split,
    )


def evidence(task: str, split: Split = "test", seed: int = SEED) -> dict[str, tuple[Evidence, ...]]:
    """Where the evidence for each query of a generated task stands: query id -> places in its relevant documents."""
    return generate(task, split, seed).evidence


def generate(task: str, split: Split = "test", seed: int = SEED) -> Sample:
    """Queries, documents, qrels and evidence of a task. Raises KeyError for a task that is none of the twelve."""
    made = items(task, split, seed)
    dice = Dice(f"{seed}/{task}/{split}/order")
    # Ids say nothing about which document answers which query.
    documents = dice.shuffled([document for item in made for document in item.documents])
    names = {id(document): f"{task}-d{number:03d}" for number, document in enumerate(documents)}
    asked = dice.shuffled([item for item in made if item.query])
    queries = [(f"{task}-q{number:03d}", item) for number, item in enumerate(asked)]
    return Sample(
        queries=Texts.of(((name, item.query) for name, item in queries), "query"),
        documents=Texts.of(((names[id(document)], document.text) for document in documents), "document"),
        qrels={name: {names[id(document)]: 1 for document in item.documents} for name, item in queries},
        evidence={
            name: tuple(
                Evidence(
                    names[id(document)], span.start, span.end, _position(span.start, span.end, document), span.details
                )
                for document in item.documents
                for span in document.spans
            )
            for name, item in queries
        },
    )


def _position(start: int, end: int, document: Document) -> Position:
    third = 3 * (start + end) // (2 * len(document.text))
    return ("beginning", "middle", "end")[third]
