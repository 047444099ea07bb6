"""Evaluate a model on built tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loco.commands.model_options import ChosenModel, takes_model
from loco.commands.options import (
    DataOption,
    ForceOption,
    JsonOption,
    VariantOption,
    chosen_tasks,
    print_json,
    raise_all,
    typed,
)
from loco.errors import LocoError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loco.evaluation import Evaluated, Foretold
    from loco.models.card import ModelCard
    from loco.results import Result


@takes_model
def eval_command(
    model: ChosenModel,
    task: Annotated[
        list[str] | None, typer.Option("--task", metavar="TASK", help="A task, again for more; `all` for all built.")
    ] = None,
    variant: VariantOption = "release",
    dim: Annotated[
        int | None, typer.Option("--dim", metavar="N", min=1, help="Keep N numbers of each vector (Matryoshka).")
    ] = None,
    quantise: Annotated[
        str, typer.Option("--quantise", metavar="NAME", help="Documents as float32, int8 or binary.")
    ] = "float32",
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for result files and TREC runs.")] = Path(
        "results"
    ),
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", metavar="USD", min=0, help="Stop before this run costs more, if the model costs money."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent to a service and what it costs. Sends nothing.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a model on built tasks, one result file a task and strategy.

    Vectors are kept in the embedding store as they are made: a run that is interrupted goes on where it ended.
    """
    from loco.encode.forms import form_named
    from loco.evaluation import Options, evaluate_tasks, foretell_tasks
    from loco.report import results as report
    from loco.results import summary
    from loco.settings import data_folder
    from loco.tasks.data import variant_named

    card = model.card
    form_named(quantise, dim, card, model.runtime.dtype)
    folder = data_folder(data)
    names = chosen_tasks(task or ["all"], variant_named(variant), folder)
    command = typed()
    options = Options(model.strategy, dim, quantise, replace(model.runtime, budget=budget), model.cache)
    if dry_run:
        _foretell(card, foretell_tasks(card, names, variant, options, data=folder, out=out, force=force), as_json)
        return
    evaluated: list[Evaluated] = []
    problem = ""
    try:
        for done in evaluate_tasks(card, names, variant, options, command, data=folder, out=out, force=force):
            evaluated.append(done)
    except LocoError as error:
        if not evaluated:
            raise
        problem = str(error)  # told after what was finished before it
    reused = sum(done.reused for done in evaluated)
    if reused:
        typer.echo(f"{reused} of {len(evaluated)} results were there already; --force measures them again.", err=True)
    if as_json:
        print_json(
            {
                "model": card.name,
                "variant": variant,
                "averages": [
                    {
                        "model": group[0].model.name,
                        "strategy": group[0].strategy,
                        "vector_form": group[0].vector_form,
                        "tasks": len(group),
                        "ndcg@10": round(summary.average(group), 6),
                    }
                    for group in summary.grouped([done.result for done in evaluated])
                ],
                "results": [
                    {
                        "path": str(done.path),
                        "reused": done.reused,
                        "model": done.result.model.name,
                        "part_of": list(done.part_of),
                        "task": done.result.task,
                        "equivalent": summary.equivalent(done.result),
                        "strategy": done.result.strategy,
                        "vector_form": done.result.vector_form,
                        "coverage": summary.coverage(done.result),
                        "cost": _cost(done.result),
                        "metrics": {name: metric.model_dump() for name, metric in done.result.metrics.items()},
                    }
                    for done in evaluated
                ],
            }
        )
    else:
        heads = [done.result for done in evaluated if not done.part_of]
        report.print_results(heads, parts=[(done.result, done.part_of) for done in evaluated if done.part_of])
    raise_all([problem] if problem else [])


def _foretell(card: ModelCard, tasks: Iterable[Foretold], as_json: bool) -> None:
    """Print what tasks would take of a service."""
    from dataclasses import asdict

    from loco.money import dollars
    from loco.report import money as report

    told = list(tasks)
    by_model = {one.card.name: (one.card.service, [other for other in told if other.card == one.card]) for one in told}
    found = []
    for name, (service, theirs) in by_model.items():
        if service is None:
            continue
        if not as_json:
            report.print_foretold(service, theirs, "" if name == card.name else name)
            continue
        rows = [
            {
                "task": one.task,
                "strategies": one.strategies,
                "plan": asdict(one.plan),
                "seconds": one.seconds,
                "dollars": dollars(one.plan.tokens, service),
            }
            for one in theirs
        ]
        found.append({"model": name, "service": service.model_dump(mode="json"), "tasks": rows})
    if as_json:
        print_json(
            {"model": card.name, "parts": found} if len(found) != 1 or found[0]["model"] != card.name else found[0]
        )


def _cost(result: Result) -> object:
    cost = result.measurement.cost if result.measurement is not None else None
    return None if cost is None else cost.model_dump(mode="json")
