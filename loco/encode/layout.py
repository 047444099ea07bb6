"""What lies where in the folder of an embedding store, and the locks under which it is changed.

    <folder>/<model>-<hash of the description>/space.json     what decides its vectors, and when it was last used
                                               0000.npy       vectors, keys and checksums (loco.encode.shards)
                                               0000.lock      held by the process that appends to 0000.npy

Shards are chosen, and deleted, only under ``<folder>/.lock``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from loco.encode.shards import Block, Shard
from loco.errors import LocoError
from loco.progress import tracked

if TYPE_CHECKING:
    from filelock import BaseFileLock

Scalar = bool | int | float | str | None

LAYOUT: Literal[1] = 1
"""To be raised when a shard or a description means something else than before: no vector is then reused."""

DESCRIPTION = "space.json"

_LOCK = ".lock"
_HASH_DIGITS = 16
_SPACE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]*-[0-9a-f]{{{_HASH_DIGITS}}}")
_SHARD = re.compile(r"\d{4}\.npy")
_SLOT = re.compile(r"\d{4}\.(npy|lock)")
_OURS = re.compile(r"\.?space\.json(\..+)?|\d{4}\.(npy|lock)|\.\d{4}\.npy\.fresh")


class SpaceFile(BaseModel):
    """What stands in space.json."""

    model_config = ConfigDict(extra="forbid")

    layout: Literal[1]
    dim: int
    bags: bool = False
    description: dict[str, Scalar]


# --- Names


def space_name(model: str, content: bytes) -> str:
    """The folder of a space of a model whose space.json has this content."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:60].strip("-._") or "model"
    return f"{slug}-{_hash(content)}"


def model_in(space_name: str) -> str:
    """The model's name as far as a folder's name has it."""
    return space_name[: -_HASH_DIGITS - 1]


def seed_of(space_name: str) -> int:
    """What the checksums of a space begin with, so that a file of another space is seen to be one."""
    return int(space_name[-8:], 16)


def described(space: Path) -> SpaceFile | None:
    """What the space.json of a space says, None where it is missing or damaged."""
    path = space / DESCRIPTION
    with suppress(OSError, ValidationError):
        content = b"" if path.is_symlink() else path.read_bytes()
        if _hash(content) == space.name[-_HASH_DIGITS:]:
            return SpaceFile.model_validate_json(content)
    return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


# --- Files


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is none. Raises LocoError where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LocoError(
            f"Cannot read {folder}: {error.strerror}. Choose another folder with --cache FOLDER."
        ) from error


def spaces(root: Path) -> list[Path]:
    """The folders of the spaces of a store."""
    return [path for path in entries(root) if _SPACE.fullmatch(path.name) and _is_folder(path)]


def shard_path(space: Path, slot: int) -> Path:
    """Where the shard with a number lies, or would lie."""
    return space / f"{slot:04}.npy"


def shard_paths(space: Path) -> list[Path]:
    """The shards of a space."""
    return [path for path in entries(space) if _SHARD.fullmatch(path.name)]


def lockable_paths(space: Path) -> list[Path]:
    """The shards of a space, those included of which nothing but the lock is there."""
    return sorted({path.with_suffix(".npy") for path in entries(space) if _SLOT.fullmatch(path.name)})


def own_files(space: Path) -> list[Path]:
    """The files of a space that the store has made, the description last."""
    ours = [path for path in entries(space) if _OURS.fullmatch(path.name) and not _is_folder(path)]
    return sorted(ours, key=lambda path: path.name == DESCRIPTION)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


# --- Reading all shards of a space


def opened(space: Path, dim: int | None, bags: bool = False) -> tuple[list[Shard], list[str]]:
    """The shards of a space of vectors of length ``dim``, or of bags of them (``dim`` None for what their headers say),
    to be closed by the caller, and a sentence on each that cannot be opened.
    """
    found, unusable = [], []
    for path in shard_paths(space):
        try:
            found.append(Shard(path, dim, seed_of(space.name), bags=bags))
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError as error:
            unusable.append(f"{path} is not used: {error.strerror}.")
    return found, unusable


def checked(shards: Sequence[Shard], label: str, damaged: list[str]) -> Iterator[tuple[int, Block]]:
    """The blocks of shards with their shard's place among them, counted by a bar called ``label``.

    At the end a sentence on each damaged shard joins ``damaged``.
    """
    unsound = [0] * len(shards)
    blocks = [(number, first) for number, shard in enumerate(shards) for first in shard.firsts()]
    for number, first in tracked(blocks, label):
        block, _ = shards[number].block(first)
        unsound[number] += int((~block.sound).sum())
        yield number, block
    damaged += [sentence for shard, bad in zip(shards, unsound, strict=True) if (sentence := shard.damage(bad))]


# --- Locks


@contextmanager
def structure(root: Path) -> Iterator[None]:
    """Alone with the structure of a store: nobody else chooses or deletes shards meanwhile."""
    from filelock import FileLock

    with FileLock(root / _LOCK):
        yield


def acquired(shard: Path) -> BaseFileLock | None:
    """The lock of a shard, or None where somebody writes to it. To be called while the structure is held."""
    from filelock import FileLock, Timeout

    path = shard.with_suffix(".lock")
    if path.is_symlink():  # none of ours
        path.unlink()
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
