"""What is shown to a model in one epoch: queries with a relevant document and others of the same task."""

from __future__ import annotations

import hashlib
import math
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
    """Rows (query, positive, negative), or without negatives (query, positive), each a place in ``queries`` or
    ``documents``: shape (rows, 3) or (rows, 2).

    ``groups``: the distinct texts of each document, as a number that equal texts share. ``relevant``: for each query
    the groups of its relevant documents, and of those of queries with the same text. ``sets``: for each query the
    number of the train split that it comes from. ``notes`` tell what is otherwise than asked for; ``counts`` has how
    many queries each task gives.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    rows: Ints
    groups: Ints
    relevant: Sequence[frozenset[int]]
    sets: Sequence[int]
    notes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


def triples(
    trains: Sequence[TaskData],
    negatives: int,
    most_queries: int | None,
    seed: int,
    leave_out: frozenset[tuple[int, str]] = frozenset(),
    hard: Retriever | None = None,
) -> Triples:
    """For each query and each of its relevant documents, ``negatives`` rows with as many documents that are neither
    relevant to it (or to a query of the same text) nor equal to one that is: drawn at random from the same task,
    without one coming twice; or, with a retriever, those that it ranks highest. 0 ``negatives`` make one row without.

    ``most_queries`` bounds the queries of a task, drawn at random. ``leave_out`` are (number of the train split, query
    id) not to be trained on. Each split is drawn for itself, whatever the others are, except that what answers a query
    of the same text there is no negative here. A task with fewer documents gives as many as it has, which ``notes``
    say. Raises LocoError for a task without any.
    """
    queries: list[str] = []
    documents: list[str] = []
    by_text: dict[bytes, int] = {}
    groups: list[int] = []
    relevant: list[frozenset[int]] = []
    rows: list[tuple[int, ...]] = []
    sets: list[int] = []
    notes: list[str] = []
    counts: list[int] = []
    answers: dict[bytes, set[int]] = {}  # of equal queries together, in all splits: what answers one is wrong for none
    grouped: list[Ints] = []
    found: list[dict[str, list[int]]] = []  # of each split, for each query the places of its relevant documents
    for train in trains:
        grouped.append(np.array([by_text.setdefault(digest(text), len(by_text)) for text in train.documents.texts]))
        places = {identifier: place for place, identifier in enumerate(train.documents.ids)}
        found.append({identifier: _positives(train, places, identifier) for identifier in train.queries.ids})
        for identifier, text in train.queries:
            answers.setdefault(digest(text), set()).update(grouped[-1][found[-1][identifier]].tolist())
    for number, (train, here) in enumerate(zip(trains, grouped, strict=True)):
        drawn = np.random.default_rng([seed, number_of(f"{train.variant}/{train.card.name}"), number])
        first = len(documents)
        documents += train.documents.texts
        groups += here.tolist()
        first_copies = np.sort(np.unique(here, return_index=True)[1])  # of documents that stand in a pool twice
        left_out = {query for split, query in leave_out if split == number}
        chosen = _chosen(train, most_queries, left_out, drawn)
        ranked = _ranked(train, hard, negatives)
        fewest = negatives
        for identifier, text in chosen:
            positives = found[number][identifier]
            relevant.append(frozenset(answers[digest(text)]))
            others = first_copies[~np.isin(here[first_copies], list(relevant[-1]))]
            if negatives and not len(others):
                raise LocoError(
                    f"{train.card.name}.train has no document that is not relevant to query '{identifier}', so nothing"
                    " to tell it from. Leave the task out."
                )
            for positive in positives:
                if not negatives:
                    rows.append((len(queries), first + positive))
                    continue
                wanted = min(negatives, len(others))
                fewest = min(fewest, wanted)
                picked = ranked(identifier, others)[:wanted] if hard else drawn.choice(others, wanted, replace=False)
                if len(picked) < wanted:  # a lexical model finds nothing else that shares a word
                    rest = np.setdiff1d(others, picked)
                    picked = [*picked, *drawn.choice(rest, wanted - len(picked), replace=False)]
                rows += [(len(queries), first + positive, first + int(negative)) for negative in picked]
            queries.append(text)
            sets.append(number)
        counts.append(len(chosen))
        if fewest < negatives:
            notes.append(
                f"{train.card.name}.train has {len(train.documents)} documents, so as few as {fewest} negatives a pair"
                f" instead of {negatives}."
            )
    if not rows:
        raise LocoError("There is nothing to train on: no query is left. Name other tasks, or a larger --max-queries.")
    table = np.array(rows, dtype=np.int64)
    return Triples(queries, documents, table, np.array(groups), relevant, sets, tuple(notes), tuple(counts))


def _positives(train: TaskData, places: Mapping[str, int], query: str) -> list[int]:
    return [places[document] for document, grade in train.qrels[query].items() if grade > 0]


def number_of(text: str) -> int:
    """A number of 63 bits that a text always has."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def order(seed: int, epoch: int, count: int) -> Ints:
    """The order of ``count`` examples in an epoch."""
    return np.random.default_rng([seed, number_of("order"), epoch]).permutation(count)


def batches_without_answers(
    made: Triples, seed: int, epoch: int, size: int, one_set: bool = False
) -> Iterator[list[int]]:
    """An epoch of rows in batches of ``size`` in which no document is relevant to another row's query.

    Nor does a text come twice. A row that does not go into a batch waits for a later one; at the end, where only rows
    are left that do not go together, batches are smaller than ``size``. With ``one_set`` all rows of a batch come from
    one train split, which is cut into batches as equal as can be. A row alone and without a negative has nothing to be
    told from and is left out.
    """
    every = order(seed, epoch, len(made.rows))
    least = 2 if made.rows.shape[1] == 2 else 1
    sets = np.asarray(made.sets)[made.rows[every, 0]] * one_set
    for number in np.unique(sets):
        rows = every[sets == number].tolist()
        equal = math.ceil(len(rows) / math.ceil(len(rows) / size)) if one_set else size
        yield from (batch for batch in _apart(made, rows, equal) if len(batch) >= least)


def _apart(made: Triples, rows: list[int], size: int) -> Iterator[list[int]]:
    waiting = deque(rows)
    while waiting:
        batch: list[int] = []
        asked: set[int] = set()
        shown: set[int] = set()
        answers: set[int] = set()
        passed: list[int] = []
        while waiting and len(batch) < size and len(passed) < _LOOKS * size:
            row = waiting.popleft()
            query, *documents = made.rows[row].tolist()
            texts = {int(made.groups[document]) for document in documents}
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


def _chosen(train: TaskData, most: int | None, left_out: set[str], drawn: np.random.Generator) -> list[tuple[str, str]]:
    every = [query for query in train.queries if query[0] not in left_out]
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
