"""The models that can be evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from loco.commands.options import DocumentPromptOption, PoolingOption, QueryPromptOption, settings
from loco.errors import LocoError


def models_command(context: typer.Context) -> None:
    """List the models that can be evaluated."""
    if context.invoked_subcommand is None:
        from loco.models.registry import model_cards
        from loco.report import models as report

        report.print_models(model_cards().values())


def models_show_command(
    name: Annotated[str, typer.Argument(help="A name, a hub id, a folder, a class `module:Class`, or a fuse(...).")],
    pooling: PoolingOption = None,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
) -> None:
    """Print a model's card."""
    from loco.models.registry import shown_card
    from loco.report import models as report

    report.print_model(
        shown_card(name, settings(pooling=pooling, query_prompt=query_prompt, document_prompt=document_prompt))
    )


SourceArgument = Annotated[Path, typer.Argument(metavar="SRC", help="A checkpoint of an M2-BERT: a file or a folder.")]
TargetArgument = Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist yet.")]
AllowPickleOption = Annotated[
    bool, typer.Option("--allow-pickle", help="Read a checkpoint that is a pickle, which can run code.")
]


def models_convert_command(
    source: SourceArgument, target: TargetArgument, allow_pickle: AllowPickleOption = False
) -> None:
    """Write an M2-BERT's checkpoint, whatever form it is in, as a clean folder with safetensors.

    Takes safetensors, pytorch_model.bin, fine-tuned .pt files and Composer's; the folder is one for --model.
    """
    from loco.models.checkpoints import tool_for

    made = tool_for("m2bert").convert(_path(source), _path(target), allow_pickle=allow_pickle)
    typer.echo(f"Wrote {target}: {made}")


def models_extend_command(
    source: SourceArgument,
    target: TargetArgument,
    window: Annotated[int, typer.Option("--window", metavar="N", help="Tokens; a multiple of the old window.")],
    features: Annotated[
        Literal["tiled", "fresh"],
        typer.Option("--features", help="The filters' position features: the old ones repeated, or as new."),
    ] = "tiled",
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Give an M2-BERT a longer window to go on training from, as the paper did from 8k to 32k.

    Its table of positions is repeated. Before training at the new window, its embeddings mean little.
    """
    from loco.models.checkpoints import tool_for

    made = tool_for("m2bert").extend(_path(source), _path(target), window, features, allow_pickle=allow_pickle)
    typer.echo(f"Wrote {target}: {made}")


def _path(typed: Path) -> Path:
    try:
        return typed.expanduser()
    except RuntimeError as error:
        raise LocoError(f"{typed} is in the home of nobody on this machine. Name another path.") from error
