"""The command line: parse, call one function, print."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from loco.errors import LocoError, unknown

if TYPE_CHECKING:
    from loco.evaluation import Evaluated
    from loco.tasks.data import Variant

USAGE_ERROR = 2
INTERRUPTED = 130


class _Commands(TyperGroup):
    """Turns what a user can act on into one line and an exit status, for every command alike."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LocoError as error:
            typer.echo(f"loco: {_printable(str(error))}", err=True)
            raise typer.Exit(USAGE_ERROR) from error
        except MemoryError as error:
            typer.echo("loco: out of memory. What was finished is kept; run it again where there is more.", err=True)
            raise typer.Exit(USAGE_ERROR) from error
        except KeyboardInterrupt:
            typer.echo("loco: interrupted. What was finished is kept.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has had enough
                raise
            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"loco: {where}{error.strerror or error}.", err=True)
            raise typer.Exit(USAGE_ERROR) from error


app = typer.Typer(
    cls=_Commands,
    help="Long-context retrieval evaluation on LoCoV1: build the tasks, evaluate any retriever, trust the number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="The models that can be evaluated.", invoke_without_command=True)
results_app = typer.Typer(help="Result files: show them, check them.", no_args_is_help=True)
cache_app = typer.Typer(help="The embedding store: what it holds, whether it is sound.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.add_typer(results_app, name="results")

_DATA_DEFAULT = "data/ in $LOCO_HOME, else in the user's data folder"
VariantOption = Annotated[
    str, typer.Option("--variant", metavar="NAME", help="paper, release, mini or imported; never compare across them.")
]
SplitOption = Annotated[str, typer.Option("--split", metavar="NAME", help="test or train.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="FOLDER", help="Folder of built tasks.", show_default=_DATA_DEFAULT)
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="Folder of the embedding store.",
        show_default="embeddings/ in $LOCO_HOME, else in the user's data folder",
    ),
]
PoolingOption = Annotated[
    str | None, typer.Option("--pooling", metavar="NAME", help="Of a checkpoint that does not say: cls, mean or last.")
]
QueryPromptOption = Annotated[
    str | None, typer.Option("--query-prompt", metavar="TEXT", help="Of a model without a card.")
]
DocumentPromptOption = Annotated[
    str | None, typer.Option("--document-prompt", metavar="TEXT", help="Of a model without a card.")
]


@app.command("tasks")
def tasks_command(
    task: Annotated[str | None, typer.Argument(help="Show one task's card.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw the document lengths of what is built.")
    ] = None,
    data: DataOption = None,
) -> None:
    """List the tasks, what is built, and the paper's Table 10."""
    from loco import report
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
    _raise_all([str(error) for _, errors in found for error in errors])


@app.command("build-data")
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
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder to build in.", show_default=_DATA_DEFAULT)
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
    from loco import report
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
    _raise_all(problems)


@app.command("audit")
def audit_command(
    task: Annotated[str | None, typer.Argument(help="Which task; none means every built one.")] = None,
    variant: VariantOption = "release",
    data: DataOption = None,
) -> None:
    """Look for what makes a task's scores misleading."""
    from loco import report
    from loco.settings import data_folder
    from loco.tasks.audit import audit_built
    from loco.tasks.data import variant_named

    folder, known_variant = data_folder(data), variant_named(variant)
    problems = []
    for name in _tasks_to_evaluate([task or "all"], known_variant, folder):
        try:
            report.print_audit(audit_built(folder, known_variant, name))
        except LocoError as error:
            problems.append(str(error))
    _raise_all(problems)


@app.command("export")
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


@app.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="A BEIR folder: corpus.jsonl, queries.jsonl, qrels/.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What to call the task.")] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Which file of qrels/.")] = "test",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier import of that name.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder of built tasks.", show_default=_DATA_DEFAULT)
    ] = None,
) -> None:
    """Take a BEIR data set in, as a task of variant `imported`."""
    from loco import report
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


