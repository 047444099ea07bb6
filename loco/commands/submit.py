"""Submissions: check result files before they are proposed for the board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loco.commands.options import DataOption

BLOCKED = 1


def submit_check_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A result file with its run beside it, or a folder.")],
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FOLDER", help="The results these are to join: what must not change."),
    ] = None,
    data: DataOption = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report for a pull request, too.")
    ] = None,
) -> None:
    """Check results as a pull request with them is checked: exit status 0 fine, 1 blocked, 2 nothing to check.

    Runs are scored again where their task is built here with the same contents. Nothing of what is checked is executed,
    and nothing is sent anywhere.
    """
    from loco.files import write_atomically
    from loco.report.submission import as_markdown, as_text
    from loco.settings import data_folder
    from loco.submission import check_submission

    report = check_submission(path, against, data_folder(data))
    if markdown is not None:
        write_atomically(markdown, as_markdown(report).encode())
    typer.echo(as_text(report), nl=False)
    if report.blocked:
        raise typer.Exit(BLOCKED)
