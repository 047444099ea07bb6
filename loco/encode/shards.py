"""Shards, growing .npy files of vectors, each row with its key and its checksum; and an index of their keys.

In a shard of bags a key has several vectors, in as many rows one after another: each says which part of how many it is,
so that a bag of which a row is damaged or missing is seen to be none.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

KEY_BYTES = 16
BLOCK_BYTES = 1 << 20  # read and checked at once

_HEADER_BYTES = 256
_MAGIC = b"\x93NUMPY\x01\x00"
_SHAPES = re.compile(rb"\('vector', '<f4', \((?P<dim>[1-9]\d{0,8}),\)\).*'shape': \((?P<rows>\d{1,15}),\)")
_PARTS = (("part", "<u4"), ("parts", "<u4"))

# Keys added one by one are kept apart until there are so many, then sorted in among the others.
_RECENT = 1 << 16

Rows = npt.NDArray[np.void]
Keys = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def row_type(dim: int, bags: bool = False) -> np.dtype[np.void]:
    """A row of a shard. The checksum is the CRC-32 of the bytes after it, begun with the seed of the space."""
    parts = _PARTS if bags else ()
    return np.dtype([("checksum", "<u4"), ("key", f"V{KEY_BYTES}"), *parts, ("vector", "<f4", (dim,))])


def header(dim: int, rows: int, bags: bool = False) -> bytes:
    """The .npy header of so many rows: of the same length however many they are, so that it can be rewritten in place.

    Layout: numpy's format 1.0, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    parts = "".join(f"{field}, " for field in _PARTS) if bags else ""
    row = f"[('checksum', '<u4'), ('key', '|V{KEY_BYTES}'), {parts}('vector', '<f4', ({dim},))]"
    text = f"{{'descr': {row}, 'fortran_order': False, 'shape': ({rows},), }}"
    room = _HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"


def packed(keys: Sequence[bytes]) -> Keys:
    """Keys as an array. Raises ValueError for one that has not 16 bytes."""
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return np.frombuffer(b"".join(keys), dtype=f"S{KEY_BYTES}")


def keys_of(rows: Rows) -> Keys:
    """The keys of rows, as an array that sorts and compares."""
    keys: Keys = np.ascontiguousarray(rows["key"]).view(f"S{KEY_BYTES}")
    return keys


def checksums(rows: Rows, seed: int) -> npt.NDArray[np.uint32]:
    """What the checksum of each row must be."""
    size = rows.dtype.itemsize
    content = rows.view(np.uint8).data
    sums = [zlib.crc32(content[start + 4 : start + size], seed) for start in range(0, len(content), size)]
    return np.array(sums, dtype=np.uint32)


def sound(rows: Rows, seed: int) -> Mask:
    """Which rows are as they were written, in a space with this seed."""
    kept: Mask = rows["checksum"] == checksums(rows, seed)
    return kept


@dataclass(frozen=True)
class Block:
    """Rows of a shard that lie together: the number of the first one, their keys, and which of them are sound.

    Of bags also which ``part`` of how many ``parts`` each row is, shape (2, rows); None else.
    """

    first: int
    keys: Keys
    sound: Mask
    parts: Places | None = None


