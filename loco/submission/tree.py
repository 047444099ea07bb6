"""The files of a submission: walked without following, opening or believing anything."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from loco.errors import LocoError
from loco.reported import FILE
from loco.submission.findings import Finding

MOST_FILES = 20_000
DEEPEST = 8
LARGEST_RESULT = 10_000_000  # bytes; of the largest tasks a result is a tenth of a megabyte, of a needle run a few
LARGEST_RUN = 50_000_000

STRANGER = "neither a result (.json) nor the run beside one (.run.gz): take it out"
LONELY = "a run without the result it belongs to"

_RUN = ".run.gz"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
# Names that Windows keeps for devices, whatever follows the first dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass
class Tree:
    """What there is to check. ``results`` and ``runs`` are regular files of a sane size with plain names, sorted."""

    root: Path
    results: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def relative(self, path: Path) -> str:
        """A path as findings name it."""
        return path.relative_to(self.root).as_posix() if path != self.root else path.name


def walk(root: Path) -> Tree:
    """The files at ``root``: one result with its run, or all below a folder.

    Links, devices, hidden files, odd names, files too large or too deep, and what is neither a result nor a run are
    findings, and not read. Raises LocoError where there is nothing to check.
    """
    try:
        mode = root.lstat().st_mode
    except (OSError, ValueError) as error:
        raise LocoError(f"No file or folder {root}. Write results with: loco eval --model bm25 --out FOLDER") from error
    if stat.S_ISLNK(mode):
        raise LocoError(f"{root} is a symbolic link. Name the folder or file itself.")
    if stat.S_ISDIR(mode):
        tree = Tree(root)
        _walk(tree)
        _check_alike(tree)
        _check_lonely_runs(tree)
    else:
        tree = Tree(root.parent)
        _take(tree, root, mode)
        run = root.with_name(f"{root.stem}{_RUN}")
        if os.path.lexists(run):
            _take(tree, run, run.lstat().st_mode)
    tree.results.sort()
    tree.runs.sort()
    if not tree.results and not tree.findings:
        raise LocoError(f"No result file in {root}. Write one with: loco eval --model bm25 --out FOLDER")
    return tree


def _walk(tree: Tree) -> None:
    folders = [tree.root]
    seen = 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                seen += 1
                if seen > MOST_FILES:
                    tree.findings.append(
                        _refused("", f"more than {MOST_FILES:,} files and folders: the rest is unread")
                    )
                    return
                path = Path(entry.path)
                mode = entry.stat(follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    _take(tree, path, mode)
                elif not _plain(entry.name):
                    tree.findings.append(_refused(tree.relative(path), _ODD_NAME))
                elif len(path.relative_to(tree.root).parts) > DEEPEST:
                    tree.findings.append(_refused(tree.relative(path), f"deeper than {DEEPEST} folders"))
                else:
                    folders.append(path)


def _take(tree: Tree, path: Path, mode: int) -> None:
    """Put a file where it belongs, or say why it is not looked at."""
    name = tree.relative(path)
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
        tree.findings.append(_refused(name, f"{kind}: put the file itself there"))
    elif not _plain(path.name):
        tree.findings.append(_refused(name, _ODD_NAME))
    elif path.name.endswith(_RUN):
        if path.stat().st_size > LARGEST_RUN:
            tree.findings.append(_refused(name, f"larger than {LARGEST_RUN:,} bytes, which no run is"))
        else:
            tree.runs.append(path)
    elif path.suffix == ".json":
        if path.stat().st_size > LARGEST_RESULT:
            tree.findings.append(_refused(name, f"larger than {LARGEST_RESULT:,} bytes, which no result is"))
        else:
            tree.results.append(path)
    elif path.name != FILE:
        tree.findings.append(_refused(name, STRANGER))


_ODD_NAME = "an odd name: loco names files and folders by ASCII letters, digits, dot, dash and underscore"


def _plain(name: str) -> bool:
    return bool(_PLAIN_NAME.fullmatch(name)) and not name.endswith(".") and not _DEVICES.fullmatch(name)


def _check_alike(tree: Tree) -> None:
    """Paths that are one on a file system that ignores case."""
    by_folded: dict[str, str] = {}
    for path in (*tree.results, *tree.runs):
        parts = Path(tree.relative(path)).parts
        for depth in range(1, len(parts) + 1):  # of folders too: their files would end up in one
            name = "/".join(parts[:depth])
            other = by_folded.setdefault(name.casefold(), name)
            if other != name:
                tree.findings.append(
                    Finding("error", "files", f"is the same path as {other} where case does not count: rename it", name)
                )
                by_folded[name.casefold()] = name
                break


def _check_lonely_runs(tree: Tree) -> None:
    named = {path.with_name(f"{path.stem}{_RUN}") for path in tree.results}
    for run in tree.runs:
        if run not in named:
            tree.findings.append(_refused(tree.relative(run), LONELY))


def _refused(path: str, why: str) -> Finding:
    return Finding("error", "files", why, path)
