"""Comparisons and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.markup import escape

from loco.compare.pairs import Comparison, Pair, QueryDifference, Tested
from loco.compare.ranks import Ranked, Ranking
from loco.compare.sides import Side
from loco.compare.statistics import FLIPS, LEVEL, Estimate
from loco.compare.verdict import probability, verdict
from loco.report.tables import add_numbers, console, counted, show, table
from loco.results.summary import equivalent
from loco.score.bootstrap import SEED
from loco.score.resampling import CONFIDENCE, RESAMPLES


def print_comparison(comparison: Comparison) -> None:
    """A table, a verdict and the queries that differ most for each pair; then how it was all found out."""
    for pair in comparison.pairs:
        _print_pair(pair)
    _print_notes(comparison.notes)
    console().print(
        f"[dim]Differences are B - A. Intervals: {_bootstrap()}, both sides with the same draws, outer of percentile "
        f"and basic; each holds by itself. "
        f"p: {_randomization()}, then corrected by Holm for all {counted(comparison.tests, 'test')} made here; "
        f"distinguishable means below {LEVEL}. Seed {SEED}.[/dim]",
        soft_wrap=True,
    )


def print_ranking(ranking: Ranking) -> None:
    """The sides by rank, each with its band."""
    first = ranking.ranked[0].side
    title = f"Average nDCG@10 over {counted(len(ranking.tasks), 'task')}, variant {first.variant}"
    console().print(escape(f"{title}: {', '.join(ranking.tasks)}."), soft_wrap=True)
    rows = table()
    add_numbers(rows, "Rank", "Band")
    rows.add_column("Model, strategy")
    add_numbers(rows, "nDCG@10", "95 % interval")
    rows.add_column("")
    for one in ranking.ranked:
        band = f"{one.best}" if one.best == one.worst else f"{one.best} to {one.worst}"
        low_to_high = f"{one.average.low:.4f} to {one.average.high:.4f}"
        remark = "trained on LoCo" if one.side.model.trained_on_loco else ""
        rows.add_row(_rank(one), band, _plain(one.side.label), f"{one.average.value:.4f}", low_to_high, remark)
    show(rows)
    _print_notes(ranking.notes)
    console().print(
        f"[dim]A band holds the ranks that the data leave open: all bands together are right with {CONFIDENCE:.0%} "
        f"confidence. {counted(ranking.tests, 'pair')} of sides tested: {_randomization()}, corrected by Holm. "
        f"Intervals: {_bootstrap()}, BCa. Seed {SEED}.[/dim]",
        soft_wrap=True,
    )


def comparison_record(comparison: Comparison) -> dict[str, object]:
    """A comparison for machines."""
    first = comparison.pairs[0].first
    return {
        "variant": first.variant,
        "split": first.split,
        "first": _side(first),
        "comparisons": [
            {
                "other": _side(pair.other),
                "verdict": verdict(pair),
                "average": _tested(pair.average) if pair.average else None,
                "tasks": [
                    {
                        "task": row.task,
                        "queries": row.queries,
                        **_tested(row.tested),
                        "wins": row.wins,
                        "ties": row.ties,
                        "losses": row.losses,
                    }
                    for row in pair.tasks
                ],
                "largest": [asdict(row) for row in pair.largest],
                "only_first": pair.only_first,
                "only_other": pair.only_other,
            }
            for pair in comparison.pairs
        ],
        "tests": comparison.tests,
        "notes": comparison.notes,
        "statistics": _statistics("outer of percentile and basic, paired"),
    }


def ranking_record(ranking: Ranking) -> dict[str, object]:
    """Ranks for machines."""
    return {
        "variant": ranking.ranked[0].side.variant,
        "split": ranking.ranked[0].side.split,
        "tasks": ranking.tasks,
        "ranks": [
            {
                **_side(one.side),
                "rank": one.rank,
                "tied": one.tied,
                "best": one.best,
                "worst": one.worst,
                "average": _estimate(one.average),
            }
            for one in ranking.ranked
        ],
        "tests": ranking.tests,
        "notes": ranking.notes,
        "statistics": _statistics("bias-corrected and accelerated"),
    }


def _print_pair(pair: Pair) -> None:
    out = console()
    out.print(f"[bold]A[/bold]  {_plain(pair.first.label)}", soft_wrap=True)
    out.print(f"[bold]B[/bold]  {_plain(pair.other.label)}", soft_wrap=True)
    rows = table(f"Task ({pair.first.variant})")
    add_numbers(rows, "Queries", "A", "B", "B - A", "95 % interval", "p", "corrected", "B wins", "Ties", "A wins")
    rows.add_column("B is")
    for row in pair.tasks:
        stand_in = equivalent(pair.first.tasks[row.task].result) or equivalent(pair.other.tasks[row.task].result)
        rows.add_row(
            escape(row.task) + (" (equivalent)" if stand_in else ""),
            f"{row.queries:,}",
            *_cells(row.tested),
            f"{row.wins:,}",
            f"{row.ties:,}",
            f"{row.losses:,}",
            row.tested.verdict,
        )
    if pair.average is not None:
        counts = (f"{sum(getattr(row, name) for row in pair.tasks):,}" for name in ("wins", "ties", "losses"))
        queries = f"{sum(row.queries for row in pair.tasks):,}"
        what = f"average of {len(pair.tasks)} tasks"
        rows.add_row(what, queries, *_cells(pair.average), *counts, pair.average.verdict, style="bold")
    show(rows)
    out.print(f"[bold]{_plain(verdict(pair))}[/bold]", soft_wrap=True)
    for letter, tasks in (("A", pair.only_first), ("B", pair.only_other)):
        if tasks:
            out.print(escape(f"Left out, as only {letter} has it: {', '.join(tasks)}."), soft_wrap=True)
    if pair.largest:
        _print_largest(pair)
    out.print()


def _print_largest(pair: Pair) -> None:
    title = (
        "The query that differs most" if len(pair.largest) == 1 else f"The {len(pair.largest)} queries that differ most"
    )
    rows = table("Task", "Query", title=title)
    add_numbers(rows, "A", "B")
    rows.add_column("Relevant document")
    add_numbers(rows, "Position in A", "in B")
    for row in pair.largest:
        depth = pair.first.tasks[row.task].measurement.depth, pair.other.tasks[row.task].measurement.depth
        named = (escape(row.task), _plain(row.query), f"{row.first:.4f}", f"{row.other:.4f}")
        rows.add_row(*named, *_document(row, depth))
    show(rows)


def _document(row: QueryDifference, depth: tuple[int, int]) -> tuple[str, ...]:
    """The relevant document whose positions lie furthest apart, and these."""
    if not row.relevant:
        return "not known", "", ""
    one = row.relevant[0]
    more = f" (and {len(row.relevant) - 1} more)" if len(row.relevant) > 1 else ""
    places = (
        f"{place}" if place else f"over {deep}" for place, deep in zip((one.first, one.other), depth, strict=True)
    )
    return _plain(one.document + more), *places


def _cells(tested: Tested) -> tuple[str, ...]:
    estimate = tested.difference
    return (
        f"{tested.first:.4f}",
        f"{tested.other:.4f}",
        f"{estimate.value:+.4f}",
        f"{estimate.low:+.4f} to {estimate.high:+.4f}",
        probability(tested.p),
        probability(tested.corrected),
    )


def _rank(one: Ranked) -> str:
    return f"{one.rank}=" if one.tied else f"{one.rank}"


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        console().print(_plain(note), soft_wrap=True)


def _plain(text: str) -> str:
    """A text of others, without what could steer a terminal or would be read as markup."""
    return escape("".join(sign if sign.isprintable() else " " for sign in text))


def _bootstrap() -> str:
    return f"{CONFIDENCE:.0%}, bootstrap over each task's queries, {RESAMPLES:,} resamples"


def _randomization() -> str:
    return f"two-sided randomization test, {FLIPS:,} sign flips"


def _statistics(interval: str) -> dict[str, object]:
    return {
        "interval": f"bootstrap over each task's queries, {interval}",
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "test": "two-sided randomization of the signs of differences",
        "flips": FLIPS,
        "correction": "Holm, over all tests made",
        "level": LEVEL,
        "seed": SEED,
    }


def _side(side: Side) -> dict[str, object]:
    first = next(iter(side.tasks.values())).result
    return {
        "label": side.label,
        "model": side.model.name,
        "revision": side.model.revision,
        "strategy": first.strategy,
        "vector_form": first.vector_form,
        "paths": {task: str(measured.path) for task, measured in side.tasks.items()},
    }


def _tested(tested: Tested) -> dict[str, object]:
    return {
        "first_mean": round(tested.first, 6),
        "other_mean": round(tested.other, 6),
        "difference": _estimate(tested.difference),
        "p": tested.p,
        "corrected": tested.corrected,
        "other_is": tested.verdict,
    }


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"value": round(estimate.value, 6), "low": round(estimate.low, 6), "high": round(estimate.high, 6)}
