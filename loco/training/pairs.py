"""What is shown to a model in one epoch: queries with a relevant document and others of the same task."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loco.errors import LocoError
from loco.models.protocols import Retriever
from loco.tasks.audit.overlap import digest
from loco.tasks.data import TaskData

Ints = npt.NDArray[np.int64]

_LOOKS = 64  # rows looked at for each that a batch takes
_SPARE = 100  # ranked documents beside those wanted, as some will be relevant


@dataclass(frozen=True, eq=False)
class Triples:
    """Rows (query, positive, negative), each a place in ``queries`` or ``documents``: shape (rows, 3).

    ``groups``: the distinct texts of each document, as a number that equal texts share. ``relevant``: for each query
    the groups of its relevant documents, and of those of queries with the same text. ``notes`` tell what is otherwise
    than asked for; ``counts`` has how many queries each task gives.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    rows: Ints
    groups: Ints
    relevant: Sequence[frozenset[int]]
    notes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


def triples(
    trains: Sequence[TaskData],
    negatives: int,
    most_queries: int | None,
    seed: int,
    leave_out: frozenset[tuple[str, str]] = frozenset(),
    hard: Retriever | None = None,
) -> Triples:
    """For each query and each of its relevant documents, ``negatives`` rows with as many documents that are neither
    relevant to it (or to a query of the same text) nor equal to one that is: drawn at random from the same task,
    without one coming twice; or, with a retriever, those that it ranks highest.

    ``most_queries`` bounds the queries of a task, drawn at random. ``leave_out`` are (task, query id) not to be trained
    on. Each task is drawn for itself, whatever the others are. A task with fewer documents gives as many as it has,
    which ``notes`` say. Raises LocoError for a task without any.
    """
    queries: list[str] = []
    documents: list[str] = []
    by_text: dict[bytes, int] = {}
    groups: list[int] = []
    relevant: list[frozenset[int]] = []
    rows: list[tuple[int, int, int]] = []
    notes: list[str] = []
    counts: list[int] = []
    for number, train in enumerate(trains):
        drawn = np.random.default_rng([seed, number_of(f"{train.variant}/{train.card.name}"), number])
        first = len(documents)
        here = np.array([by_text.setdefault(digest(text), len(by_text)) for text in train.documents.texts])
        documents += train.documents.texts
        groups += here.tolist()
        places = {identifier: place for place, identifier in enumerate(train.documents.ids)}
        chosen = _chosen(train, most_queries, leave_out, drawn)
        ranked = _ranked(train, hard, negatives)
        fewest = negatives
        answers: dict[bytes, set[int]] = {}  # of equal queries together: what one is answered by is wrong for none
        for identifier, text in train.queries:
            answers.setdefault(digest(text), set()).update(here[_positives(train, places, identifier)].tolist())
        for identifier, text in chosen:
            positives = _positives(train, places, identifier)
            theirs = frozenset(answers[digest(text)])
            others = np.flatnonzero(~np.isin(here, list(theirs)))
            if not len(others):
                raise LocoError(
                    f"{train.card.name}.train has no document that is not relevant to query '{identifier}', so nothing"
                    " to tell it from. Leave the task out."
                )
            for positive in positives:
                wanted = min(negatives, len(others))
                fewest = min(fewest, wanted)
                picked = ranked(identifier, others)[:wanted] if hard else drawn.choice(others, wanted, replace=False)
                if len(picked) < wanted:  # a lexical model finds nothing else that shares a word
                    rest = np.setdiff1d(others, picked)
                    picked = [*picked, *drawn.choice(rest, wanted - len(picked), replace=False)]
                rows += [(len(queries), first + positive, first + int(negative)) for negative in picked]
            queries.append(text)
            relevant.append(theirs)
        counts.append(len(chosen))
        if fewest < negatives:
            notes.append(
                f"{train.card.name}.train has {len(train.documents)} documents, so as few as {fewest} negatives a pair"
                f" instead of {negatives}."
            )
    if not rows:
        raise LocoError("There is nothing to train on: no query is left. Name other tasks, or a larger --max-queries.")
    return Triples(
        queries, documents, np.array(rows, dtype=np.int64), np.array(groups), relevant, tuple(notes), tuple(counts)
    )


def _positives(train: TaskData, places: Mapping[str, int], query: str) -> list[int]:
    return [places[document] for document, grade in train.qrels[query].items() if grade > 0]


def number_of(text: str) -> int:
    """A number of 63 bits that a text always has."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def order(seed: int, epoch: int, count: int) -> Ints:
    """The order of ``count`` examples in an epoch."""
    return np.random.default_rng([seed, number_of("order"), epoch]).permutation(count)


def batches_without_answers(made: Triples, seed: int, epoch: int, size: int) -> Iterator[list[int]]:
    """An epoch of rows in batches of ``size`` in which no document is relevant to another row's query.

    Nor does a text come twice. A row that does not go into a batch waits for a later one; at the end, where only rows
    are left that do not go together, batches are smaller than ``size``.
    """
    waiting = deque(order(seed, epoch, len(made.rows)).tolist())
    while waiting:
        batch: list[int] = []
        asked: set[int] = set()
        shown: set[int] = set()
        answers: set[int] = set()
        passed: list[int] = []
        while waiting and len(batch) < size and len(passed) < _LOOKS * size:
            row = waiting.popleft()
            query, positive, negative = made.rows[row].tolist()
            texts = {int(made.groups[positive]), int(made.groups[negative])}
            theirs = made.relevant[query]
            if query in asked or shown & texts or shown & theirs or answers & texts:
                passed.append(row)
                continue
            batch.append(row)
            asked.add(query)
            shown |= texts
            answers |= theirs
        waiting.extendleft(reversed(passed))
        yield batch


def _chosen(
    train: TaskData, most: int | None, leave_out: frozenset[tuple[str, str]], drawn: np.random.Generator
) -> list[tuple[str, str]]:
    every = [query for query in train.queries if (train.card.name, query[0]) not in leave_out]
    if most is None or len(every) <= most:
        return every
    return [every[place] for place in sorted(drawn.choice(len(every), most, replace=False))]


def _ranked(train: TaskData, hard: Retriever | None, negatives: int) -> Callable[[str, Ints], list[int]]:
    """For a query, those of some documents that a retriever ranks highest, in its order."""
    if hard is None:
        return lambda identifier, others: []
    hits = hard.rank(train, min(len(train.documents), negatives + _SPARE)).hits
    places = {identifier: place for place, identifier in enumerate(train.documents.ids)}

    def ranked(identifier: str, others: Ints) -> list[int]:
        allowed = set(others.tolist())
        return [place for hit in hits.get(identifier, ()) if (place := places[hit.document]) in allowed]

    return ranked
