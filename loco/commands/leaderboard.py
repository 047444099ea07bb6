"""The leaderboard: a static site of result files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loco.commands.options import DataOption, raise_all

ResultsArgument = Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder of result files.")]


def leaderboard_build_command(
    results: ResultsArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the site goes.")] = Path("site"),
    data: DataOption = None,
) -> None:
    """Build a site that opens from a folder, or from any web server.

    A result that cannot be shown is said on standard error and left out; the exit status is then 2, and the site is
    there all the same. With built tasks at hand, the pages of tasks show lengths, an audit and an example.
    """
    from loco.settings import data_folder
    from loco.sites import site_maker

    built = site_maker().build(results, out, data_folder(data))
    typer.echo(f"{built.rows:,} rows on {built.files:,} files. Open {built.folder / 'index.html'}")
    raise_all(built.refused)


def leaderboard_serve_command(
    results: ResultsArgument,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 for any that is free.")] = 8000,
    watch: Annotated[bool, typer.Option("--watch", help="Build again whenever a result changes.")] = False,
    data: DataOption = None,
) -> None:
    """Build the site for a look, and show it at 127.0.0.1 until Ctrl-C. Nobody else can reach it."""
    from loco.settings import data_folder
    from loco.sites import site_maker

    site_maker().serve(results, port, data_folder(data), watch=watch, say=lambda line: typer.echo(line, err=True))
