"""The embedding store: vectors on disk, found by what went into the model and by everything that decided them.

    <folder>/<model>-<hash of the description>/space.json     what decides its vectors, and when it was last used
                                               0000.npy       vectors, keys and checksums (loco.encode.shards)
                                               0000.lock      held by the process that appends to 0000.npy

A process appends to the first shard nobody else holds, or to a new one: there are as many shards as there ever were
processes writing at once. Shards are chosen, and deleted, only under ``<folder>/.lock``.

What :meth:`Space.add` returned from outlives a kill of the process, for the system has it. It is not waited for until
it is on the disk before the space is closed: what a power cut takes is found by its checksum and computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from loco.encode import shards
from loco.encode.shards import KEY_BYTES, Block, Keys, Places, Shard
from loco.errors import LocoError, unknown
from loco.files import check_writable, clear_errors, write_atomically
from loco.progress import tracked
from loco.rank.ranking import Float32

if TYPE_CHECKING:
    from filelock import BaseFileLock

Scalar = bool | int | float | str | None

_LAYOUT = 1  # to be raised when a shard or a description means something else than before: no vector is then reused
_LOCK = ".lock"
_DESCRIPTION = "space.json"
_HASH_DIGITS = 16
_SPACE = re.compile(rf"(?P<model>[A-Za-z0-9][A-Za-z0-9._-]*)-(?P<hash>[0-9a-f]{{{_HASH_DIGITS}}})")
_SHARD = re.compile(r"\d{4}\.npy")
_SLOT = re.compile(r"\d{4}\.(npy|lock)")
_OURS = re.compile(r"\.?space\.json(\..+)?|\d{4}\.(npy|lock)|\.\d{4}\.npy\.fresh")
_SHARDS = 10_000
_ROW_BITS = 40  # of a place: the number of the shard stands above them


class _SpaceFile(BaseModel):
    """What stands in space.json."""

    model_config = ConfigDict(extra="forbid")

    layout: Literal[1]
    dim: int
    description: dict[str, Scalar]


@dataclass(frozen=True)
class SpaceRecord:
    """A space as it lies on disk: ``vectors`` as its files state them, unchecked, ``bytes`` all of its files.

    ``description`` and ``dim`` are empty and None where its space.json is damaged; the next run that uses the space
    writes it again.
    """

    folder: Path
    model: str
    description: Mapping[str, Scalar]
    dim: int | None
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


class EmbeddingStore:
    """The store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def space(self, description: Mapping[str, Scalar], dim: int) -> Space:
        """Open the vectors of length ``dim`` that have everything in common that ``description`` names.

        The description must name all that decides a vector except the input, among it the ``model``. Nothing is
        written before the first vector is added. All stored vectors of the space are read and checked, about 1.1 GB/s
        on one core where the system has the files in memory. Close the space, or use it in a ``with``.

        Raises LocoError where the folder is not writable.
        """
        content = json.dumps(
            {"layout": _LAYOUT, "dim": dim, "description": dict(description)}, sort_keys=True, indent=2, allow_nan=False
        ).encode()
        name = f"{_slug(str(description['model']))}-{_hash(content)}"
        folder = self.folder / name
        if folder.is_symlink():
            raise LocoError(f"{folder} is a link, which the store does not follow. Remove it.")
        with _advice():
            check_writable(self.folder)
        return Space(self.folder, name, content, dim)


