"""The board of the shipped results, and sites of a few of its pages: what costs time is done once a process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from conftest import CHECKOUT

from loco_leaderboard.board import Board
from loco_leaderboard.read import read_board
from loco_leaderboard.site import Page

RESULTS = CHECKOUT / "results"


@cache
def board() -> Board:
    """What stands in ``results/``."""
    return read_board(RESULTS)


def write_site(folder: Path, pages: Iterable[Page]) -> Path:
    """Write some pages, and the assets that all of them have. Returns the folder."""
    assets = files("loco_leaderboard") / "assets"
    shared = [Page("assets/theme.js", (assets / "theme.js").read_bytes())]
    for name, kind in (("board.css", "style"), ("board.js", "script")):
        parts = sorted((assets / kind).iterdir(), key=lambda part: part.name)
        shared.append(Page(f"assets/{name}", b"\n".join(part.read_bytes() for part in parts)))
    for page in (*shared, *pages):
        place = folder / page.address
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(page.content)
    return folder
