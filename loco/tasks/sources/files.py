"""Upstream files on this machine: what a manifest calls them, and how they are opened."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, cast

from loco.errors import LocoError
from loco.files import sha256_of

_BAR_FROM_BYTES = 20_000_000
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 100  # deflate takes text to about a quarter; only repetition goes this far


@dataclass(frozen=True)
class SourceFile:
    """A file to build from.

    ``label`` and ``revision`` go into the manifest: what the file is called at its source, never a path of this
    machine, and which bytes it held (``sha256:<hex>``, or the commit it has on the hub). ``remedy`` is what a user
    can do when it turns out damaged. ``member`` is the one file wanted out of a zip, empty for a plain file.
    """

    path: Path
    label: str
    revision: str
    remedy: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({self.member})" if self.member else str(self.path)


def local_file(path: Path, label: str, member: str = "") -> SourceFile:
    """A file of the user's own, known by its SHA-256. Raises LocoError where it cannot be read."""
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    return SourceFile(path, label, f"sha256:{digest}", "Get the file again.", member)


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
                with archive.open(info) as stream, _progress(file, info.file_size) as lines:
                    yield lines(io.BufferedReader(cast(io.RawIOBase, stream)))  # a zip member's own readline is slow
        else:
            with file.path.open("rb") as plain, _progress(file, file.path.stat().st_size) as lines:
                yield lines(plain)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise LocoError(f"{file.path} is a damaged or unusual zip ({error}). {file.remedy}") from error
    except OSError as error:
        raise LocoError(f"Cannot read {file}: {error.strerror or error}. {file.remedy}") from error


def _checked(archive: zipfile.ZipFile, file: SourceFile) -> zipfile.ZipInfo:
    for name in archive.namelist():
        for kind in (PurePosixPath, PureWindowsPath):
            path = kind(name)
            if path.is_absolute() or path.anchor or ".." in path.parts:
                raise LocoError(
                    f"{file.path} holds {name!r}, a path outside its folder, so nothing of it is read. {file.remedy}"
                )
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
def _progress(file: SourceFile, size: int) -> Iterator[Callable[[BinaryIO], Iterator[bytes]]]:
    """What turns a stream of ``size`` bytes into its lines, showing how far they have come."""
    if size < _BAR_FROM_BYTES:
        yield iter
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield iter
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(file.path.name, total=size)

        def counted(stream: BinaryIO) -> Iterator[bytes]:
            for line in stream:
                yield line
                progress.advance(task, len(line))

        yield counted
