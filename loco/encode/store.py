"""The embedding store: vectors on disk, found by what went into the model and by everything that decided them.

A process appends to the first shard nobody else holds, or to a new one: there are as many shards as there ever were
processes writing at once. Where they lie: :mod:`loco.encode.layout`.

What :meth:`Space.add` returned from outlives a kill of the process, for the system has it. It is not waited for until
it is on the disk before the space is closed: what a power cut takes is found by its checksum and computed again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from loco.encode import shards
from loco.encode.layout import (
    DESCRIPTION,
    LAYOUT,
    Scalar,
    acquired,
    checked,
    opened,
    seed_of,
    shard_path,
    space_name,
    structure,
)
from loco.encode.shards import KEY_BYTES, Block, Keys, Places, Shard
from loco.errors import LocoError
from loco.files import check_writable, clear_errors, write_atomically
from loco.rank.ranking import Float32

if TYPE_CHECKING:
    from filelock import BaseFileLock

_SHARDS = 10_000
_ROW_BITS = 40  # of a place: the number of the shard stands above them


class EmbeddingStore:
    """The store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def space(self, description: Mapping[str, Scalar], dim: int, *, bags: bool = False) -> Space:
        """Open the vectors of length ``dim`` that have everything in common that ``description`` names.

        With ``bags`` a key has any number of vectors, which are added and found together.

        The description must name all that decides a vector except the input, among it the ``model``. Nothing is
        written before the first vector is added. All stored vectors of the space are read and checked, about 1.1 GB/s
        on one core where the system has the files in memory. Close the space, or use it in a ``with``.

        Raises LocoError where the folder is not writable.
        """
        says = {"layout": LAYOUT, "dim": dim, "description": dict(description)} | ({"bags": True} if bags else {})
        content = json.dumps(says, sort_keys=True, indent=2, allow_nan=False).encode()
        name = space_name(str(description["model"]), content)
        folder = self.folder / name
        if folder.is_symlink():
            raise LocoError(f"{folder} is a link, which the store does not follow. Remove it.")
        with _advice():
            check_writable(self.folder)
        return Space(self.folder, name, content, dim, bags)


