"""Upstream files on this machine: what a manifest calls them, how they are checked and how they are opened."""

from __future__ import annotations

import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from loco.errors import LocoError
from loco.files import leads_outside

_BAR_FROM_BYTES = 20_000_000
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 100  # deflate takes text to about a quarter; only repetition goes this far


@dataclass(frozen=True)
class SourceFile:
    """A file to build from.

    ``label`` and ``revision`` go into the manifest: what the file is called at its source, never a path of this
    machine, and which bytes it held (``sha256:<hex>``, or the commit it has on the hub). ``remedy`` is what a user
    can do when it turns out damaged. ``member`` is the one file wanted out of a zip, empty for a plain file.
    ``sha256`` is that of the whole file, in hexadecimal.
    """

    path: Path
    label: str
    revision: str
    remedy: str
    member: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({self.member})" if self.member else str(self.path)


def local_file(path: Path, label: str, member: str = "") -> SourceFile:
    """A file of the user's own, known by its SHA-256. Raises LocoError where it cannot be read."""
    try:
        digest = hashed(path)
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    return SourceFile(path, label, f"sha256:{digest}", "Get the file again.", member, digest)


def checksums(*files: SourceFile) -> dict[str, str]:
    """The SHA-256 of each file under its label, for the manifest."""
    return {file.label: file.sha256 for file in files}


def hashed(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; a large one shows a progress bar on a terminal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream, progress_bar(f"checking {path.name}", path.stat().st_size) as advance:
        while block := stream.read(1 << 20):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def refuse_outside(name: str, file: SourceFile) -> None:
    """Raise LocoError if ``name``, a member of an archive, leads outside its folder: none does so by accident."""
    if leads_outside(name):
        raise LocoError(
            f"{file.path} holds {name!r}, a path outside its folder, so nothing of it is read. {file.remedy}"
        )


@contextmanager
def opened(file: SourceFile) -> Iterator[Iterator[bytes]]:
    """The lines of a file, or of its one wanted zip member, which is read where it lies and never unpacked to disk.

    Large files show a progress bar on a terminal. Raises LocoError for a file that cannot be read, a damaged zip, and
    a zip with any member that would land outside its folder: nobody packs that by accident.
    """
    try:
        if file.member:
            with zipfile.ZipFile(file.path) as archive:
                info = _checked(archive, file)
                with archive.open(info) as stream, progress_bar(file.path.name, info.file_size) as advance:
                    # A zip member's own readline is slow.
                    yield _counted(io.BufferedReader(cast(io.RawIOBase, stream)), advance)
        else:
            with file.path.open("rb") as plain, progress_bar(file.path.name, file.path.stat().st_size) as advance:
                yield _counted(plain, advance)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise LocoError(f"{file.path} is a damaged or unusual zip ({error}). {file.remedy}") from error
    except OSError as error:
        raise LocoError(f"Cannot read {file}: {error.strerror or error}. {file.remedy}") from error


def _checked(archive: zipfile.ZipFile, file: SourceFile) -> zipfile.ZipInfo:
    for name in archive.namelist():
        refuse_outside(name, file)
    try:
        info = archive.getinfo(file.member)
    except KeyError:
        raise LocoError(f"{file.path} holds no {file.member}. Is it the right zip?") from None
    if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
        raise LocoError(
            f"{file} would unpack from {info.compress_size:,} to {info.file_size:,} bytes, which no text does. "
            f"{file.remedy}"
        )
    return info


@contextmanager
def progress_bar(label: str, size: int, done: int = 0) -> Iterator[Callable[[int], object]]:
    """What is told how many more bytes are done, of ``size`` in all; shown on a terminal where they are many."""
    if size < _BAR_FROM_BYTES:
        yield _unseen
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _unseen
        return
    text = TextColumn("{task.description}", markup=False)  # a file name may hold brackets
    with Progress(text, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
        yield partial(bars.advance, bars.add_task(label, total=size, completed=done))


def _counted(stream: BinaryIO, advance: Callable[[int], object]) -> Iterator[bytes]:
    for line in stream:
        yield line
        advance(len(line))


def _unseen(_: int) -> None:
    """For when nobody is looking."""
