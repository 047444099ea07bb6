"""Compare results: whether a difference is more than chance, and which ranks the data support."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loco.commands.options import DataOption, JsonOption, print_json


def compare_command(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Result files, or folders of them; the first side is A.")
    ],
    by_rank: Annotated[
        bool, typer.Option("--rank", help="Rank all sides, each with the band of ranks the data leave open.")
    ] = False,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            metavar="NAME",
            help="paper, release, mini or imported; never compared with each other.",
            show_default="the one that every path has, release where there are several",
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", metavar="TASK", help="Only this task, again for more.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare results query by query: differences, intervals, tests and a verdict.

    A side is a model under one strategy; a folder may hold several. All are compared with the first. The folder of
    built tasks is only looked at for the names of relevant documents.
    """
    from loco.compare.pairs import compare
    from loco.compare.ranks import rank
    from loco.compare.sides import find_sides
    from loco.report import compare as report
    from loco.settings import data_folder

    found = find_sides(paths, variant, task or [])
    if by_rank:
        ranking = rank(found, task or [])
        if as_json:
            print_json(report.ranking_record(ranking))
        else:
            report.print_ranking(ranking)
        return
    comparison = compare(found, data_folder(data))
    if as_json:
        print_json(report.comparison_record(comparison))
    else:
        report.print_comparison(comparison)
