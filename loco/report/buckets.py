"""nDCG@10 by the length of the relevant document and by how much of it was cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from loco.report.tables import add_numbers, console, show, table
from loco.results import Bucket, Buckets, Result


def print_buckets(results: Sequence[Result]) -> None:
    """The buckets of some results, a line for each that holds a query; and how many were measured without."""
    measured = [(one.task, one.measurement.buckets) for one in results if one.measurement is not None]
    found = [(task, buckets) for task, buckets in measured if buckets is not None]
    if found:
        tokenizers = ", ".join(sorted({buckets.tokenizer for _, buckets in found}))
        rows = table("Task", "Relevant document", title=escape(f"By the relevant document, in tokens of {tokenizers}"))
        add_numbers(rows, "Queries", "nDCG@10", "95 % interval")
        for task, buckets in found:
            _add_task(rows, escape(task), buckets)
        show(rows)
    older = len(measured) - len(found)
    if older:
        were = "result was" if older == 1 else "results were"
        console().print(
            f"{older:,} {were} measured before lengths were told; loco eval --force measures again.", soft_wrap=True
        )


def _add_task(rows: Table, task: str, buckets: Buckets) -> None:
    lines: list[tuple[str, Bucket]] = list(buckets.by_length.items())
    if buckets.by_cut is not None:
        lines += [("not cut" if name == "none" else f"{name} cut", bucket) for name, bucket in buckets.by_cut.items()]
    for place, (name, bucket) in enumerate(lines):
        interval = "" if bucket.low is None or bucket.high is None else f"{bucket.low:.4f} to {bucket.high:.4f}"
        rows.add_row("" if place else task, name, f"{bucket.queries:,}", f"{bucket.value:.4f}", interval)
    if buckets.by_cut is None:
        rows.add_row("", "how much was cut is not known", "", "", "")