@app.command("eval")
def eval_command(
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="From `loco models`; a hub id; a folder; a class `module:Class`."),
    ],
    task: Annotated[
        list[str] | None, typer.Option("--task", metavar="TASK", help="A task, again for more; `all` for all built.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="NAMES",
            help="How the model meets long texts: truncate, chunk, chunk-max, late-chunk, with settings as in "
            "'chunk(256, overlap=32)'. Several, by commas, share one pass.",
            show_default="the first of its card",
        ),
    ] = None,
    variant: VariantOption = "release",
    dim: Annotated[
        int | None, typer.Option("--dim", metavar="N", min=1, help="Keep N numbers of each vector (Matryoshka).")
    ] = None,
    quantise: Annotated[
        str, typer.Option("--quantise", metavar="NAME", help="Documents as float32, int8 or binary.")
    ] = "float32",
    pooling: PoolingOption = None,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAMES", help="cpu, cuda, cuda:0,cuda:1, or all GPUs.")
    ] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16; auto is half on GPUs.")
    ] = "auto",
    batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", metavar="N", min=1, help="Tokens in a batch.", show_default="by the device"),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with a checkpoint.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read weights stored as a pickle, which can run code.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub; use what was downloaded.")] = False,
    data: DataOption = None,
    cache: CacheOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for result files and TREC runs.")] = Path(
        "results"
    ),
    force: Annotated[bool, typer.Option("--force", help="Measure again what is already there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Evaluate a model on built tasks, one result file a task and strategy.

    Vectors are kept in the embedding store as they are made: a run that is interrupted goes on where it ended.
    """
    from loco import report
    from loco.encode.forms import form_named
    from loco.evaluation import Options, evaluate_tasks
    from loco.models.registry import model_card, strategies_of
    from loco.models.runtime import Runtime
    from loco.settings import data_folder, go_offline
    from loco.tasks.data import variant_named

    if offline:
        go_offline()
    card = model_card(model, _settings(pooling, query_prompt, document_prompt))
    strategies_of(card, strategy)  # names nobody knows are told before anything else
    form_named(quantise, dim, card, dtype)
    folder = data_folder(data)
    names = _tasks_to_evaluate(task or ["all"], variant_named(variant), folder)
    command = shlex.join(["loco", *sys.argv[1:]])
    runtime = Runtime(device, dtype, trust_remote_code, allow_pickle, batch_tokens)
    options = Options(strategy, dim, quantise, runtime, cache)
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
        _print_json(
            {
                "model": card.name,
                "variant": variant,
                "averages": [
                    {
                        "strategy": group[0].strategy,
                        "vector_form": group[0].vector_form,
                        "tasks": len(group),
                        "ndcg@10": round(report.average(group), 6),
                    }
                    for group in report.grouped([done.result for done in evaluated])
                ],
                "results": [
                    {
                        "path": str(done.path),
                        "reused": done.reused,
                        "task": done.result.task,
                        "equivalent": report.equivalent(done.result),
                        "strategy": done.result.strategy,
                        "vector_form": done.result.vector_form,
                        "coverage": report.coverage(done.result),
                        "metrics": {name: metric.model_dump() for name, metric in done.result.metrics.items()},
                    }
                    for done in evaluated
                ],
            }
        )
    else:
        report.print_results([done.result for done in evaluated])
    _raise_all([problem] if problem else [])


@models_app.callback()
def models_command(context: typer.Context) -> None:
    """List the models that can be evaluated."""
    if context.invoked_subcommand is None:
        from loco import report
        from loco.models.registry import model_cards

        report.print_models(model_cards().values())


@models_app.command("show")
def models_show_command(
    name: Annotated[str, typer.Argument(help="A name, a hub id, a folder, or a class `module:Class`.")],
    pooling: PoolingOption = None,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
) -> None:
    """Print a model's card."""
    from loco import report
    from loco.models.registry import model_card

    report.print_model(model_card(name, _settings(pooling, query_prompt, document_prompt)))


@results_app.command("show")
def results_show_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Result files, or folders of them.")],
) -> None:
    """Print results as tables."""
    from loco import report
    from loco.results import read_result

    results, wrong = [], []
    for file in _result_files(paths):
        try:
            results.append(read_result(file))
        except LocoError as error:
            wrong.append(str(error))
    report.print_results(results)
    _raise_all(wrong)


@results_app.command("validate")
def results_validate_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Result files, or folders of them.")],
) -> None:
    """Check result files: schema, figures that fit together, the run each was scored from."""
    from loco.results import check_run, read_result

    wrong = []
    files = _result_files(paths)
    for file in files:
        try:
            check_run(file, read_result(file))
        except LocoError as error:
            wrong.append(str(error))
    if wrong:
        _raise_all([*wrong, f"{len(wrong)} of {len(files)} results are not valid."])
    typer.echo(f"{len(files)} {'result is' if len(files) == 1 else 'results are'} valid.")


