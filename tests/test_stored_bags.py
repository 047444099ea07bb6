"""Bags in the embedding store: all vectors of an input together, found whole and unchanged, or missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_embedding_store import key

from loco.encode import shards
from loco.encode.housekeeping import list_spaces, prune, verify
from loco.encode.store import EmbeddingStore, Space
from loco.errors import LocoError
from loco.rank.ranking import Float32

DIM = 6
ROW = shards.row_type(DIM, bags=True).itemsize

WRITER = """
import hashlib, sys
from pathlib import Path

import numpy as np

from loco.encode.store import EmbeddingStore


def bag(number):
    return np.random.default_rng(number).standard_normal((1 + number * 7 % 11, 6), dtype=np.float32)


with EmbeddingStore(Path(sys.argv[1])).space({"model": "late"}, 6, bags=True) as space:
    for first in range(0, 10**9, 3):
        numbers = range(first, first + 3)
        keys = [hashlib.blake2b(str(number).encode(), digest_size=16).digest() for number in numbers]
        parts = [bag(number) for number in numbers]
        space.add(keys, np.concatenate(parts), [len(part) for part in parts])
        print(first // 3, flush=True)
"""


def opened(folder: Path) -> Space:
    return EmbeddingStore(folder).space({"model": "late"}, DIM, bags=True)


def bag(number: int) -> Float32:
    return np.random.default_rng(number).standard_normal((1 + number * 7 % 11, DIM), dtype=np.float32)


def bags(number: int) -> tuple[list[bytes], Float32, list[int]]:
    """The batch of a number: three bags that no other batch has."""
    parts = [bag(3 * number + place) for place in range(3)]
    return [key(3 * number + place) for place in range(3)], np.concatenate(parts), [len(part) for part in parts]


def found(space: Space, count: int) -> list[int]:
    """Which of the first bags are there: bit for bit, or the test fails."""
    there = [number for number in range(count) if key(number) in space]
    if there:
        sizes = [len(bag(number)) for number in there]
        rows = space.get([key(number) for number in there], sizes)
        assert rows.tobytes() == np.concatenate([bag(number) for number in there]).tobytes()
    return there


def fill(folder: Path, batches: int) -> Path:
    with opened(folder) as space:
        for number in range(batches):
            space.add(*bags(number))
        return space.folder / "0000.npy"


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.booleans(),
)
def test_a_space_of_bags_is_a_dictionary_that_keeps_the_first_bag_of_a_key(
    batches: list[list[int]], recent: int, rows_at_once: int, reopened: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_RECENT", recent)
        patch.setattr(shards, "BLOCK_BYTES", rows_at_once * ROW)
        space, kept = opened(Path(folder)), dict[int, Float32]()
        for version, batch in enumerate(batches):
            parts = [bag(number) + version for number in batch]
            rows = np.concatenate([*parts, np.empty((0, DIM), np.float32)])
            space.add([key(number) for number in batch], rows, [len(part) for part in parts])
            for number, part in zip(batch, parts, strict=True):
                kept.setdefault(number, part)
            if reopened:
                space.close()
                space = opened(Path(folder))
        with space:
            assert not space.damaged
            assert [number for number in range(31) if key(number) in space] == sorted(kept)
            order = [*kept, *reversed(kept)]
            rows = space.get([key(number) for number in order], [len(kept[number]) for number in order])
            wanted = np.concatenate([*(kept[number] for number in order), np.empty((0, DIM), np.float32)])
            assert rows.tobytes() == wanted.tobytes()


def test_a_writer_killed_at_any_moment_leaves_whole_bags(tmp_path: Path) -> None:
    for moment in range(3):
        folder = tmp_path / str(moment)
        command = [sys.executable, "-c", WRITER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(1 + 3 * moment):
                process.stdout.readline()
            time.sleep(0.001 * moment)
            os.kill(process.pid, signal.SIGKILL)
            said = process.stdout.read().split()
        with opened(folder) as space:
            assert not space.damaged
            there = found(space, len(space))
            assert there == list(range(len(space)))
            assert len(there) % 3 == 0
            assert len(there) >= 3 * (int(said[-1]) + 1 if said else 1 + 3 * moment)
            space.add(*bags(10**6))
        assert verify(folder).findings == ()


@settings(max_examples=60)
@given(st.data())
def test_no_damage_ever_yields_a_bag_with_a_wrong_vector(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = fill(Path(folder), 5)
        content = bytearray(path.read_bytes())
        kind = data.draw(st.sampled_from(["flip", "cut", "zeros", "moved"]))
        place = data.draw(st.integers(256, len(content) - 1))
        if kind == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[place:]
        elif kind == "zeros":
            stop = min(len(content), place + data.draw(st.integers(1, 900)))
            content[place:stop] = bytes(stop - place)
        else:  # a row in the place of another: sound by itself
            ours, theirs = (256 + ROW * data.draw(st.integers(0, (len(content) - 256) // ROW - 1)) for _ in "ab")
            content[ours : ours + ROW] = content[theirs : theirs + ROW]
        path.write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "BLOCK_BYTES", data.draw(st.integers(1, 9)) * ROW)
            with opened(Path(folder)) as space:
                found(space, 15)
                for number in range(5):
                    space.add(*bags(number))
                assert found(space, 15) == list(range(15))


def test_damage_costs_its_own_bag_and_prune_takes_the_rest_of_that(tmp_path: Path) -> None:
    path = fill(tmp_path, 5)
    counts = [len(bag(number)) for number in range(15)]
    lost = next(number for number in range(4, 15) if counts[number] > 2)
    content = bytearray(path.read_bytes())
    content[256 + ROW * (sum(counts[:lost]) + 1) + 40] ^= 1
    path.write_bytes(content)
    (finding,) = verify(tmp_path).findings
    assert f"1 of its {sum(counts)} vectors do not match their checksums" in finding
    outcome = prune(tmp_path, damaged=True)
    assert outcome.repaired == (path,)
    assert verify(tmp_path).findings == ()
    assert path.stat().st_size == 256 + ROW * (sum(counts) - counts[lost])
    with opened(tmp_path) as space:
        assert not space.damaged
        assert found(space, 15) == [number for number in range(15) if number != lost]


def test_spaces_of_bags_are_listed_verified_and_pruned_like_others(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    with EmbeddingStore(tmp_path).space({"model": "late"}, DIM) as single:  # the same description, but no bags
        single.add([key(1)], bag(0)[:1])
    records = sorted(list_spaces(tmp_path), key=lambda record: record.vectors)
    vectors = sum(len(bag(number)) for number in range(15))
    assert [(record.model, record.dim, record.bags, record.vectors) for record in records] == [
        ("late", DIM, False, 1),
        ("late", DIM, True, vectors),
    ]
    assert verify(tmp_path) == type(verify(tmp_path))(vectors + 1, ())
    assert len(prune(tmp_path, model="late").removed) == 2


def test_a_lost_header_and_description_cost_no_bag(tmp_path: Path) -> None:
    path = fill(tmp_path, 5)
    content = bytearray(path.read_bytes())
    content[:30] = bytes(30)
    path.write_bytes(content)
    (path.parent / "space.json").unlink()
    with opened(tmp_path) as space:
        assert "its header is not readable" in space.damaged[0]
        assert found(space, 15) == list(range(15))


def test_bags_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as space:
        keys, rows, sizes = bags(1)
        for wrong in (None, sizes[:-1], [sizes[0], 0, sizes[1] + sizes[2]], [*sizes[:-1], sizes[-1] + 1]):
            with pytest.raises(ValueError, match=r"size|shape \(\d+, 6\), not"):
                space.add(keys, rows, wrong)
        assert len(space) == 0
        space.add(keys, rows, sizes)
        with pytest.raises(ValueError, match="sizes"):
            space.get(keys)
        for other in (-1, 1):
            assert sizes[0] + other > 0
            with pytest.raises(LocoError, match="damaged"):
                space.get(keys[:1], [sizes[0] + other])
    with EmbeddingStore(tmp_path).space({"model": "late"}, DIM) as single, pytest.raises(ValueError, match="sizes"):
        single.add([key(1)], rows[:1], [1])
