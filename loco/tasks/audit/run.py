"""Audit a task: one pass over its queries, one over its documents, one lexical ranking."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.models.protocols import Retriever
from loco.models.registry import load_model, model_card
from loco.progress import tracked
from loco.score.metrics import PRIMARY, score
from loco.tasks.audit.ceiling import DEPTH, DERIVATION, expected_ndcg
from loco.tasks.audit.duplicates import SHINGLE_WORDS, THRESHOLD, NearDuplicates, Shingler
from loco.tasks.audit.overlap import built_overlap, digest, overlap
from loco.tasks.audit.record import (
    Audit,
    Ceiling,
    DuplicateDocuments,
    Groups,
    LexicalScore,
    QueryFindings,
    TextFindings,
    TrainOverlap,
    write_audit,
)
from loco.tasks.audit.texts import TextScan
from loco.tasks.audit.words import normalised, segments, words_of
from loco.tasks.data import TaskData, Texts, Variant, read_task
from loco.tokens import reference

LEXICAL_MODEL = "bm25"


def audit(task: TaskData, train: TaskData | TrainOverlap | None = None, *, retriever: Retriever | None = None) -> Audit:
    """Everything about a task that should make a reader of its scores careful.

    ``train``: its train split, where there is one, to look for overlap, or the overlap already found. ``retriever``:
    the lexical model, by default the installed model named bm25. Progress shows on standard error where that is a
    terminal.

    Memory beyond the task itself: about 8 bytes a word and 20 KB a document. Raises LocoError where the
    lexical model is missing.
    """
    near = NearDuplicates()
    if retriever is None:
        retriever = _lexical_model()
    queries, query_texts = _scan_queries(task.queries)
    documents = _scan_documents(task, queries, near)
    return Audit(
        schema_version=1,
        task=task.card.name,
        variant=task.variant,
        split=task.split,
        content=task.content,
        queries=len(task.queries),
        documents=len(task.documents),
        ceiling=_ceiling(task, documents),
        train_overlap=overlap(task, train) if isinstance(train, TaskData) else train,
        duplicate_documents=DuplicateDocuments(
            shingle_words=SHINGLE_WORDS,
            threshold=THRESHOLD,
            exact=_groups(documents.exact),
            near=_groups(documents.near),
            distinct_exact=len(set(documents.exact.values())),
            distinct_near=len(set(documents.near.values())),
        ),
        query_findings=_query_findings(task, queries, documents),
        dropped_when_built=dict(sorted(task.provenance.dropped.items())),
        reference_tokenizer=reference.NAME,
        query_texts=query_texts,
        document_texts=documents.texts,
        lexical=_lexical(task, retriever),
    )


def _lexical_model() -> Retriever:
    model = load_model(model_card(LEXICAL_MODEL))
    if not isinstance(model, Retriever):
        raise LocoError(f"The model '{LEXICAL_MODEL}' is a plug-in's encoder here; the audit needs the lexical one.")
    return model


def audit_built(data: Path, variant: Variant, task: str, *, retriever: Retriever | None = None) -> Audit:
    """Audit a built task, against its train split where that is built too, and write ``audit.json`` beside it.

    Raises LocoError for a task that is not built or is damaged, and what :func:`audit` raises.
    """
    test = read_task(data, variant, task)
    found = audit(test, built_overlap(data, variant, task), retriever=retriever)
    write_audit(found, data)
    return found


@dataclass(frozen=True)
class _Query:
    """A query to look for in documents. ``inner`` are its words but the first and the last."""

    text: str
    inner: frozenset[str]


@dataclass(frozen=True)
class _Documents:
    """What the pass over the documents found. ``exact`` and ``near``: document id -> the number of its group."""

    texts: TextFindings
    exact: Mapping[str, int]
    near: Mapping[str, int]
    verbatim_in_relevant: frozenset[str]
    verbatim_anywhere: frozenset[str]


def _scan_queries(queries: Texts) -> tuple[dict[str, _Query], TextFindings]:
    scan = TextScan()
    found: dict[str, _Query] = {}
    for identifier, text in queries:
        scan.add(identifier, text)
        found[identifier] = _Query(normalised(text), frozenset(words_of(segments(text))[1:-1]))
    return found, scan.findings()


def _scan_documents(task: TaskData, queries: Mapping[str, _Query], near: NearDuplicates) -> _Documents:
    scan, shingler = TextScan(), Shingler()
    by_text: dict[bytes, int] = {}
    exact: dict[str, int] = {}
    in_relevant: set[str] = set()
    anywhere: set[str] = set()
    for number, (identifier, text) in enumerate(tracked(list(task.documents), f"audit {task.card.name}")):
        scan.add(identifier, text)
        plain, words = normalised(text), words_of(segments(text))
        exact[identifier] = by_text.setdefault(digest(text), number)
        if exact[identifier] == number:
            near.add(number, shingler.shingles(words))
        vocabulary = set(words)
        for name, query in queries.items():
            # A text that holds the query holds its inner words whole, so this only spares searches in vain.
            if query.inner <= vocabulary and query.text and query.text in plain:
                anywhere.add(name)
                if task.qrels[name].get(identifier, 0) > 0:
                    in_relevant.add(name)
    return _Documents(
        texts=scan.findings(),
        exact=exact,
        near={identifier: near.group(number) for identifier, number in exact.items()},
        verbatim_in_relevant=frozenset(in_relevant),
        verbatim_anywhere=frozenset(anywhere),
    )


def _query_findings(task: TaskData, queries: Mapping[str, _Query], documents: _Documents) -> QueryFindings:
    by_text: dict[str, list[str]] = {}
    for identifier, query in queries.items():
        by_text.setdefault(query.text, []).append(identifier)
    relevant = {name: frozenset(d for d, grade in grades.items() if grade > 0) for name, grades in task.qrels.items()}
    torn = {name for names in by_text.values() if len({relevant[name] for name in names}) > 1 for name in names}
    elsewhere = documents.verbatim_anywhere - documents.verbatim_in_relevant
    return QueryFindings(
        same_text=_largest_first(by_text.values()),
        same_text_other_relevant=tuple(name for name in queries if name in torn),
        verbatim_in_relevant=tuple(name for name in queries if name in documents.verbatim_in_relevant),
        verbatim_elsewhere=tuple(name for name in queries if name in elsewhere),
    )


def _ceiling(task: TaskData, documents: _Documents) -> Ceiling:
    near, exact = (_expected(task, groups) for groups in (documents.near, documents.exact))
    return Ceiling(
        near_duplicates=round(math.fsum(near) / len(near), 6),
        exact_duplicates=round(math.fsum(exact) / len(exact), 6),
        queries_below_one=sum(value < 1 - 1e-9 for value in near),
        derivation=DERIVATION,
    )


def _expected(task: TaskData, groups: Mapping[str, Hashable]) -> list[float]:
    sizes = Counter(groups.values())
    return [expected_ndcg(task.qrels[query], groups, sizes) for query in task.queries.ids]


def _lexical(task: TaskData, retriever: Retriever) -> LexicalScore:
    scores = score(task.qrels, retriever.rank(task, DEPTH).hits)
    return LexicalScore(
        model=retriever.card.name, revision=retriever.card.revision, ndcg_at_10=round(scores.means[PRIMARY], 6)
    )


def _groups(group: Mapping[str, int]) -> Groups:
    members: dict[int, list[str]] = {}
    for identifier, number in group.items():
        members.setdefault(number, []).append(identifier)
    return _largest_first(members.values())


def _largest_first(groups: Iterable[list[str]]) -> Groups:
    """Groups of more than one, the largest first, else in the order of the task, as their members are."""
    return tuple(tuple(group) for group in sorted(groups, key=len, reverse=True) if len(group) > 1)
