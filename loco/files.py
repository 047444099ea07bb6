"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from loco.errors import LocoError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_RETIRED = ".retired-"
_FRESH = ".tmp-"
_ABANDONED_SECONDS = 24 * 3600
_SWAP_ATTEMPTS = 5


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def leads_outside(name: str) -> bool:
    """Whether a file of this name, on any system, would land outside the folder it is meant for."""
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return any(path.anchor or ".." in path.parts for path in paths)


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in a TOML file of ours."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: readers see the old content or the new, never a part."""
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        fresh = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.chmod(0o666 & ~_umask())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def check_writable(folder: Path) -> None:
    """Raise a LocoError unless files can be written below a folder, which is made where it does not exist."""
    with clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A fresh folder to fill, which takes ``target``'s place when the block ends well and vanishes when it does not.

    A kill at any moment leaves either the old folder or the new one to be found by :func:`recovered`.
    """
    with clear_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(target)
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}{_FRESH}"))
        try:
            fresh.chmod(0o777 & ~_umask())
            yield fresh
            _swap(fresh, target)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def recovered(target: Path) -> Path:
    """``target``, brought back first if a kill struck between setting the old one aside and putting the new one in."""
    if not os.path.lexists(target):
        for retired in _set_aside(target):
            with suppress(OSError):  # a build that goes on, or another reader, has put one there meanwhile
                retired.rename(target)
                break
    return target


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a disk while writing ``path`` into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full. Free some space and run the command again; what stood there is untouched"
        elif error.errno == errno.EFBIG:
            reason = "the file is larger than the system allows (see: ulimit -f); what stood there is untouched"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = "the folder is not writable. Choose another one or change its permissions"
        else:
            reason = error.strerror or str(error)
        raise LocoError(f"Cannot write {path}: {reason}.") from error


def _swap(fresh: Path, target: Path) -> None:
    for attempt in range(_SWAP_ATTEMPTS):
        _clear_set_aside(target)
        retired = target.with_name(f".{target.name}{_RETIRED}{os.getpid()}-{attempt}")
        with suppress(FileNotFoundError):
            target.rename(retired)
        try:
            fresh.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            continue  # another process has put a folder there in between: set that one aside
        _clear_set_aside(target)
        return
    raise LocoError(f"Cannot write {target}: other processes keep replacing it. Stop them and run the command again.")


def _set_aside(target: Path) -> list[Path]:
    return sorted(target.parent.glob(f".{target.name}{_RETIRED}*"))


def _clear_set_aside(target: Path) -> None:
    """Delete what builds have set aside, those included that were killed before they could: never to be recovered."""
    leftovers = _set_aside(target)  # listed before looking for the target, so that one of them is not its only copy
    if target.exists():
        for leftover in leftovers:
            doomed = leftover.with_name(leftover.name.replace(_RETIRED, _FRESH, 1))  # half deleted, none may come back
            with suppress(OSError):
                leftover.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def _clear_abandoned(target: Path) -> None:
    """Delete the fresh folders of builds that were killed: none is filled for as long as a day."""
    for fresh in target.parent.glob(f".{target.name}{_FRESH}*"):
        with suppress(OSError):
            if time.time() - fresh.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(fresh, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
