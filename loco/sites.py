"""Sites made of result files. What makes one is found through entry points.

``loco.sites``: callables without arguments that return a :class:`SiteMaker`. The first one, by name, is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from loco.errors import LocoError

GROUP = "loco.sites"


@dataclass(frozen=True)
class Built:
    """A site that was built: how many files of it, rows on its board, and why some results are not there."""

    folder: Path
    files: int
    rows: int
    refused: Sequence[str]


class SiteMaker(Protocol):
    """What makes a static site of a folder of results."""

    def build(self, results: Path, site: Path, data: Path | None) -> Built:
        """Build it whole into the folder ``site``, which may hold an earlier one and nothing else.

        ``data`` is the folder of built tasks, for what only they know. Results that cannot stand on it are refused, and
        the others are built. Raises LocoError where nothing can be built; an earlier site is left as it was.
        """
        ...

    def serve(self, results: Path, port: int, data: Path | None, *, watch: bool, say: Callable[[str], None]) -> None:
        """Build it into a folder of its own and show it on this machine alone until interrupted.

        With ``watch`` it is built again whenever a result changes; where that fails, the last good one stays.
        ``say`` is given lines about what happens.
        """
        ...


def site_maker() -> SiteMaker:
    """The plug-in that makes sites. Raises LocoError where there is none, or something that it needs is missing."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name != "loco", point.name))
    if not points:
        raise LocoError("No plug-in makes sites. Install this project with: pip install 'loco-bench[leaderboard]'")
    try:
        import jinja2  # noqa: F401

        return cast(SiteMaker, points[0].load()())
    except ImportError as error:
        raise LocoError(
            f"The leaderboard needs {error.name or 'jinja2'}: install with pip install 'loco-bench[leaderboard]'"
        ) from error