class Shard:
    """An open shard.

    ``rows`` is how many there are to read, ``lost`` how many more its header promises, ``garbled`` that it has no
    header of ours; its rows are then found by their length. It is read by plain reads and not through a memory map,
    for a map kills the process, without a word, where the file has become shorter or the disk fails.
    """

    def __init__(self, path: Path, dim: int | None, seed: int, *, bags: bool = False, writable: bool = False) -> None:
        """Open a shard of vectors of length ``dim``, or of bags of them; ``dim`` is None for what its header says.

        Raises OSError where that fails, where the path is no plain file, and where nothing states the length.
        """
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        self.path = path
        self._seed = seed
        self._stream = FileIO(path, "r+b" if writable else "rb")
        try:
            for _ in range(3):  # another process may be in the middle of rewriting the header
                self._measure(dim, bags)
                if self.whole:
                    break
        except BaseException:
            self.close()
            raise

    @property
    def whole(self) -> bool:
        """Whether the file is as its header says; nothing is said about its rows."""
        return not self.garbled and not self.lost

    def firsts(self) -> range:
        """Where its blocks begin."""
        return range(0, self.rows, self.block_rows)

    def read(self, rows: Rows, first: int) -> None:
        """Fill ``rows`` with what stands from the row ``first`` on. What cannot be read stays as it is."""
        with suppress(OSError):
            self._read_into(rows.view(np.uint8).data, self._offset(first))

    def block(self, first: int) -> tuple[Block, Rows]:
        """The rows from ``first`` on that are read at once, checked."""
        rows = np.zeros(min(self.block_rows, self.rows - first), self.type)  # no checksum matches zeros
        self.read(rows, first)
        parts = np.stack([rows["part"], rows["parts"]]).astype(np.int64) if self.bags else None
        return Block(first, keys_of(rows), sound(rows, self._seed), parts), rows

    def append(self, rows: Rows) -> None:
        """Write rows behind the others, then count them in the header: all of them are there then, before none.

        Only for whoever holds the shard's lock. Raises OSError, the shard being as before.
        """
        end = self._offset(self.rows)
        try:
            self._write(rows.view(np.uint8).data, end)
            self._write(memoryview(header(self.dim, self.rows + len(rows), self.bags)), 0)
        except OSError:
            with suppress(OSError):
                self._stream.truncate(end)
            raise
        self.rows += len(rows)

    def sync(self) -> None:
        """Have the system put it on the disk. Raises OSError."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def damage(self, unsound: int) -> str | None:
        """One sentence on what is wrong with it, ``unsound`` of its rows failing their checksums; None if nothing."""
        wrong = []
        if self.garbled:
            wrong.append("its header is not readable")
        if self.lost:
            wrong.append(f"{self.lost:,} of its {self.rows + self.lost:,} vectors are cut off")
        if unsound:
            wrong.append(f"{unsound:,} of its {self.rows:,} vectors do not match their checksums")
        return f"{self.path} is damaged: {', '.join(wrong)}." if wrong else None

    def _measure(self, dim: int | None, bags: bool) -> None:
        head = bytearray(_HEADER_BYTES)
        self._read_into(memoryview(head), 0)
        stated = _stated(bytes(head))
        self.garbled = stated is None or (dim is not None and (dim, bags) != stated[:2])
        if dim is None:
            if stated is None:
                raise OSError(errno.EINVAL, "its header is not readable")
            dim, bags = stated[:2]
        self.dim, self.bags = dim, bags
        self.type = row_type(dim, bags)
        self.block_rows = max(1, BLOCK_BYTES // self.type.itemsize)
        room = max(0, os.fstat(self._stream.fileno()).st_size - _HEADER_BYTES) // self.type.itemsize
        promised = room if stated is None or self.garbled else stated[2]
        self.rows = min(promised, room)
        self.lost = promised - self.rows

    def _offset(self, row: int) -> int:
        return _HEADER_BYTES + row * self.type.itemsize

    def _read_into(self, buffer: memoryview, offset: int) -> None:
        self._stream.seek(offset)
        while len(buffer) and (count := self._stream.readinto(buffer)):
            buffer = buffer[count:]

    def _write(self, content: memoryview, offset: int) -> None:
        self._stream.seek(offset)
        while len(content):
            content = content[self._stream.write(content) :]


def create(path: Path, dim: int, bags: bool = False) -> None:
    """Make a shard without rows, in one step. Only for whoever holds its lock. Raises OSError."""
    with _fresh(path) as stream:
        stream.write(header(dim, 0, bags))
    fresh_name(path).replace(path)


def rewrite(shard: Shard) -> int:
    """Put a file of its sound rows in a shard's place, in one step, or nothing where it has none; how many it has.

    Of bags only whole ones are kept. The shard is closed then. Only for whoever holds its lock. Whoever has the old
    file open goes on reading that one. Raises OSError, the file being as before.
    """
    kept = 0
    try:
        with _fresh(shard.path) as stream:
            stream.write(header(shard.dim, 0, shard.bags))
            wanted = _in_whole_bags(shard) if shard.bags else None
            for first in shard.firsts():
                block, rows = shard.block(first)
                keep = block.sound if wanted is None else block.sound & wanted[first : first + len(rows)]
                stream.write(rows[keep].tobytes())
                kept += int(keep.sum())
            stream.seek(0)
            stream.write(header(shard.dim, kept, shard.bags))
            stream.flush()
            os.fsync(stream.fileno())
        shard.close()  # not every system replaces an open file
        if kept:
            fresh_name(shard.path).replace(shard.path)
        else:
            shard.path.unlink()
    finally:
        fresh_name(shard.path).unlink(missing_ok=True)
    return kept


def fresh_name(path: Path) -> Path:
    """Where a shard is written before it takes its place; a kill may leave it behind, for the next one to clear."""
    return path.with_name(f".{path.name}.fresh")


def _fresh(path: Path) -> Any:
    fresh_name(path).unlink(missing_ok=True)
    return fresh_name(path).open("xb")


def _stated(head: bytes) -> tuple[int, bool, int] | None:
    """The length of a vector, whether there are bags, and how many rows a header states; None if we never wrote it."""
    shapes = _SHAPES.search(head)
    if shapes is None:
        return None
    dim, rows = int(shapes["dim"]), int(shapes["rows"])
    return next(((dim, bags, rows) for bags in (False, True) if head == header(dim, rows, bags)), None)


class Bags:
    """Finds the whole bags of a shard, block by block."""

    def __init__(self) -> None:
        self._last: tuple[bytes, int, int] | None = None  # the row before: its key, part and parts, if it is sound
        self._begun = 0  # where the rows begin that have followed on one another up to there

    def whole(self, block: Block) -> tuple[Keys, Places, Places]:
        """The bags whose last row is in a block: their keys, first rows and sizes. Blocks must come in their order."""
        if block.parts is None:
            raise ValueError("the shard has no bags")
        part, parts = block.parts
        good = block.sound & (part < parts)
        follows = good.copy()
        follows[1:] &= good[:-1] & (block.keys[1:] == block.keys[:-1]) & (np.diff(part) == 1) & (np.diff(parts) == 0)
        follows[:1] &= self._last == (bytes(block.keys[0]), int(part[0]) - 1, int(parts[0]))
        rows = block.first + np.arange(len(good))
        begun = np.maximum.accumulate(np.where(follows, self._begun, rows))
        ends = good & (part + 1 == parts) & (begun <= rows - part)
        self._last = (bytes(block.keys[-1]), int(part[-1]), int(parts[-1])) if good[-1] else None
        self._begun = int(begun[-1])
        return block.keys[ends], (rows - part)[ends], parts[ends]


def _in_whole_bags(shard: Shard) -> Mask:
    """Which rows of a shard belong to bags of which nothing is damaged."""
    steps = np.zeros(shard.rows + 1, dtype=np.int64)
    bags = Bags()
    for first in shard.firsts():
        _, heads, sizes = bags.whole(shard.block(first)[0])
        np.add.at(steps, heads, 1)
        np.add.at(steps, heads + sizes, -1)
    inside: Mask = np.cumsum(steps[:-1]) > 0
    return inside


class KeyIndex:
    """Where each key's vector lies, as a number of the caller's. Of a key given twice the first place stays.

    24 bytes a key, and a constant 10 MB or so for the last 65,536 ones added.
    """

    def __init__(self, keys: Keys, places: Places) -> None:
        self._keys, first = np.unique(keys, return_index=True)
        self._places = places[first]
        self._recent: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._recent)

    def find(self, keys: Sequence[bytes]) -> Places:
        """The place of each key, -1 for one that is not there. Raises ValueError for a key that has not 16 bytes."""
        wanted = packed(keys)
        places = np.full(len(wanted), -1, dtype=np.int64)
        if len(self._keys):
            near = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
            places = np.where(self._keys[near] == wanted, self._places[near], places)
        if self._recent:
            for number in np.flatnonzero(places < 0).tolist():
                places[number] = self._recent.get(keys[number], -1)
        return places

    def add(self, keys: Sequence[bytes], at: Sequence[int]) -> None:
        """Keys that are not there yet, each once, and the place of each."""
        self._recent.update(zip(keys, at, strict=True))
        if len(self._recent) >= _RECENT:
            recent = packed(list(self._recent))
            order = np.argsort(recent)
            before = np.searchsorted(self._keys, recent[order])
            places = np.fromiter(self._recent.values(), dtype=np.int64, count=len(recent))
            self._places = np.insert(self._places, before, places[order])
            self._keys = np.insert(self._keys, before, recent[order])
            self._recent = {}


def joined(blocks: Iterator[tuple[Keys, Places]]) -> KeyIndex:
    """An index of all the blocks' keys."""
    keys, places = [packed([])], [np.empty(0, dtype=np.int64)]
    for some_keys, some_places in blocks:
        keys.append(some_keys)
        places.append(some_places)
    return KeyIndex(np.concatenate(keys), np.concatenate(places))
