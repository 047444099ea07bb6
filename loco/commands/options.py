"""What several commands share: options, names to choose from, and how they end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loco.errors import LocoError

if TYPE_CHECKING:
    from loco.tasks.data import Variant

DATA_DEFAULT = "data/ in $LOCO_HOME, else in the user's data folder"
VariantOption = Annotated[
    str, typer.Option("--variant", metavar="NAME", help="paper, release, mini or imported; never compare across them.")
]
SplitOption = Annotated[str, typer.Option("--split", metavar="NAME", help="test or train.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="FOLDER", help="Folder of built tasks.", show_default=DATA_DEFAULT)
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
OutOption = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for what is measured.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Measure again what is already there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def chosen_tasks(asked: Sequence[str], variant: Variant, data: Path) -> list[str]:
    """The names behind ``--task``: those asked for, or, for "all", every task that is built in the variant."""
    from loco.tasks.data import built_tasks, task_folder, task_names

    for name in asked:
        if name != "all":
            task_folder(data, variant, name)
    if "all" not in asked:
        return list(dict.fromkeys(asked))
    manifests, damaged = built_tasks(data, variant)
    raise_all([str(error) for error in damaged])
    built = [manifest.task for manifest in manifests]
    if not built:
        raise LocoError(f"No task of variant '{variant}' is in {data}. Run: loco build-data --variant {variant}")
    missing = [name for name in task_names(data, variant) if name not in built]
    if missing:
        typer.echo(f"Not built in variant '{variant}', so left out: {', '.join(missing)}.", err=True)
    return built


def chosen_results(paths: Sequence[Path]) -> list[Path]:
    """The result files at some paths. Raises LocoError where there is none."""
    from loco.results import result_files

    files = [file for path in paths for file in result_files(path)]
    if not files:
        raise LocoError(f"No result file in {', '.join(map(str, paths))}. Write one with: loco eval --model bm25")
    return files


def settings(**said: str | int | None) -> dict[str, str]:
    """What the user has said of a model, as its resolver takes it."""
    return {name: str(value) for name, value in said.items() if value is not None}


def typed() -> str:
    """The command as the user has typed it, for whoever wants to repeat it."""
    return shlex.join(["loco", *sys.argv[1:]])


def raise_all(problems: Sequence[str]) -> None:
    """Raise all problems as one LocoError, a line each, if there are any."""
    if problems:
        raise LocoError("\n      ".join(problems))


def print_json(value: object) -> None:
    """Print a value as JSON for machines."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
