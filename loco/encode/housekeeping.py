"""Keeping an embedding store in order: what it holds, whether it is sound, and what may go."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from loco.encode.layout import (
    DESCRIPTION,
    Scalar,
    acquired,
    checked,
    described,
    entries,
    lockable_paths,
    model_in,
    opened,
    own_files,
    seed_of,
    shard_paths,
    spaces,
    structure,
)
from loco.encode.shards import Shard, rewrite
from loco.errors import LocoError, unknown
from loco.files import clear_errors


@dataclass(frozen=True)
class SpaceRecord:
    """A space as it lies on disk: ``vectors`` as its files state them, unchecked, ``bytes`` all of its files.

    ``bags`` says that a key may have several vectors. ``description`` and ``dim`` are empty and None where its
    space.json is damaged; the next run that uses the space writes it again.
    """

    folder: Path
    model: str
    description: Mapping[str, Scalar]
    dim: int | None
    bags: bool
    vectors: int
    bytes: int
    last_used: datetime


@dataclass(frozen=True)
class Verification:
    """How many vectors were read and found sound, and one sentence for each file that is damaged."""

    vectors: int
    findings: tuple[str, ...]


@dataclass(frozen=True)
class PruneOutcome:
    """What has gone: names of whole spaces, damaged files repaired, bytes freed; and what was left as it is in use."""

    removed: tuple[str, ...]
    repaired: tuple[Path, ...]
    in_use: tuple[str, ...]
    freed_bytes: int


def list_spaces(folder: Path) -> list[SpaceRecord]:
    """What the store in a folder holds, the space used last first."""
    records = []
    for space in spaces(folder):
        with suppress(FileNotFoundError):  # pruned meanwhile
            records.append(_record(space))
    return sorted(records, key=lambda record: record.last_used, reverse=True)


def verify(folder: Path) -> Verification:
    """Read all of a store and check it."""
    vectors = 0
    findings: list[str] = []
    for record in list_spaces(folder):
        if record.dim is None and record.vectors:
            findings.append(
                f"{record.folder / DESCRIPTION} is missing or damaged. The next run that uses it writes it again."
            )
        shards, damaged = opened(record.folder, record.dim, record.bags)
        try:
            for _, block in checked(shards, f"verifying {record.folder.name}", damaged):
                vectors += int(block.sound.sum())
        finally:
            for shard in shards:
                shard.close()
        findings += damaged
    return Verification(vectors, tuple(findings))


def prune(
    folder: Path,
    *,
    model: str | None = None,
    unused_days: float | None = None,
    damaged: bool = False,
    everything: bool = False,
) -> PruneOutcome:
    """Delete the spaces of a model, those unused for some days (both: those for which both holds), or all.

    With ``damaged`` only what is damaged goes, in those spaces or, if no others are named, in all: a damaged file
    is replaced by one of its sound vectors. What another process is writing is left. Only files of the store are
    deleted, and none outside its folder.

    Raises LocoError where nothing is named, for a model without stored vectors, and where the folder is not writable.
    """
    if model is None and unused_days is None and not damaged and not everything:
        raise LocoError("Say what to delete: one model, what is long unused, what is damaged, or everything.")
    records = list_spaces(folder)
    if model is not None and model not in {record.model for record in records}:
        raise unknown("model with stored vectors called", model, {record.model for record in records}, "loco cache ls")
    now = datetime.now(timezone.utc)
    removed, repaired, in_use, freed = [], [], [], 0
    for record in records:
        if model is not None and record.model != model:
            continue
        if unused_days is not None and (now - record.last_used).total_seconds() < unused_days * 24 * 3600:
            continue
        with clear_errors(record.folder):
            before = _bytes(record.folder)
            if damaged:
                files, busy = _repaired(folder, record)
                repaired += files
                in_use += [record.folder.name] if busy else []
            elif _removed(folder, record.folder):
                removed.append(record.folder.name)
            else:
                in_use.append(record.folder.name)
            freed += max(0, before - _bytes(record.folder))
    return PruneOutcome(tuple(removed), tuple(repaired), tuple(in_use), freed)


def _removed(root: Path, folder: Path) -> bool:
    """Delete the files of a space, its description last; False if a process writes to it."""
    with structure(root):
        for path in lockable_paths(folder):
            lock = acquired(path)
            if lock is None:
                return False
            lock.release()  # nobody takes it before the structure is free again
        for path in own_files(folder):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's files lie there
            folder.rmdir()
    return True


def _repaired(root: Path, record: SpaceRecord) -> tuple[list[Path], bool]:
    """Repair the damaged shards of a space: those repaired, and whether one was left as a process writes to it."""
    repaired, busy = [], False
    for path in shard_paths(record.folder):
        with structure(root):
            if not path.exists():  # pruned meanwhile
                continue
            lock = acquired(path)
        if lock is None:
            busy = True
            continue
        try:
            shard = Shard(path, record.dim, seed_of(record.folder.name), bags=record.bags)
        except OSError:  # no file of ours, or gone meanwhile
            lock.release()
            continue
        try:
            damaged: list[str] = []
            for _ in checked([shard], f"verifying {record.folder.name}", damaged):
                pass
            if damaged:
                rewrite(shard)
                repaired.append(path)
        finally:
            shard.close()
            lock.release()
    return repaired, busy


def _record(folder: Path) -> SpaceRecord:
    says = described(folder)
    dim = says.dim if says else None
    bags = says is not None and says.bags
    shards, _ = opened(folder, dim, bags)
    vectors = sum(shard.rows for shard in shards)
    for shard in shards:
        shard.close()
    path = folder / DESCRIPTION
    used = (path if path.is_file() else folder).lstat().st_mtime
    return SpaceRecord(
        folder=folder,
        model=str(says.description.get("model")) if says else model_in(folder.name),
        description=says.description if says else {},
        dim=dim,
        bags=bags,
        vectors=vectors,
        bytes=_bytes(folder),
        last_used=datetime.fromtimestamp(used, timezone.utc),
    )


def _bytes(folder: Path) -> int:
    total = 0
    for path in entries(folder):
        with suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total
