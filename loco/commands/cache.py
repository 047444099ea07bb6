"""The embedding store: what it holds, whether it is sound."""

from __future__ import annotations

from typing import Annotated

import typer

from loco.commands.options import CacheOption, raise_all
from loco.errors import LocoError


def cache_ls_command(cache: CacheOption = None) -> None:
    """List whose vectors are stored, and how much room they take."""
    from loco.encode.housekeeping import list_spaces
    from loco.report import cache as report
    from loco.settings import cache_folder

    folder = cache_folder(cache)
    report.print_spaces(list_spaces(folder), folder)


def cache_verify_command(cache: CacheOption = None) -> None:
    """Read every stored vector and compare it with its checksum."""
    from loco.encode.housekeeping import verify
    from loco.settings import cache_folder

    found = verify(cache_folder(cache))
    raise_all(
        [*found.findings, "loco cache prune --damaged repairs damaged files; remove by hand what is no plain file."]
        if found.findings
        else []
    )
    typer.echo(f"{found.vectors:,} stored vectors are sound.")


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
    from loco.encode.housekeeping import prune
    from loco.report import cache as report
    from loco.settings import cache_folder

    if model is None and unused_days is None and not damaged and not everything:
        raise LocoError("Say what to delete: --model NAME, --unused-days N, --damaged, or --all.")
    report.print_pruned(
        prune(cache_folder(cache), model=model, unused_days=unused_days, damaged=damaged, everything=everything)
    )