class Space:
    """Vectors of length ``dim`` by 16-byte keys; of a key added twice the first vector stays.

    It knows the vectors that were there when it was opened and those it added, not what other processes add meanwhile.
    Threads may share it, processes may not. In memory it takes 24 bytes a vector, about 100 for a moment while it is
    opened, and a constant 15 MB or so.

    ``damaged`` holds a sentence for each damaged file found at opening; what is lost there counts as missing.
    """

    def __init__(self, root: Path, name: str, content: bytes, dim: int) -> None:
        """Use :meth:`EmbeddingStore.space`."""
        self.dim = dim
        self.folder = root / name
        self._root = root
        self._content = content
        self._seed = _seed(name)
        self._process = os.getpid()
        self._access = threading.Lock()
        self._own: tuple[BaseFileLock, int] | None = None
        if self.folder.exists():
            with _advice(), clear_errors(self.folder), _structure(root):
                if self.folder.exists():  # and nobody has just pruned it
                    check_writable(self.folder)
                    self._describe()
        self._shards, self.damaged = _opened(self.folder, dim, self._seed)
        try:
            self._index = shards.joined(self._places(_checked(self._shards, "checking stored vectors", self.damaged)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Space:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: bytes) -> bool:
        return not self.missing([key])

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """The positions in ``keys`` of those that have no vector. Raises ValueError for a key that has not 16 bytes."""
        with self._access:
            absent: list[int] = np.flatnonzero(self._index.find(keys) < 0).tolist()
        return absent

    def add(self, keys: Sequence[bytes], vectors: Float32) -> None:
        """Store ``vectors``, float32 of shape (keys, dim): all of them or, where that fails, none.

        Raises LocoError where they cannot be written; what was stored before stays. Raises ValueError for vectors of
        another shape or type, for one that is not finite, and for a key that has not 16 bytes.
        """
        if vectors.shape != (len(keys), self.dim) or vectors.dtype != np.float32:
            raise ValueError(
                f"{len(keys)} keys take float32 vectors of shape ({len(keys)}, {self.dim}), "
                f"not {vectors.dtype} of shape {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite")
        with self._access:
            self._check_process()
            new: dict[bytes, int] = {}
            for number in np.flatnonzero(self._index.find(keys) < 0).tolist():
                new.setdefault(bytes(keys[number]), number)
            if not new:
                return
            rows = np.zeros(len(new), shards.row_type(self.dim))
            rows["key"] = np.frombuffer(b"".join(new), dtype=f"V{KEY_BYTES}")
            rows["vector"] = vectors[list(new.values())]
            rows["checksum"] = shards.checksums(rows, self._seed)
            with _advice(), clear_errors(self.folder):
                _, number = self._own = self._own or self._claim()
                shard = self._shards[number]
                first = shard.rows
                shard.append(rows)
            self._index.add(list(new), (number << _ROW_BITS) + first)

    def get(self, keys: Sequence[bytes]) -> Float32:
        """The vectors of ``keys``, shape (keys, dim), checked as they are read.

        Besides them no more than a few MB are held: read in slices what does not fit into memory. Raises KeyError for
        a key without a vector, and LocoError where a vector has been damaged since the space was opened.
        """
        with self._access:
            self._check_process()
            places = self._index.find(keys)
            if (places < 0).any():
                raise KeyError(keys[int(np.argmin(places))].hex())
            vectors = np.empty((len(keys), self.dim), dtype=np.float32)
            wanted = shards.packed(keys)
            order = np.argsort(places, kind="stable")
            at_once = max(1, shards.BLOCK_BYTES // shards.row_type(self.dim).itemsize)
            for start in range(0, len(order), at_once):
                some = order[start : start + at_once]
                rows = self._rows(places[some])
                if not (shards.sound(rows, self._seed) & (shards.keys_of(rows) == wanted[some])).all():
                    raise LocoError(
                        f"Vectors in {self.folder} have been damaged while the command ran. Run it again: they are "
                        "computed anew. If it happens again, check the disk, or choose another folder with "
                        "--cache FOLDER."
                    )
                vectors[some] = rows["vector"]
        return vectors

    def close(self) -> None:
        """Have the system put what was added on the disk, and let the files go. Raises LocoError where that fails."""
        with self._access:
            own, self._own = self._own, None
            try:
                if own is not None and self._process == os.getpid():
                    with _advice(), clear_errors(self.folder):
                        self._shards[own[1]].sync()
            finally:
                for shard in self._shards:
                    shard.close()
                if own is not None and self._process == os.getpid():
                    own[0].release()

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise RuntimeError("a space of the embedding store belongs to the process that opened it")

    def _places(self, blocks: Iterable[tuple[int, Block]]) -> Iterator[tuple[Keys, Places]]:
        for number, block in blocks:
            rows = np.flatnonzero(block.sound)
            yield block.keys[rows], (number << _ROW_BITS) + block.first + rows

    def _rows(self, places: Places) -> shards.Rows:
        """The rows at ascending places, neighbours read together."""
        rows = np.zeros(len(places), shards.row_type(self.dim))
        starts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        for start, stop in pairwise(starts):
            number, first = divmod(int(places[start]), 1 << _ROW_BITS)
            self._shards[number].read(rows[start:stop], first)
        return rows

    def _describe(self) -> None:
        """Have the folder described, and marked as used now."""
        path = self.folder / _DESCRIPTION
        if path.is_symlink() or not path.is_file() or path.read_bytes() != self._content:
            write_atomically(path, self._content)
        with suppress(OSError):
            os.utime(path)

    def _claim(self) -> tuple[BaseFileLock, int]:
        """Open a shard nobody else appends to; its lock and its number among ours."""
        with _structure(self._root):
            self._describe()
            for slot in range(_SHARDS):
                path = self.folder / f"{slot:04}.npy"
                lock = None if path.is_symlink() else _acquired(path)
                if lock is None:
                    continue
                shard = None
                try:
                    shard = self._appendable(path)
                finally:
                    if shard is None:
                        lock.release()
                if shard is not None:
                    self._shards.append(shard)
                    return lock, len(self._shards) - 1
        raise LocoError(f"{self.folder} is full of damaged files. Remove it, or run: loco cache prune --damaged")

    def _appendable(self, path: Path) -> Shard | None:
        """A shard, made if it is not there, or None where it is damaged or something else."""
        if not path.exists():
            shards.create(path, self.dim)
        try:
            shard = Shard(path, self.dim, self._seed, writable=True)
        except OSError:
            return None
        if shard.whole:
            return shard
        shard.close()
        return None


def list_spaces(folder: Path) -> list[SpaceRecord]:
    """What the store in a folder holds, the space used last first."""
    records = []
    for path in _entries(folder):
        if _SPACE.fullmatch(path.name) and _is_folder(path):
            with suppress(FileNotFoundError):  # pruned meanwhile
                records.append(_record(path))
    return sorted(records, key=lambda record: record.last_used, reverse=True)


def verify(folder: Path) -> Verification:
    """Read all of a store and check it."""
    vectors = 0
    findings: list[str] = []
    for record in list_spaces(folder):
        if record.dim is None and record.vectors:
            findings.append(
                f"{record.folder / _DESCRIPTION} is missing or damaged. The next run that uses it writes it again."
            )
        opened, damaged = _opened(record.folder, record.dim, _seed(record.folder.name))
        try:
            for _, block in _checked(opened, f"verifying {record.folder.name}", damaged):
                vectors += int(block.sound.sum())
        finally:
            for shard in opened:
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
    with _structure(root):
        for slot in sorted({path.stem for path in _entries(folder) if _SLOT.fullmatch(path.name)}):
            lock = _acquired(folder / f"{slot}.npy")
            if lock is None:
                return False
            lock.release()  # nobody takes it before the structure is free again
        ours = [path for path in _entries(folder) if _OURS.fullmatch(path.name) and not _is_folder(path)]
        for path in sorted(ours, key=lambda path: path.name == _DESCRIPTION):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's files lie there
            folder.rmdir()
    return True


def _repaired(root: Path, record: SpaceRecord) -> tuple[list[Path], bool]:
    """Repair the damaged shards of a space: those repaired, and whether one was left as a process writes to it."""
    repaired, busy = [], False
    for path in _shard_paths(record.folder):
        with _structure(root):
            if not path.exists():  # pruned meanwhile
                continue
            lock = _acquired(path)
        if lock is None:
            busy = True
            continue
        try:
            shard = Shard(path, record.dim, _seed(record.folder.name))
        except OSError:  # no file of ours, or gone meanwhile
            lock.release()
            continue
        try:
            damaged: list[str] = []
            for _ in _checked([shard], f"verifying {record.folder.name}", damaged):
                pass
            if damaged:
                shards.rewrite(shard)
                repaired.append(path)
        finally:
            shard.close()
            lock.release()
    return repaired, busy


def _record(folder: Path) -> SpaceRecord:
    path = folder / _DESCRIPTION
    described = None
    with suppress(OSError, ValidationError):
        content = b"" if path.is_symlink() else path.read_bytes()
        if _hash(content) == folder.name[-_HASH_DIGITS:]:
            described = _SpaceFile.model_validate_json(content)
    dim = described.dim if described else None
    opened, _ = _opened(folder, dim, _seed(folder.name))
    vectors = sum(shard.rows for shard in opened)
    for shard in opened:
        shard.close()
    used = (path if path.is_file() else folder).lstat().st_mtime
    return SpaceRecord(
        folder=folder,
        model=str(described.description.get("model")) if described else folder.name[: -_HASH_DIGITS - 1],
        description=described.description if described else {},
        dim=dim,
        vectors=vectors,
        bytes=_bytes(folder),
        last_used=datetime.fromtimestamp(used, timezone.utc),
    )


def _opened(folder: Path, dim: int | None, seed: int) -> tuple[list[Shard], list[str]]:
    """The shards of a space, and a sentence on each that cannot be opened."""
    opened, unusable = [], []
    for path in _shard_paths(folder):
        try:
            opened.append(Shard(path, dim, seed))
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError as error:
            unusable.append(f"{path} is not used: {error.strerror}.")
    return opened, unusable


def _checked(opened: Sequence[Shard], label: str, damaged: list[str]) -> Iterator[tuple[int, Block]]:
    """The blocks of shards with their shard's number; at the end a sentence on each damaged shard joins ``damaged``."""
    unsound = [0] * len(opened)
    for number, first in tracked(
        [(number, first) for number, shard in enumerate(opened) for first in shard.firsts()], label
    ):
        block, _ = opened[number].block(first)
        unsound[number] += int((~block.sound).sum())
        yield number, block
    damaged += [sentence for shard, bad in zip(opened, unsound, strict=True) if (sentence := shard.damage(bad))]


@contextmanager
def _structure(root: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(root / _LOCK):
        yield


def _acquired(shard: Path) -> BaseFileLock | None:
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


@contextmanager
def _advice() -> Iterator[None]:
    try:
        yield
    except LocoError as error:
        raise LocoError(f"{error} Or keep the vectors elsewhere: --cache FOLDER.") from error


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is none."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LocoError(
            f"Cannot read {folder}: {error.strerror}. Choose another folder with --cache FOLDER."
        ) from error


def _shard_paths(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _SHARD.fullmatch(path.name)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _bytes(folder: Path) -> int:
    total = 0
    for path in _entries(folder):
        with suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total


def _slug(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:60].strip("-._") or "model"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


def _seed(name: str) -> int:
    """What the checksums of a space begin with, so that a file of another space is seen to be one."""
    return int(name[-8:], 16)