@cache_app.command("ls")
def cache_ls_command(cache: CacheOption = None) -> None:
    """List whose vectors are stored, and how much room they take."""
    from loco import report
    from loco.encode.housekeeping import list_spaces
    from loco.settings import cache_folder

    folder = cache_folder(cache)
    report.print_spaces(list_spaces(folder), folder)


@cache_app.command("verify")
def cache_verify_command(cache: CacheOption = None) -> None:
    """Read every stored vector and compare it with its checksum."""
    from loco.encode.housekeeping import verify
    from loco.settings import cache_folder

    found = verify(cache_folder(cache))
    _raise_all(
        [*found.findings, "loco cache prune --damaged repairs damaged files; remove by hand what is no plain file."]
        if found.findings
        else []
    )
    typer.echo(f"{found.vectors:,} stored vectors are sound.")


@cache_app.command("prune")
def cache_prune_command(
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Vectors of this model.")] = None,
    unused_days: Annotated[
        float | None, typer.Option("--unused-days", metavar="N", min=0, help="Vectors no run has used for N days.")
    ] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Only what is damaged; sound vectors stay.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All vectors of all models.")] = False,
    cache: CacheOption = None,
) -> None:
    """Delete stored vectors."""
    from loco import report
    from loco.encode.housekeeping import prune
    from loco.settings import cache_folder

    if model is None and unused_days is None and not damaged and not everything:
        raise LocoError("Say what to delete: --model NAME, --unused-days N, --damaged, or --all.")
    report.print_pruned(
        prune(cache_folder(cache), model=model, unused_days=unused_days, damaged=damaged, everything=everything)
    )


def main() -> None:
    """Entry point of the ``loco`` command."""
    app()


def _tasks_to_evaluate(asked: Sequence[str], variant: Variant, data: Path) -> list[str]:
    """The names behind ``--task``: those asked for, or, for "all", every task that is built in the variant."""
    from loco.tasks.data import built_tasks, task_folder, task_names

    for name in asked:
        if name != "all":
            task_folder(data, variant, name)
    if "all" not in asked:
        return list(dict.fromkeys(asked))
    manifests, damaged = built_tasks(data, variant)
    _raise_all([str(error) for error in damaged])
    built = [manifest.task for manifest in manifests]
    if not built:
        raise LocoError(f"No task of variant '{variant}' is in {data}. Run: loco build-data --variant {variant}")
    missing = [name for name in task_names(data, variant) if name not in built]
    if missing:
        typer.echo(f"Not built in variant '{variant}', so left out: {', '.join(missing)}.", err=True)
    return built


def _settings(pooling: str | None, query_prompt: str | None, document_prompt: str | None) -> dict[str, str]:
    """What the user has said of a model without a card."""
    said = {"pooling": pooling, "query_prompt": query_prompt, "document_prompt": document_prompt}
    return {name: value for name, value in said.items() if value is not None}


def _result_files(paths: Sequence[Path]) -> list[Path]:
    from loco.results import result_files

    files = [file for path in paths for file in result_files(path)]
    if not files:
        raise LocoError(f"No result file in {', '.join(map(str, paths))}. Write one with: loco eval --model bm25")
    return files


def _printable(text: str) -> str:
    """A text without what could steer a terminal: files and names of others stand in errors."""
    return "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in text)


def _raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise LocoError("\n      ".join(problems))


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
