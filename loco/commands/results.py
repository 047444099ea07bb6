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
    """Print results as tables, one kind after the other."""
    from loco.report.cluster import print_clustered
    from loco.report.needle import print_needle
    from loco.report.results import print_results
    from loco.report.speed import print_speeds
    from loco.results import ClusterResult, NeedleResult, Result, SpeedResult, read_record

    records, wrong = [], []
    for file in chosen_results(paths):
        try:
            records.append(read_record(file))
        except LocoError as error:
            wrong.append(str(error))
    print_results([record for record in records if isinstance(record, Result)], lengths=True)
    for record in records:
        if isinstance(record, NeedleResult):
            print_needle(record)
    print_speeds([record for record in records if isinstance(record, SpeedResult)])
    print_clustered([record for record in records if isinstance(record, ClusterResult)])
    raise_all(wrong)


def results_validate_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Result files, or folders of them.")],
) -> None:
    """Check result files: schema, figures that fit together, the run each was scored from."""
    from loco.results import check_run, read_record

    wrong = []
    files = chosen_results(paths)
    for file in files:
        try:
            check_run(file, read_record(file))
        except LocoError as error:
            wrong.append(str(error))
    if wrong:
        raise_all([*wrong, f"{len(wrong)} of {len(files)} results are not valid."])
    typer.echo(f"{len(files)} {'result is' if len(files) == 1 else 'results are'} valid.")
