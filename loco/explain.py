"""One query of a result: what was retrieved, where its relevant documents stood, and what may be the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loco.errors import LocoError, unknown
from loco.models.protocols import Retriever
from loco.models.registry import load_model, model_card
from loco.rank.ranking import Hit
from loco.results import Buckets, Measurement, Result, check_run, read_result, run_path
from loco.tasks.data import TaskData, Texts, not_built, read_manifest, read_task
from loco.tokens import reference
from loco.tokens.lengths import relevant_documents
from loco.tokens.reference import count_tokens
from loco.trec import read_run, trec_id

BM25 = "bm25"
SHOWN = 10

_NAMED = 5  # queries, where a prefix has several
_BEGINNING = 80  # characters


@dataclass(frozen=True)
class Retrieved:
    """A document that was found: its ``rank`` from 1, its length in reference ``tokens``, its first words."""

    rank: int
    document: str
    score: float
    relevant: bool
    tokens: int
    beginning: str


@dataclass(frozen=True)
class Cut:
    """The ``share`` of a document's tokens that a model never saw, 0 to 1.

    ``tokens`` and ``tokens_seen`` are the model's own; None for a document that was read whole.
    """

    share: float
    tokens: int | None = None
    tokens_seen: int | None = None


@dataclass(frozen=True)
class Relevant:
    """A document that should have been found.

    - ``rank``, ``bm25_rank``: from 1. None: the model did not rank it among its best (:attr:`Explanation.depth`), or
      it has no word in common with the query, without which BM25 ranks no document.
    - ``tokens``: its length in reference tokens.
    - ``cut``: what the model never saw of it; None where the result does not say.
    """

    document: str
    grade: int
    rank: int | None
    bm25_rank: int | None
    tokens: int
    cut: Cut | None
    beginning: str


@dataclass(frozen=True)
class Explanation:
    """What there is to say of one query. ``depth`` is how many documents a query the run holds at most.

    ``retrieved`` are the first ten, ``relevant`` all relevant documents, the best placed first. ``tokenizer`` counts
    ``query_tokens`` and all other lengths but the model's own.
    """

    task: str
    variant: str
    model: str
    strategy: str
    vector_form: str
    query: str
    text: str
    query_tokens: int
    tokenizer: str
    ndcg_at_10: float
    documents: int
    depth: int
    retrieved: tuple[Retrieved, ...]
    relevant: tuple[Relevant, ...]


def explain(path: Path, query: str, data: Path) -> Explanation:
    """Explain how the result file at ``path`` comes to its score for a query.

    ``query`` is an id of the task or the beginning of just one, ``data`` the folder of built tasks. The run beside the
    result says what was retrieved, the built task what it is, and BM25 is run on that query.

    Raises LocoError for a result that was not measured, a run that is not its own, a query it does not have, and a
    task that is not built or not with the contents that were measured.
    """
    result = read_result(path)
    measurement = result.measurement
    if measurement is None:
        raise LocoError(f"{path} was reported by others, without a ranking: there is nothing to explain it by.")
    identifier = _chosen(query, measurement.per_query, path)
    check_run(path, result)
    task = _task(path, result, measurement, data)
    if identifier not in task.queries.ids:
        raise LocoError(f"{path} names a query '{identifier}' that its own task does not have. Measure again.")
    hits = _hits(run_path(path), identifier, task)
    grades = {document: task.qrels[identifier][document] for document in relevant_documents(task)[identifier]}
    ranks = {hit.document: rank for rank, hit in enumerate(hits, start=1)}
    bm25_ranks = _bm25_ranks(task, identifier)
    texts, text = dict(task.documents), _text(task, identifier)
    shown = list(dict.fromkeys([*(hit.document for hit in hits[:SHOWN]), *grades]))
    query_tokens, *counts = count_tokens([text, *map(texts.__getitem__, shown)])
    tokens = dict(zip(shown, counts, strict=True))
    relevant = [
        Relevant(
            document=document,
            grade=grade,
            rank=ranks.get(document),
            bm25_rank=bm25_ranks.get(document),
            tokens=tokens[document],
            cut=_cut(measurement.buckets, document),
            beginning=_beginning(texts[document]),
        )
        for document, grade in grades.items()
    ]
    return Explanation(
        task=result.task,
        variant=result.variant,
        model=result.model.name,
        strategy=result.strategy,
        vector_form=result.vector_form,
        query=identifier,
        text=text,
        query_tokens=query_tokens,
        tokenizer=reference.NAME,
        ndcg_at_10=measurement.per_query[identifier],
        documents=len(task.documents),
        depth=measurement.depth,
        retrieved=tuple(
            Retrieved(rank, document, score, document in grades, tokens[document], _beginning(texts[document]))
            for rank, (document, score) in enumerate(hits[:SHOWN], start=1)
        ),
        relevant=tuple(sorted(relevant, key=lambda one: (one.rank or math.inf, one.document))),
    )


def _chosen(query: str, known: Mapping[str, float], path: Path) -> str:
    """The id that ``query`` is, or is the beginning of."""
    if query in known:
        return query
    begun = [identifier for identifier in known if identifier.startswith(query)]
    if len(begun) == 1:
        return begun[0]
    if not begun:
        raise unknown("query", query, known, f"the per-query values in {path}")
    named = ", ".join(f"'{identifier}'" for identifier in sorted(begun)[:_NAMED])
    more = f" and {len(begun) - _NAMED:,} more" if len(begun) > _NAMED else ""
    raise LocoError(f"{len(begun):,} queries begin with '{query}': {named}{more}. Write more of the id.")


def _task(path: Path, result: Result, measurement: Measurement, data: Path) -> TaskData:
    """The task that was measured, as it is built in ``data``."""
    manifest = read_manifest(data, result.variant, result.task, result.split)
    if manifest is None:
        raise not_built(data, result.variant, result.task, result.split)
    if manifest.content == measurement.data.content:
        task = read_task(data, result.variant, result.task, result.split)
        if task.content == measurement.data.content:  # another build may have taken its place meanwhile
            return task
    raise LocoError(
        f"{path} was measured on other contents of task '{result.task}' ({result.variant}) than are built in {data}. "
        "Name the folder of those with --data, or measure again on these."
    )


def _hits(run: Path, query: str, task: TaskData) -> list[Hit]:
    """What a run has for a query, best first. Raises LocoError for a run that is damaged or of another task."""
    names = {trec_id(document): document for document in task.documents.ids}
    name = trec_id(query)
    try:
        return [Hit(names[document], score) for document, score in read_run(run, [name]).get(name, ())]
    except (LocoError, KeyError) as error:
        raise LocoError(f"{run} is no run of task '{task.card.name}'. Measure again with: loco eval --force") from error


def _bm25_ranks(task: TaskData, query: str) -> dict[str, int]:
    """Where BM25 ranks each document that shares a word with the query."""
    alone = Texts.of([(query, _text(task, query))], "query")
    model = load_model(model_card(BM25))
    if not isinstance(model, Retriever):
        raise LocoError(f"The model called '{BM25}' is a plug-in's, and not BM25. Remove the plug-in.")
    ranking = model.rank(replace(task, queries=alone, qrels={query: task.qrels[query]}), len(task.documents))
    return {hit.document: rank for rank, hit in enumerate(ranking.hits.get(query, ()), start=1)}


def _text(task: TaskData, query: str) -> str:
    return task.queries.texts[task.queries.ids.index(query)]


def _cut(buckets: Buckets | None, document: str) -> Cut | None:
    """What a result says of how much of a relevant document was cut."""
    if buckets is None or buckets.by_cut is None:
        return None
    cut = buckets.cut.get(document)
    return Cut(0.0) if cut is None else Cut(round(1 - cut.tokens_seen / cut.tokens, 6), cut.tokens, cut.tokens_seen)


def _beginning(text: str) -> str:
    """The first words of a text, on one line."""
    line = " ".join(text[: 8 * _BEGINNING].split())
    return line if len(line) <= _BEGINNING else f"{line[: _BEGINNING - 1]}…"
