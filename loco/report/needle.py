"""Needle results."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape

from loco.needle.drawing import short_length
from loco.needle.published import published
from loco.report.tables import add_numbers, console, show, table
from loco.results.needle import NeedleResult


def print_needle(result: NeedleResult) -> None:
    """A result as a table by position, or by length and position, with what a reader must know beside it."""
    made = result.haystacks
    way = f"{result.strategy}, {result.vector_form}" if result.vector_form else result.strategy
    title = f"{result.model.name}, {way}: {made.queries:,} queries of {made.source}"
    if made.lengths:
        _print_map(result, title)
    else:
        _print_curve(result, title)
    for remark in _remarks(result):
        console().print(escape(remark), soft_wrap=True)


def _print_curve(result: NeedleResult, title: str) -> None:
    rows = table(title=escape(title))
    add_numbers(rows, "Position", "nDCG@10", "95 % interval", "Tokens unseen")
    for cell in result.cells:
        low, high, seen = cell.ndcg.low or 0.0, cell.ndcg.high or 0.0, cell.documents
        unseen = "not known" if seen is None else f"{1 - seen.tokens_seen / seen.tokens:.1%}" if seen.tokens else ""
        rows.add_row(f"{cell.position}", f"{cell.ndcg.value:.4f}", f"{low:.4f} to {high:.4f}", unseen)
    show(rows)


def _print_map(result: NeedleResult, title: str) -> None:
    made = result.haystacks
    rows = table("Length", title=escape(f"{title}, nDCG@10 by the share of passages before the gold one"))
    add_numbers(rows, "Passages", "Tokens unseen", *(f"{cell.depth:.0%}" for cell in result.cells[: made.positions]))
    for length in made.lengths:
        cells = [cell for cell in result.cells if cell.length == length]
        seen = cells[0].documents
        unseen = "not known" if seen is None else f"{1 - seen.tokens_seen / seen.tokens:.1%}" if seen.tokens else ""
        values = [f"{cell.ndcg.value:.3f}" for cell in cells]
        rows.add_row(short_length(length), f"{cells[0].passages:,.0f}", unseen, *values)
    show(rows)


def _remarks(result: NeedleResult) -> Iterator[str]:
    made, saving = result.haystacks, result.saving
    yield f"Chance is {result.chance:.4f}: one relevant document among {made.queries:,}."
    if result.order_free:
        yield (
            "The order of words does not matter to this model: one position was ranked and stands for all "
            f"{made.positions}."
        )
    if saving is not None:
        times = saving.inputs_asked / saving.inputs_distinct if saving.inputs_distinct else 1.0
        tokens = (
            ""
            if saving.tokens_asked is None
            else f"; in tokens: {saving.tokens_asked:,}, {saving.tokens_distinct:,}, {saving.tokens_encoded:,}"
        )
        yield (
            f"{saving.inputs_asked:,} inputs asked for, {saving.inputs_distinct:,} of them different "
            f"({times:.1f} times fewer), {saving.inputs_encoded:,} encoded in this run{tokens}."
        )
    if not made.lengths:
        yield (
            f"Dashed in the figure are the LoCoV1 paper's models ({published().source}): by other passages and another "
            "number of queries, so at another chance."
        )
    if made.queries_passed_over:
        yield (
            f"{made.queries_passed_over:,} queries were passed over: their gold passage was another's too, or too few "
            "passages were without their answer."
        )
    if not made.answers_known:
        yield "The source does not say what the answers are: a distractor may hold one."
    yield f"Haystacks {made.sha256[:16]} (seed {made.seed}); results with the same hash searched the same documents."
