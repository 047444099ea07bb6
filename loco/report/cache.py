"""The embedding store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from loco.encode.housekeeping import PruneOutcome, SpaceRecord
from loco.report.tables import add_numbers, console, counted, show, table


def print_spaces(spaces: Sequence[SpaceRecord], folder: Path) -> None:
    """What the embedding store holds, a line for each kind of vectors."""
    rows = table("Model", "Precision", "Device")
    add_numbers(rows, "Window", "Numbers", "Vectors", "MB")
    rows.add_column("Last used")
    for space in spaces:
        known = {name: escape(str(value)) for name, value in space.description.items()}
        rows.add_row(
            escape(space.model),
            known.get("dtype", "not known"),
            known.get("device", ""),
            known.get("max_tokens", ""),
            "" if space.dim is None else f"{space.dim:,}",
            f"{space.vectors:,}",
            f"{space.bytes / 1e6:,.1f}",
            f"{space.last_used:%Y-%m-%d %H:%M}",
        )
    if spaces:
        show(rows)
    total = sum(space.bytes for space in spaces) / 1e6
    console().print(escape(f"{total:,.1f} MB in {folder}"), soft_wrap=True)


def print_pruned(outcome: PruneOutcome) -> None:
    """What was deleted from the embedding store."""
    out = console()
    out.print(
        f"Deleted the vectors of {counted(len(outcome.removed), 'model setting')} and repaired "
        f"{counted(len(outcome.repaired), 'file')}: {outcome.freed_bytes / 1e6:,.1f} MB freed."
    )
    for name in outcome.in_use:
        out.print(escape(f"{name} is in use by another process, and was left."), soft_wrap=True)
