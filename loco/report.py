"""What the commands print: tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loco.encode.strategies import parse
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.results import Result
from loco.score.metrics import PRIMARY
from loco.tasks.card import Table10, TaskCard, task_cards
from loco.tasks.data import Manifest, Split, read_manifest

if TYPE_CHECKING:
    from loco.encode.housekeeping import PruneOutcome, SpaceRecord
    from loco.tasks.audit import Audit
    from loco.tasks.build import Outcome

# A table that goes to a file or a pipe is not cut to the width of a terminal that is not there.
_WIDTH_WITHOUT_TERMINAL = 200
_NO_LIMIT = 10_000
_MARKS = {"alarm": "[bold red]alarm[/bold red]", "note": "note", "fine": "[dim]fine[/dim]"}
# How far a mean may be from Table 10's, which are rounded, for the rows to count as the paper's.
_VERIFIED = 0.005
_SHOWN = ("ndcg@1", "recall@10", "recall@100", "mrr@10", "map@100")


def console(least: int = 0) -> Console:
    """Standard output, at least ``least`` columns wide, and wide where it is no terminal."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = Console().width if terminal else _WIDTH_WITHOUT_TERMINAL
    return Console(width=max(width, least), highlight=False)


def _print(table: Table) -> None:
    """Print a table whole: where the terminal is narrower, it folds the lines, and no figure is cut."""
    needed = Console(width=_NO_LIMIT).measure(table).maximum
    console(needed).print(table)


def print_tasks(cards: Iterable[TaskCard], built: Iterable[Manifest]) -> None:
    """Every task's figures in Table 10, and under them those of what is built."""
    by_task: dict[str, list[Manifest]] = {}
    for manifest in built:
        by_task.setdefault(manifest.task, []).append(manifest)
    table = _table("Task", "Domain", "Source", "Variant")
    _add_numbers(table, "Queries", "Documents", "Mean query", "Mean document")
    for card in cards:
        what: tuple[str, ...] = (escape(card.name), escape(card.domain), escape(card.source))
        if card.table10 is not None:
            table.add_row(*what, "[dim]Table 10[/dim]", *_paper(card.table10))
            what = ("", "", "")
        for manifest in by_task.get(card.name, []):
            table.add_row(*what, _variant(manifest), *_counts(manifest))
            what = ("", "", "")
    _print(table)
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
    table = _table("Task", "Variant")
    _add_numbers(table, "Queries", "Documents", "Mean query", "Mean document", "Relevant", "Table 10", "Deviation")
    table.add_column("Status")
    for outcome in outcomes:
        manifest = outcome.manifest
        if manifest is None:
            card = task_cards()[outcome.task]
            beside = " / ".join(_paper(card.table10)) if card.table10 and outcome.variant != "mini" else ""
            status = "failed, the earlier build stays" if outcome.stands else "missing"
            table.add_row(card.name, outcome.variant, *[""] * 5, beside, "", f"[red]{status}[/red]")
            continue
        status = _status(manifest) + (", kept as it was" if outcome.kept else "")
        relevant = f"{manifest.counts.relevant:,}"
        table.add_row(
            escape(manifest.task), _variant(manifest), *_counts(manifest), relevant, *_beside_table10(manifest), status
        )
    _print(table)
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


def print_models(cards: Iterable[ModelCard]) -> None:
    """The models that can be evaluated."""
    table = _table("Model", "Family", "Strategies", "What it is")
    for card in cards:
        table.add_row(*map(escape, (card.name, card.family, ", ".join(card.strategies), card.description)))
    _print(table)


def print_model(card: ModelCard) -> None:
    """One model's card; what it does not say is left out."""
    out = console()
    for field, value in card.model_dump().items():
        if field == "parameters":
            continue
        if field == "strategies":
            value = ", ".join(parse(name, card.max_tokens).name for name in value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, int):
            value = f"{value:,}"
        if value is not None:
            out.print(f"{field.replace('_', ' '):16}{escape(str(value))}", soft_wrap=True)
    for name, setting in card.parameters.items():
        shown = json.dumps(setting, ensure_ascii=False) if isinstance(setting, str) else str(setting).lower()
        out.print(f"{'':16}{escape(f'{name} = {shown}')}", soft_wrap=True)


def print_spaces(spaces: Sequence[SpaceRecord], folder: Path) -> None:
    """What the embedding store holds, a line for each kind of vectors."""
    table = _table("Model", "Precision", "Device")
    _add_numbers(table, "Window", "Numbers", "Vectors", "MB")
    table.add_column("Last used")
    for space in spaces:
        known = {name: escape(str(value)) for name, value in space.description.items()}
        table.add_row(
            escape(space.model),
            known.get("dtype", "not known"),
            known.get("device", ""),
            known.get("max_tokens", ""),
            "" if space.dim is None else f"{space.dim:,}",
            f"{space.vectors:,}",
            f"{space.bytes / 1e6:,.1f}",
            f"{space.last_used:%Y-%m-%d %H:%M}",
        )
    if spaces:
        _print(table)
    total = sum(space.bytes for space in spaces) / 1e6
    console().print(escape(f"{total:,.1f} MB in {folder}"), soft_wrap=True)


