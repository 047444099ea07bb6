"""Clusterings of labelled collections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape

from loco.report.tables import add_numbers, console, counted, show, table
from loco.results.cluster import ClusterResult, SeedMean


def print_clustered(results: Sequence[ClusterResult]) -> None:
    """Results of one collection, a line each, and below them what a reader must know. Nothing for none."""
    if not results:
        return
    first = results[0]
    rows = table("Model", "Strategy", title=escape(f"{first.collection.name}: k-means against the labels"))
    add_numbers(rows, "Documents", "Labels", "v-measure", "Over seeds", "Homogeneity", "Completeness")
    add_numbers(rows, "Documents cut", "Tokens unseen")
    for result in results:
        rows.add_row(
            escape(result.model.name) + (", random weights" if result.model.untrained else ""),
            escape(result.strategy),
            f"{result.collection.documents:,}",
            f"{len(result.collection.labels):,}",
            f"{result.v_measure.mean:.4f}",
            _spread(result.v_measure),
            f"{result.homogeneity.mean:.4f}",
            f"{result.completeness.mean:.4f}",
            *_unseen(result),
        )
    show(rows)
    for remark in _remarks(first):
        console().print(escape(remark), soft_wrap=True)


def _spread(figure: SeedMean) -> str:
    return f"{figure.lowest:.4f} to {figure.highest:.4f}"


def _unseen(result: ClusterResult) -> tuple[str, str]:
    """How many documents were cut, and the share of their tokens that the model never saw."""
    seen = result.coverage
    if seen is None:
        return "not known", "not known"
    return f"{seen.texts_cut:,}", f"{1 - seen.tokens_seen / seen.tokens:.1%}" if seen.tokens else ""


def _remarks(result: ClusterResult) -> Iterator[str]:
    collection, settings = result.collection, result.k_means
    if collection.blank:
        yield f"{counted(collection.blank, 'blank text')} left out."
    if collection.without_tokens:
        yield f"{counted(collection.without_tokens, 'text')} left out in which the model finds no token."
    yield (
        f"Means over {len(settings.seeds)} seeds of k-means (k = {settings.clusters}, best of {settings.starts} starts "
        "each). The spread is that of the seeds alone, not of other texts; no figure is corrected for chance."
    )
