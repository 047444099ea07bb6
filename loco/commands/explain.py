"""Explain a score, query by query."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from loco.commands.options import DataOption, JsonOption


def explain_command(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A result file; its run lies beside it.")],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A query's id, or the beginning of just one.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was retrieved for a query, where its relevant documents stood, and how much of them was cut."""
    from dataclasses import asdict

    from loco.explain import explain
    from loco.report.explain import print_explanation
    from loco.settings import data_folder

    explained = explain(result, query, data_folder(data))
    if as_json:
        typer.echo(json.dumps(asdict(explained), indent=2))  # ASCII alone: a document may hold what steers a terminal
    else:
        print_explanation(explained)