def print_pruned(outcome: PruneOutcome) -> None:
    """What was deleted from the embedding store."""
    out = console()
    out.print(
        f"Deleted the vectors of {_counted(len(outcome.removed), 'model setting')} and repaired "
        f"{_counted(len(outcome.repaired), 'file')}: {outcome.freed_bytes / 1e6:,.1f} MB freed."
    )
    for name in outcome.in_use:
        out.print(escape(f"{name} is in use by another process, and was left."), soft_wrap=True)


def print_results(results: Sequence[Result]) -> None:
    """Results, one table a model, strategy, vector form, variant, split and origin, with the average over its tasks.

    Raises LocoError where two results are of the same task: which of them counts is not for a table to choose.
    """
    for group in grouped(results):
        first = group[0]
        way = f"{first.strategy}, {first.vector_form}" if first.vector_form else first.strategy
        _print_group(f"{first.model.name}, {way}, {first.variant} ({first.origin})", group)


def grouped(results: Sequence[Result]) -> list[list[Result]]:
    """The results that one average may be taken over: same model and revision, strategy, vector form and variant.

    Raises LocoError where two of a group are of the same task.
    """
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        model = result.model
        way = (result.strategy, result.vector_form, result.variant, result.split, result.origin)
        group = groups.setdefault((model.name, model.revision, *way), [])
        if any(other.task == result.task for other in group):
            raise LocoError(
                f"Two results are of {result.task} ({result.variant}) by {model.name}, {result.strategy}: "
                "show them one by one."
            )
        group.append(result)
    return list(groups.values())


def equivalent(result: Result) -> str:
    """Why the rows behind a result only stand in for its variant's own; empty where they are its own."""
    return result.measurement.data.provenance.equivalent if result.measurement else ""


def coverage(result: Result) -> dict[str, dict[str, int] | None]:
    """How much of the queries and of the documents the model has seen; None where nobody can tell."""
    measurement = result.measurement
    roles = {"queries": measurement.queries, "documents": measurement.documents} if measurement else {}
    return {role: None if seen is None else seen.model_dump() for role, seen in roles.items()}


def average(results: Sequence[Result]) -> float:
    """Plain mean of nDCG@10 over tasks, between 0 and 1."""
    return sum(result.metrics[PRIMARY].value for result in results) / len(results)


def _print_group(title: str, results: Sequence[Result]) -> None:
    order = {name: place for place, name in enumerate(task_cards())}
    results = sorted(results, key=lambda result: (order.get(result.task, len(order)), result.task))
    table = _table("Task", title=escape(title))
    _add_numbers(table, "Queries", "Documents", "nDCG@10", "95 % interval", *map(_heading, _SHOWN))
    _add_numbers(table, "Documents cut", "Tokens unseen", "Seconds")
    for result in results:
        primary, measurement = result.metrics[PRIMARY], result.measurement
        counts = measurement.data.counts if measurement else None
        interval = "" if primary.low is None or primary.high is None else f"{primary.low:.4f} to {primary.high:.4f}"
        table.add_row(
            escape(result.task) + (" (equivalent)" if equivalent(result) else ""),
            f"{counts.queries:,}" if counts else "",
            f"{counts.documents:,}" if counts else "",
            f"{primary.value:.4f}",
            interval,
            *(f"{result.metrics[name].value:.4f}" if name in result.metrics else "" for name in _SHOWN),
            *_unseen(result),
            f"{measurement.seconds:.2f}" if measurement else "",
        )
    _print(table)
    for remark in _remarks(results):
        console().print(escape(remark), soft_wrap=True)
    console().print(f"[bold]nDCG@10 {average(results):.4f}[/bold] on average over {_over(results)}")


def _unseen(result: Result) -> tuple[str, str]:
    """How many documents were cut, and the share of their tokens that the model never saw."""
    seen = result.measurement.documents if result.measurement else None
    if seen is None:
        return ("not known", "not known") if result.measurement else ("", "")
    return f"{seen.texts_cut:,}", f"{1 - seen.tokens_seen / seen.tokens:.1%}" if seen.tokens else ""


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _remarks(results: Sequence[Result]) -> Iterator[str]:
    """What a reader of the table must know beside it."""
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


def _over(results: Sequence[Result]) -> str:
    """What an average is over, in words."""
    of = "" if results[0].variant == "imported" else f" of {len(task_cards())}"
    stand_ins = sum(bool(equivalent(result)) for result in results)
    also = f", {stand_ins} of them rebuilt as an equivalent" if stand_ins else ""
    return f"{len(results)}{of} task{'' if len(results) == 1 and not of else 's'}{also}"


def _heading(measure: str) -> str:
    return measure.replace("ndcg", "nDCG").replace("mrr", "MRR").replace("map", "MAP").replace("recall", "Recall")


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


def _table(*headings: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading)
    return table


def _add_numbers(table: Table, *headings: str) -> None:
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
