"""Query time of bm25 against bm25-rank, promised at least 100 times below: queries of 2,500 words over 770 documents
of 8,000 words, made from a seed (60,000 word forms by Zipf's law).

Both run as `loco eval` runs them; the figure is the phase "search" (analysing the queries, scoring all documents,
selecting 100) by query. bm25 answers 770 queries, bm25-rank the first few of the same, as it takes long.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from zipf import texts_of

from loco.models.registry import load_model, model_card
from loco.phases import recording
from loco.tasks.card import task_card
from loco.tasks.data import Provenance, TaskData, Texts

QUERIES, SAMPLE, DOCUMENTS = 770, 8, 770
QUERY_WORDS, DOCUMENT_WORDS = 2_500, 8_000
RUNS = 3


def task_of(queries: Sequence[str], documents: Sequence[str]) -> TaskData:
    """The texts as a task; what is relevant is of no interest here."""
    return TaskData(
        card=task_card("legal_case_reports"),
        variant="mini",
        provenance=Provenance(builder="benchmark", builder_version=1, source="made from a seed", source_revision=""),
        queries=Texts.of(((f"q{i}", text) for i, text in enumerate(queries)), "query"),
        documents=Texts.of(((f"d{i}", text) for i, text in enumerate(documents)), "document"),
        qrels={f"q{i}": {"d0": 1} for i in range(len(queries))},
    )


def seconds_a_query(model: str, task: TaskData) -> float:
    """The phase "search" of one whole evaluation, divided by its queries."""
    with recording() as phases:
        load_model(model_card(model)).rank(task, 100)
    return phases["search"].seconds / len(task.queries)


queries = texts_of(QUERIES, QUERY_WORDS, seed=1)
documents = texts_of(DOCUMENTS, DOCUMENT_WORDS, seed=2)
every, few = task_of(queries, documents), task_of(queries[:SAMPLE], documents)
pairs = [(seconds_a_query("bm25", every), seconds_a_query("bm25-rank", few)) for _ in range(RUNS)]
ratios = sorted(slow / fast for fast, slow in pairs)
print(f"bm25       {statistics.median(fast for fast, _ in pairs) * 1e3:9.2f} ms a query, {QUERIES} queries")
print(f"bm25-rank  {statistics.median(slow for _, slow in pairs) * 1e3:9.2f} ms a query, the first {SAMPLE} of them")
print(f"bm25 is {statistics.median(ratios):.0f} times as fast, {ratios[0]:.0f} to {ratios[-1]:.0f} in {RUNS} pairs")
