"""The models that can be evaluated."""

from __future__ import annotations

from typing import Annotated

import typer

from loco.commands.options import DocumentPromptOption, PoolingOption, QueryPromptOption, settings


def models_command(context: typer.Context) -> None:
    """List the models that can be evaluated."""
    if context.invoked_subcommand is None:
        from loco.models.registry import model_cards
        from loco.report import models as report

        report.print_models(model_cards().values())


def models_show_command(
    name: Annotated[str, typer.Argument(help="A name, a hub id, a folder, or a class `module:Class`.")],
    pooling: PoolingOption = None,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
) -> None:
    """Print a model's card."""
    from loco.models.registry import model_card
    from loco.report import models as report

    report.print_model(model_card(name, settings(pooling, query_prompt, document_prompt)))
