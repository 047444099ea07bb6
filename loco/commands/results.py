"""Result files: show them, check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loco.commands.options import chosen_results, raise_all
from loco.errors import LocoError


def results_show_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Result files, or folders of them.")],
) -> None:
    """Print results as tables."""
    from loco.report import results as report
    from loco.results import read_result

    results, wrong = [], []
    for file in chosen_results(paths):
        try:
            results.append(read_result(file))
        except LocoError as error:
            wrong.append(str(error))
    report.print_results(results)
    raise_all(wrong)


def results_validate_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Result files, or folders of them.")],
) -> None:
    """Check result files: schema, figures that fit together, the run each was scored from."""
    from loco.results import check_run, read_result

    wrong = []
    files = chosen_results(paths)
    for file in files:
        try:
            check_run(file, read_result(file))
        except LocoError as error:
            wrong.append(str(error))
    if wrong:
        raise_all([*wrong, f"{len(wrong)} of {len(files)} results are not valid."])
    typer.echo(f"{len(files)} {'result is' if len(files) == 1 else 'results are'} valid.")
