"""A folder of results to a folder of files: whole, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from loco.errors import LocoError
from loco.files import recovered, replacing_folder
from loco.progress import tracked
from loco.sites import Built

from . import charts, comparing, downloads, method, models, overview, tasks
from .board import Board
from .read import read_board
from .serve import serve
from .site import Page, Renderer

MARKER = ".loco-site"
_MARKED = b"Made by loco leaderboard build, which replaces this folder as a whole.\n"


class LocoSite:
    """Makes the leaderboard (:class:`loco.sites.SiteMaker`)."""

    def build(self, results: Path, site: Path, data: Path | None) -> Built:
        """Read the results, make every page, and put them where the earlier site was."""
        site = _replaceable(site, results)
        board = read_board(results)
        count = 0
        with replacing_folder(site) as fresh:
            for page in pages(board, Renderer(), data):
                _write(fresh, page.address, page.content)
                count += 1
            for path in tracked(list(_result_files(board)), "Copying results"):
                copy = fresh / "results" / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(board.root / path, copy, follow_symlinks=False)
                count += 1
        return Built(site, count, len(board.entries), board.refused)

    def serve(self, results: Path, port: int, data: Path | None, *, watch: bool, say: Callable[[str], None]) -> None:
        """Show it on this machine until interrupted."""
        serve(lambda folder: self.build(results, folder, data), results, port, watch=watch, say=say)


def site_maker() -> LocoSite:
    """What the entry point names."""
    return LocoSite()


def pages(board: Board, renderer: Renderer, data: Path | None) -> Iterator[Page]:
    """Every file of the site but the results themselves."""
    yield from overview.pages(board, renderer)
    yield from charts.pages(board, renderer)
    yield from comparing.pages(board, renderer)
    yield from models.pages(board, renderer)
    yield from tasks.pages(board, renderer, data)
    yield from method.pages(board, renderer)
    yield from downloads.pages(board)
    yield from asset_pages()
    yield Page(MARKER, _MARKED)


def asset_pages() -> Iterator[Page]:
    """The stylesheet and the scripts: each made of its parts, in the order of their names."""
    assets = files(__package__ or "loco_leaderboard") / "assets"
    yield Page("assets/board.css", _joined(assets / "style", ".css"))
    yield Page("assets/board.js", _joined(assets / "script", ".js"))
    yield Page("assets/theme.js", (assets / "theme.js").read_bytes())


def _joined(folder: Traversable, ending: str) -> bytes:
    parts = sorted((part for part in folder.iterdir() if part.name.endswith(ending)), key=lambda part: part.name)
    return b"\n".join(part.read_bytes() for part in parts)


def _write(folder: Path, address: str, content: bytes) -> None:
    parts = PurePosixPath(address)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"a page outside the site: {address}")
    place = folder / parts
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as stream:  # two pages of one address are a bug
        stream.write(content)


def _result_files(board: Board) -> Iterator[str]:
    for entry in board.entries:
        for filed in entry.cells.values():
            yield filed.path
            if filed.run is not None:
                yield filed.run
    yield from (path for path, _ in board.needles)
    yield from (path for path, _ in board.speeds)


def _replaceable(site: Path, results: Path) -> Path:
    """The folder that the site goes to. Raises LocoError where something else would be lost."""
    try:
        site, results = recovered(site).resolve(), results.resolve()
    except RuntimeError as error:
        raise LocoError(f"{site} is a link that leads to itself. Name another folder with -o.") from error
    if site == results or site in results.parents or results in site.parents:
        raise LocoError(f"The site cannot lie in {results}, nor around it. Name another folder with -o.")
    if not site.exists() or (site.is_dir() and ((site / MARKER).is_file() or not any(site.iterdir()))):
        return site
    raise LocoError(f"{site} holds something else than a site made by loco. Remove it, or name another folder with -o.")
