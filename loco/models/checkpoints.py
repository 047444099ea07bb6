"""Checkpoints rewritten: into a clean form, for a longer window. What does it is found through entry points.

``loco.checkpoints``: callables without arguments that return a :class:`CheckpointTool`, named after its family.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol, cast

from loco.errors import LocoError

GROUP = "loco.checkpoints"

Features = Literal["tiled", "fresh"]


class CheckpointTool(Protocol):
    """What rewrites the checkpoints of a family of models."""

    def convert(self, source: Path, target: Path, *, allow_pickle: bool) -> str:
        """Write the checkpoint in a file or folder as a clean folder that must not exist; says in words what it is.

        Raises LocoError for what is no checkpoint of the family, and for a pickle unless that is allowed.
        """
        ...

    def extend(self, source: Path, target: Path, window: int, features: Features, *, allow_pickle: bool) -> str:
        """Write a checkpoint with a longer window into a folder that must not exist, to go on training from.

        ``features`` says how the filters' features begin there: repeated ("tiled") or as new ("fresh"). Says in words
        what came of it. Raises LocoError as :meth:`convert`, and for a window that cannot be made of the old one.
        """
        ...


def tool_for(family: str) -> CheckpointTool:
    """The tool of a family. Raises LocoError where there is none."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if family not in points:
        raise LocoError(
            f"No plug-in rewrites checkpoints of {family}. There are: {', '.join(sorted(points)) or 'none'}."
        )
    try:
        return cast(CheckpointTool, points[family].load()())
    except ImportError as error:
        raise LocoError(
            f"Checkpoints of {family} need torch: install with pip install 'loco-bench[transformers]'"
        ) from error