class Space:
    """Vectors of length ``dim`` by 16-byte keys; of a key added twice the first vector stays.

    With ``bags`` a key has several vectors: :meth:`add` and :meth:`get` are then told how many each key has, ``sizes``.

    It knows the vectors that were there when it was opened and those it added, not what other processes add meanwhile.
    Threads may share it, processes may not. In memory it takes 24 bytes a key, about 100 for a moment while it is
    opened, and a constant 15 MB or so.

    ``damaged`` holds a sentence for each damaged file found at opening; what is lost there counts as missing.
    """

    def __init__(self, root: Path, name: str, content: bytes, dim: int, bags: bool) -> None:
        """Use :meth:`EmbeddingStore.space`."""
        self.dim, self.bags = dim, bags
        self.folder = root / name
        self._root = root
        self._content = content
        self._seed = seed_of(name)
        self._process = os.getpid()
        self._access = threading.Lock()
        self._own: tuple[BaseFileLock, int] | None = None
        if self.folder.exists():
            with _advice(), clear_errors(self.folder), structure(root):
                if self.folder.exists():  # and nobody has just pruned it
                    check_writable(self.folder)
                    self._describe()
        self._shards, self.damaged = opened(self.folder, dim, bags)
        try:
            self._index = shards.joined(self._places(checked(self._shards, "checking stored vectors", self.damaged)))
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

    def add(self, keys: Sequence[bytes], vectors: Float32, sizes: Sequence[int] | None = None) -> None:
        """Store ``vectors``, float32 of shape (keys, dim), or (sum of sizes, dim): all or, where that fails, none.

        Raises LocoError where they cannot be written; what was stored before stays. Raises ValueError for vectors of
        another shape or type, for one that is not finite, for a bag without vectors, and for a key that has not 16
        bytes.
        """
        counts = self._counts(keys, sizes)
        ends = np.cumsum(counts)
        if vectors.shape != (counts.sum(), self.dim) or vectors.dtype != np.float32:
            raise ValueError(
                f"{len(keys)} keys take float32 vectors of shape ({counts.sum()}, {self.dim}), "
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
            numbers = list(new.values())
            taken = counts[numbers]
            parts = _steps(taken)
            rows = np.zeros(len(parts), shards.row_type(self.dim, self.bags))
            rows["key"] = np.repeat(np.frombuffer(b"".join(new), dtype=f"V{KEY_BYTES}"), taken)
            rows["vector"] = vectors[np.repeat(ends[numbers] - taken, taken) + parts]
            if self.bags:
                rows["part"], rows["parts"] = parts, np.repeat(taken, taken)
            rows["checksum"] = shards.checksums(rows, self._seed)
            with _advice(), clear_errors(self.folder):
                _, number = self._own = self._own or self._claim()
                shard = self._shards[number]
                first = shard.rows
                shard.append(rows)
            self._index.add(list(new), ((number << _ROW_BITS) + first + np.cumsum(taken) - taken).tolist())

    def get(self, keys: Sequence[bytes], sizes: Sequence[int] | None = None) -> Float32:
        """The vectors of ``keys``, shape (keys, dim), or (sum of sizes, dim), checked as they are read.

        Besides them no more than a few MB are held: read in slices what does not fit into memory. Raises KeyError for
        a key without a vector, and LocoError where a vector has been damaged since the space was opened.
        """
        with self._access:
            self._check_process()
            heads = self._index.find(keys)
            if (heads < 0).any():
                raise KeyError(keys[int(np.argmin(heads))].hex())
            counts = self._counts(keys, sizes)
            parts, sizes_of = _steps(counts), np.repeat(counts, counts)
            places, wanted = np.repeat(heads, counts) + parts, np.repeat(shards.packed(keys), counts)
            vectors = np.empty((len(places), self.dim), dtype=np.float32)
            order = np.argsort(places, kind="stable")
            at_once = max(1, shards.BLOCK_BYTES // shards.row_type(self.dim, self.bags).itemsize)
            for start in range(0, len(order), at_once):
                some = order[start : start + at_once]
                rows = self._rows(places[some])
                right = shards.sound(rows, self._seed) & (shards.keys_of(rows) == wanted[some])
                if self.bags:
                    right &= (rows["part"] == parts[some]) & (rows["parts"] == sizes_of[some])
                if not right.all():
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

    def _counts(self, keys: Sequence[bytes], sizes: Sequence[int] | None) -> Places:
        if (sizes is not None) != self.bags:
            raise ValueError("bags have sizes, and nothing else has")
        if sizes is None:
            return np.ones(len(keys), dtype=np.int64)
        counts = np.fromiter(sizes, dtype=np.int64)
        if len(counts) != len(keys) or (counts < 1).any():
            raise ValueError("there must be a size for each bag, and it is at least 1")
        return counts

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise RuntimeError("a space of the embedding store belongs to the process that opened it")

    def _places(self, blocks: Iterable[tuple[int, Block]]) -> Iterator[tuple[Keys, Places]]:
        bags = [shards.Bags() for _ in self._shards]
        for number, block in blocks:
            if self.bags:
                keys, rows, _ = bags[number].whole(block)
                yield keys, (number << _ROW_BITS) + rows
                continue
            rows = np.flatnonzero(block.sound)
            yield block.keys[rows], (number << _ROW_BITS) + block.first + rows

    def _rows(self, places: Places) -> shards.Rows:
        """The rows at ascending places, neighbours read together."""
        rows = np.zeros(len(places), shards.row_type(self.dim, self.bags))
        starts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        for start, stop in pairwise(starts):
            number, first = divmod(int(places[start]), 1 << _ROW_BITS)
            self._shards[number].read(rows[start:stop], first)
        return rows

    def _describe(self) -> None:
        """Have the folder described, and marked as used now."""
        path = self.folder / DESCRIPTION
        if path.is_symlink() or not path.is_file() or path.read_bytes() != self._content:
            write_atomically(path, self._content)
        with suppress(OSError):
            os.utime(path)

    def _claim(self) -> tuple[BaseFileLock, int]:
        """Open a shard nobody else appends to; its lock and its number among ours."""
        with structure(self._root):
            self._describe()
            for slot in range(_SHARDS):
                path = shard_path(self.folder, slot)
                lock = None if path.is_symlink() else acquired(path)
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
            shards.create(path, self.dim, self.bags)
        try:
            shard = Shard(path, self.dim, self._seed, bags=self.bags, writable=True)
        except OSError:
            return None
        if shard.whole:
            return shard
        shard.close()
        return None


def _steps(counts: Places) -> Places:
    """0 to each count less 1, one after another."""
    steps: Places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return steps


@contextmanager
def _advice() -> Iterator[None]:
    try:
        yield
    except LocoError as error:
        raise LocoError(f"{error} Or keep the vectors elsewhere: --cache FOLDER.") from error
