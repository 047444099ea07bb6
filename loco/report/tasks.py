"""Tasks: what there is, what was built, what an audit found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from loco.errors import LocoError
from loco.report.tables import add_numbers, console, show, table
from loco.tasks.card import Table10, TaskCard, task_cards
from loco.tasks.data import Manifest, Split, read_manifest

if TYPE_CHECKING:
    from loco.tasks.audit import Audit
    from loco.tasks.build import Outcome

_MARKS = {"alarm": "[bold red]alarm[/bold red]", "note": "note", "fine": "[dim]fine[/dim]"}
# How far a mean may be from Table 10's, which are rounded, for the rows to count as the paper's.
_VERIFIED = 0.005


def print_tasks(cards: Iterable[TaskCard], built: Iterable[Manifest]) -> None:
    """Every task's figures in Table 10, and under them those of what is built."""
    by_task: dict[str, list[Manifest]] = {}
    for manifest in built:
        by_task.setdefault(manifest.task, []).append(manifest)
    rows = table("Task", "Domain", "Source", "Variant")
    add_numbers(rows, "Queries", "Documents", "Mean query", "Mean document")
    for card in cards:
        what: tuple[str, ...] = (escape(card.name), escape(card.domain), escape(card.source))
        if card.table10 is not None:
            rows.add_row(*what, "[dim]Table 10[/dim]", *_paper(card.table10))
            what = ("", "", "")
        for manifest in by_task.get(card.name, []):
            rows.add_row(*what, _variant(manifest), *_counts(manifest))
            what = ("", "", "")
    show(rows)
    console().print("Means are characters. Table 10, the paper's, is what variant paper is to match.")


def print_task(card: TaskCard, built: Iterable[Manifest]) -> None:
    """One task's card and what is built of it."""
    out = console()
    out.print(f"[bold]{escape(card.name)}[/bold]: {escape(card.query)} -> {escape(card.document)}")
    for label, value in (
        ("domain", card.domain),
        ("source", f"{card.source}, {card.source_url}"),
        ("licence", card.licence),
        ("citation", card.citation),
    ):
        out.print(f"  {label:9}{escape(value)}", soft_wrap=True)
    print_tasks([card], built)


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """What became of each task of a build, beside Table 10."""
    rows = table("Task", "Variant")
    add_numbers(rows, "Queries", "Documents", "Mean query", "Mean document", "Relevant", "Table 10", "Deviation")
    rows.add_column("Status")
    for outcome in outcomes:
        manifest = outcome.manifest
        if manifest is None:
            card = task_cards()[outcome.task]
            beside = " / ".join(_paper(card.table10)) if card.table10 and outcome.variant != "mini" else ""
            status = "failed, the earlier build stays" if outcome.stands else "missing"
            rows.add_row(card.name, outcome.variant, *[""] * 5, beside, "", f"[red]{status}[/red]")
            continue
        status = _status(manifest) + (", kept as it was" if outcome.kept else "")
        relevant = f"{manifest.counts.relevant:,}"
        rows.add_row(
            escape(manifest.task), _variant(manifest), *_counts(manifest), relevant, *_beside_table10(manifest), status
        )
    show(rows)
    for manifest in (outcome.manifest for outcome in outcomes if outcome.manifest is not None):
        provenance = manifest.provenance
        if provenance.equivalent:
            line = f"{manifest.task} is an equivalent: {provenance.equivalent}"
            console().print(escape(line), soft_wrap=True)
        if provenance.dropped:
            dropped = ", ".join(f"{count:,} {reason}" for reason, count in provenance.dropped.items())
            console().print(escape(f"{manifest.task}, counted while building: {dropped}"), soft_wrap=True)


def print_overlaps(data: Path, built: Iterable[Manifest]) -> list[str]:
    """For each task that stands in both splits, how much of test stands in train too; returns what went wrong."""
    problems = []
    for manifest in built:
        other: Split = "train" if manifest.split == "test" else "test"
        try:
            beside = read_manifest(data, manifest.variant, manifest.task, other)
            if beside is None:
                continue
            from loco.tasks.audit import built_overlap

            shared = built_overlap(data, manifest.variant, manifest.task)
        except LocoError as error:
            problems.append(f"{manifest.task}: its overlap with {other} is not known: {error}")
            continue
        if shared is not None:
            test = manifest.counts if manifest.split == "test" else beside.counts
            note = (
                f"{manifest.task}: {len(shared.queries):,} of {test.queries:,} test queries and "
                f"{len(shared.documents):,} of {test.documents:,} test documents stand in train too."
            )
            warning = shared.queries or shared.documents
            console().print(f"[bold red]{note}[/bold red]" if warning else note, soft_wrap=True)
    return problems


def print_audit(audit: Audit) -> None:
    """What an audit found, the alarms first."""
    from loco.tasks.audit import findings

    out = console()
    size = f"{audit.queries:,} queries, {audit.documents:,} documents"
    out.print(f"[bold]{escape(audit.task)}[/bold], {audit.variant}: {size}")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings(audit):
        table.add_row(_MARKS[finding.level], escape(finding.text))
    out.print(table)


def _variant(manifest: Manifest) -> str:
    return manifest.variant + (" (equivalent)" if manifest.provenance.equivalent else "")


def _counts(manifest: Manifest) -> tuple[str, ...]:
    counts = manifest.counts
    return _figures(counts.queries, counts.documents, counts.mean_query_chars, counts.mean_document_chars)


def _paper(table10: Table10) -> tuple[str, ...]:
    return _figures(table10.test_queries, table10.test_documents, table10.mean_query_chars, table10.mean_document_chars)


def _status(manifest: Manifest) -> str:
    """Whether a built task is what Table 10 says the paper's is."""
    if manifest.variant in ("mini", "imported"):
        return "synthetic" if manifest.variant == "mini" else "imported"
    if manifest.provenance.equivalent:
        return "equivalent"
    paper = manifest.card.table10
    if paper is None or manifest.split == "train":
        return "built"
    same_rows = (manifest.counts.queries, manifest.counts.documents) == (paper.test_queries, paper.test_documents)
    return "verified" if same_rows and max(map(abs, _deviations(manifest, paper))) <= _VERIFIED else "differs"


def _beside_table10(manifest: Manifest) -> tuple[str, str]:
    """Table 10's figures, and how far the means are from them; its means are those of the test split."""
    paper = manifest.card.table10
    if paper is None or manifest.variant == "mini" or manifest.split == "train":
        return "", ""
    return " / ".join(_paper(paper)), " / ".join(f"{round(d, 3) + 0.0:+.1%}" for d in _deviations(manifest, paper))


def _deviations(manifest: Manifest, paper: Table10) -> tuple[float, float]:
    counts = manifest.counts
    return (
        counts.mean_query_chars / paper.mean_query_chars - 1,
        counts.mean_document_chars / paper.mean_document_chars - 1,
    )


def _figures(*numbers: float) -> tuple[str, ...]:
    return tuple(f"{number:,.0f}" for number in numbers)
