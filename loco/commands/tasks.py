"""Tasks: list, build, audit, take in and hand out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loco.commands.options import DATA_DEFAULT, DataOption, SplitOption, VariantOption, chosen_tasks, raise_all
from loco.errors import LocoError, unknown


def tasks_command(
    task: Annotated[str | None, typer.Argument(help="Show one task's card.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw the document lengths of what is built.")
    ] = None,
    data: DataOption = None,
) -> None:
    """List the tasks, what is built, and the paper's Table 10."""
    from loco.report import tasks as report
    from loco.settings import data_folder
    from loco.tasks.card import task_cards
    from loco.tasks.data import VARIANTS, built_tasks

    folder = data_folder(data)
    if plot is not None:
        from loco.tasks.lengths import plot_lengths

        typer.echo(f"Wrote {plot_lengths(folder, plot)}")
        return
    found = [built_tasks(folder, variant) for variant in VARIANTS]
    built = [manifest for manifests, _ in found for manifest in manifests]
    cards = {**{manifest.task: manifest.card for manifest in built if manifest.card.table10 is None}, **task_cards()}
    if task is None:
        report.print_tasks(cards.values(), built)
    elif task in cards:
        report.print_task(cards[task], [manifest for manifest in built if manifest.task == task])
    else:
        raise unknown("task", task, cards, "loco tasks")
    raise_all([str(error) for _, errors in found for error in errors])


def build_data_command(
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]...", help="Which tasks; none means all that can be reached.")
    ] = None,
    variant: VariantOption = "release",
    split: SplitOption = "test",
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="Folder or file that holds the upstream data; none means the hub."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder to build in.", show_default=DATA_DEFAULT)
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="For --variant mini: makes another synthetic LoCo.")
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            "--sections",
            metavar="A,B",
            help="For legal_case_reports: what its queries are made of.",
            show_default="citphrases,citances,legistitles",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With no task named: build again what is there.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub; use what was downloaded.")] = False,
) -> None:
    """Build tasks from their sources.

    --variant mini makes a small synthetic LoCo without any download.
    """
    from loco.report import tasks as report
    from loco.settings import data_folder, go_offline
    from loco.tasks.build import build_everything, build_named
    from loco.tasks.data import split_named, variant_named

    if offline:
        go_offline()
    known_variant, known_split = variant_named(variant), split_named(split)
    folder = data_folder(out)
    if tasks:
        chosen = None if sections is None else [section.strip() for section in sections.split(",")]
        outcomes = list(build_named(tasks, known_variant, known_split, source, folder, seed, chosen))
    elif sections is not None:
        raise LocoError("Sections are for one task: loco build-data legal_case_reports --variant paper --sections ...")
    else:
        outcomes = list(build_everything(known_variant, known_split, source, folder, seed, force=force))
    failed = [outcome for outcome in outcomes if outcome.manifest is None]
    problems = [f"{outcome.task}: {outcome.problem}" for outcome in failed]
    if len(failed) < len(outcomes) or not tasks:
        report.print_outcomes(outcomes)
        manifests = [outcome.manifest for outcome in outcomes if outcome.manifest is not None]
        problems += report.print_overlaps(folder, manifests)
    kept = sum(outcome.kept for outcome in outcomes)
    if kept and source is not None:
        typer.echo(f"{kept} stood already, and {source} was not read for them; --force builds them anew.", err=True)
    raise_all(problems)


def audit_command(
    task: Annotated[str | None, typer.Argument(help="Which task; none means every built one.")] = None,
    variant: VariantOption = "release",
    data: DataOption = None,
) -> None:
    """Look for what makes a task's scores misleading."""
    from loco.report import tasks as report
    from loco.settings import data_folder
    from loco.tasks.audit import audit_built
    from loco.tasks.data import variant_named

    folder, known_variant = data_folder(data), variant_named(variant)
    problems = []
    for name in chosen_tasks([task or "all"], known_variant, folder):
        try:
            report.print_audit(audit_built(folder, known_variant, name))
        except LocoError as error:
            problems.append(str(error))
    raise_all(problems)


def export_command(
    task: Annotated[str, typer.Argument(help="A built task.")],
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="beir, trec or mteb.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write; new or empty.")],
    variant: VariantOption = "release",
    split: SplitOption = "test",
    data: DataOption = None,
) -> None:
    """Write a built task in another tool's layout."""
    from loco.settings import data_folder
    from loco.tasks.data import read_task, split_named, variant_named
    from loco.tasks.exchange.export import export_task

    folder = data_folder(data)
    built = read_task(folder, variant_named(variant), task, split_named(split))
    for path in export_task(built, format, out):
        typer.echo(path)


def import_command(
    folder: Annotated[Path, typer.Argument(help="A BEIR folder: corpus.jsonl, queries.jsonl, qrels/.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What to call the task.")] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Which file of qrels/.")] = "test",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier import of that name.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder of built tasks.", show_default=DATA_DEFAULT)
    ] = None,
) -> None:
    """Take a BEIR data set in, as a task of variant `imported`."""
    from loco.report import tasks as report
    from loco.settings import data_folder
    from loco.tasks.build import Outcome
    from loco.tasks.data import built_tasks, write_task
    from loco.tasks.exchange.beir import import_beir

    home = data_folder(out)
    task = import_beir(folder, name, split)
    earlier, _ = built_tasks(home, "imported")
    if not force and any(manifest.task == task.card.name for manifest in earlier) and task.split == "test":
        raise LocoError(f"'{task.card.name}' is imported already. Choose another --name, or replace it with --force.")
    manifest = write_task(task, home)
    report.print_outcomes([Outcome(manifest.task, manifest.variant, manifest)])
