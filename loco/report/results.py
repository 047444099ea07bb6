"""Results of evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape

from loco.report.buckets import print_buckets
from loco.report.tables import add_numbers, console, show, table
from loco.results import RerankRecord, Result
from loco.results.summary import average, equivalent, grouped
from loco.score.metrics import PRIMARY
from loco.tasks.card import task_cards

_SHOWN = ("ndcg@1", "recall@10", "recall@100", "mrr@10", "map@100")


def print_results(
    results: Sequence[Result],
    lengths: bool = False,
    parts: Sequence[tuple[Result, Sequence[str]]] = (),
) -> None:
    """Results, one table a model, strategy, vector form, variant, split and origin, with the average over its tasks;
    with ``lengths``, a second one by the length of the relevant document and by what was cut of it.

    ``parts`` are results of what the model is made of, with the model's strategies in which they are: they stand below
    it, task by task.

    Raises LocoError where two results are of the same task: which of them counts is not for a table to choose.
    """
    for group in grouped(results):
        first = group[0]
        way = f"{first.strategy}, {first.vector_form}" if first.vector_form else first.strategy
        beside = [part for part, strategies in parts if first.strategy in strategies]
        _print_group(f"{first.model.name}, {way}, {first.variant} ({first.origin})", group, beside)
        if lengths:
            print_buckets(group)


def _print_group(title: str, results: Sequence[Result], parts: Sequence[Result]) -> None:
    order = {name: place for place, name in enumerate(task_cards())}
    results = sorted(results, key=lambda result: (order.get(result.task, len(order)), result.task))
    rows = table("Task", title=escape(title))
    add_numbers(rows, "Queries", "Documents", "nDCG@10", "95 % interval", *map(_heading, _SHOWN))
    add_numbers(rows, "Documents cut", "Tokens unseen", "Seconds")
    for result in results:
        rows.add_row(escape(result.task) + (" (equivalent)" if equivalent(result) else ""), *_figures(result))
        for part in parts:
            if part.task == result.task:
                rows.add_row(f"  {escape(_way(part))}", *_figures(part))
    show(rows)
    for remark in _remarks(results):
        console().print(escape(remark), soft_wrap=True)
    console().print(f"[bold]nDCG@10 {average(results):.4f}[/bold] on average over {_over(results)}")
    for theirs in grouped(parts):
        if len(results) > 1:
            console().print(f"  {average(theirs):.4f} {escape(_way(theirs[0]))}", soft_wrap=True)


def _way(result: Result) -> str:
    """A part by name and strategy."""
    return f"{result.model.name}, {result.strategy}"


def _figures(result: Result) -> tuple[str, ...]:
    """A result's row, behind what it is called."""
    primary, measurement = result.metrics[PRIMARY], result.measurement
    counts = measurement.data.counts if measurement else None
    interval = "" if primary.low is None or primary.high is None else f"{primary.low:.4f} to {primary.high:.4f}"
    return (
        f"{counts.queries:,}" if counts else "",
        f"{counts.documents:,}" if counts else "",
        f"{primary.value:.4f}",
        interval,
        *(f"{result.metrics[name].value:.4f}" if name in result.metrics else "" for name in _SHOWN),
        *_unseen(result),
        f"{measurement.seconds:.2f}" if measurement else "",
    )


def _unseen(result: Result) -> tuple[str, str]:
    """How many documents were cut, and the share of their tokens that the model never saw."""
    seen = result.measurement.documents if result.measurement else None
    if seen is None:
        known = "by part" if result.measurement and result.measurement.parts else "not known"
        return (known, known) if result.measurement else ("", "")
    return f"{seen.texts_cut:,}", f"{1 - seen.tokens_seen / seen.tokens:.1%}" if seen.tokens else ""


def _remarks(results: Sequence[Result]) -> Iterator[str]:
    """What a reader of the table must know beside it."""
    if results[0].model.untrained:
        yield "Its weights were drawn at random: these are no scores of a trained model, and are never ranked."
    measured = [(result.task, result.measurement) for result in results if result.measurement is not None]
    for task, measurement in measured:
        queries, documents = measurement.queries, measurement.documents
        if queries is not None and queries.texts_cut:
            unseen = 1 - queries.tokens_seen / queries.tokens
            yield f"{task}: {queries.texts_cut:,} of {queries.texts:,} queries cut, {unseen:.1%} of all tokens unseen."
        for seen, what in (
            (queries, "queries are empty and find nothing"),
            (documents, "documents are empty and are never found"),
        ):
            if seen is not None and seen.texts_empty:
                yield f"{task}: {seen.texts_empty:,} of {seen.texts:,} {what}."
    for task, measurement in measured:
        if measurement.rerank is not None:
            yield from _reranked(task, measurement.rerank)
    if any(measurement.parts for _, measurement in measured):
        yield "Its seconds hold those of its parts only where these were not measured just before it."
    vectors = [measurement.vectors for _, measurement in measured if measurement.vectors is not None]
    if vectors:
        size = sum(one.bytes_per_document for one in vectors) / len(vectors)
        yield f"Vectors of {vectors[0].dim:,} numbers, {size:,.0f} bytes a document."
    together = sorted({name for _, measurement in measured for name in measurement.together_with})
    if together:
        yield f"Seconds are those of a pass shared with {', '.join(together)}."
    reused = sum(one.inputs_reused for one in vectors)
    if reused:
        known = reused + sum(one.inputs_encoded for one in vectors)
        yield f"Seconds say nothing about the model: {reused:,} of {known:,} inputs stood in the embedding store."


def _reranked(task: str, done: RerankRecord) -> Iterator[str]:
    """What a reranking took, and what was cut for it."""
    inputs = done.inputs_scored + done.inputs_reused
    yield (
        f"{task}: {done.pairs:,} pairs reranked, the {done.depth} best of each query, read as {inputs:,} inputs "
        f"({done.inputs_reused:,} of them scored before)."
    )
    if done.documents_cut:
        yield (
            f"{task}: in {done.documents_cut:,} of {done.pairs:,} pairs the reranker did not read the document to the "
            f"end, {done.document_tokens_cut:,} tokens."
        )
    if done.queries_cut:
        yield f"{task}: the reranker did not read {done.queries_cut:,} queries to the end beside some document."
    if done.pairs_blank:
        yield f"{task}: {done.pairs_blank:,} pairs had an empty side, and stayed behind those with a score."


def _over(results: Sequence[Result]) -> str:
    """What an average is over, in words."""
    of = "" if results[0].variant == "imported" else f" of {len(task_cards())}"
    stand_ins = sum(bool(equivalent(result)) for result in results)
    also = f", {stand_ins} of them rebuilt as an equivalent" if stand_ins else ""
    return f"{len(results)}{of} task{'' if len(results) == 1 and not of else 's'}{also}"


def _heading(measure: str) -> str:
    return measure.replace("ndcg", "nDCG").replace("mrr", "MRR").replace("map", "MAP").replace("recall", "Recall")
