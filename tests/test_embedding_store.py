"""Vectors on disk: what was added is found whole and unchanged, or is missing, whoever is killed, whatever breaks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco.encode import shards
from loco.encode.housekeeping import list_spaces, prune, verify
from loco.encode.layout import Scalar
from loco.encode.store import EmbeddingStore, Space
from loco.errors import LocoError
from loco.rank.ranking import Float32

DIM = 8
MODEL: dict[str, Scalar] = {"model": "some/model", "window": 512, "dtype": "float32"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")

WRITER = """
import filelock, json, os, resource, sys  # filelock so that no child has to
sys.path.insert(0, sys.argv[1])
from test_embedding_store import batch, opened
from loco.errors import LocoError

def work(folder, first, stop, limit):
    os.write(1, b"process %d\\n" % os.getpid())
    with opened(folder) as space:
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        for number in range(first, stop):
            try:
                space.add(*batch(number))
            except LocoError as error:
                os.write(1, f"error {error}\\n".encode())
                resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
                continue
            os.write(1, b"added %d\\n" % number)

for line in sys.stdin:
    children = []
    for job in json.loads(line):
        child = os.fork()
        if not child:
            status = 1
            try:
                work(*job)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    os.write(1, f"end {statuses}\\n".encode())
"""


def opened(folder: Path | str, description: dict[str, Scalar] = MODEL, dim: int = DIM) -> Space:
    return EmbeddingStore(Path(folder)).space(description, dim)


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def batch(number: int, dim: int = DIM) -> tuple[list[bytes], Float32]:
    """The batch of a number: one to five keys no other batch has, and their vectors."""
    rows = 1 + number % 5
    vectors = np.random.default_rng(number).standard_normal((rows, dim), dtype=np.float32)
    return [key(10 * number + row) for row in range(rows)], vectors


def fill(folder: Path, batches: range, description: dict[str, Scalar] = MODEL) -> Path:
    """Add batches to a store and close it; the shard they went to."""
    with opened(folder, description) as space:
        for number in batches:
            space.add(*batch(number))
        return space.folder / "0000.npy"


def found(space: Space, batches: range) -> list[int]:
    """Which batches are there: whole ones, bit for bit, or the test fails."""
    whole = []
    for number in batches:
        keys, vectors = batch(number)
        absent = space.missing(keys)
        assert len(absent) in (0, len(keys)), "a batch is there whole or not at all"
        if not absent:
            assert space.get(keys).tobytes() == vectors.tobytes()
            whole.append(number)
    return whole


class Writers:
    """Processes that add batches to stores, forked from one that has everything imported."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *jobs: tuple[Path, int, int, int]) -> None:
        """Jobs for a process each: folder, first batch, the one to stop before, largest file in bytes or 0."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([(str(folder), *numbers) for folder, *numbers in jobs]) + "\n")
        self.process.stdin.flush()

    def said(self) -> tuple[str, str]:
        """The next thing a process said: a word and what it is about."""
        assert self.process.stdout is not None
        word, _, rest = self.process.stdout.readline().rstrip("\n").partition(" ")
        return word, rest

    def rest(self) -> list[tuple[str, str]]:
        """All that is said until the jobs are done, last their statuses."""
        lines = [self.said()]
        while lines[-1][0] != "end":
            assert lines[-1][0], "the writers have died"
            lines.append(self.said())
        return lines


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    started = Writers()
    with started.process as process:
        yield started
        assert process.stdin is not None
        process.stdin.close()


def test_what_was_added_is_found_by_whoever_opens_the_store_next(tmp_path: Path) -> None:
    fill(tmp_path, range(20))
    with opened(tmp_path) as space:
        assert space.damaged == []
        assert found(space, range(30)) == list(range(20))
        assert len(space) == sum(len(batch(number)[0]) for number in range(20))
        keys = [key(41), key(0), key(41), key(40)]
        assert space.get(keys).tobytes() == np.concatenate([space.get([one]) for one in keys]).tobytes()
        assert space.missing([key(0), key(9), key(41), key(9)]) == [1, 3]
        assert key(0) in space
        assert key(9) not in space
        with pytest.raises(KeyError, match=key(9).hex()):
            space.get([key(0), key(9)])
        assert space.get([]).shape == (0, DIM)
        space.add([], np.empty((0, DIM), dtype=np.float32))


NUMBERS = st.lists(st.integers(0, 12), max_size=6)
STEPS = st.one_of(
    st.tuples(st.just("add"), NUMBERS),
    st.tuples(st.just("get"), NUMBERS),
    st.tuples(st.just("open again"), st.just([])),
)


@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=12), recent=st.integers(1, 6), rows_at_once=st.integers(1, 4))
def test_a_space_is_a_dictionary_that_keeps_the_first_vector_of_a_key(
    steps: list[tuple[str, list[int]]], recent: int, rows_at_once: int
) -> None:
    vectors: dict[bytes, Float32] = {}
    patches = {"_RECENT": recent, "BLOCK_BYTES": rows_at_once * shards.row_type(DIM).itemsize}
    with tempfile.TemporaryDirectory() as folder, mock.patch.multiple(shards, **patches):
        space = opened(folder)
        for turn, (step, numbers) in enumerate(steps):
            # keys that end, or begin, with zeros; equal but for their ends
            keys = [number.to_bytes(16, "little" if number % 2 else "big") for number in numbers]
            if step == "add":
                new = np.array([[turn, place, *range(DIM - 2)] for place in range(len(keys))], dtype=np.float32)
                space.add(keys, new.reshape(-1, DIM))
                for one, vector in zip(keys, new, strict=True):
                    vectors.setdefault(one, vector)
            elif step == "get":
                there = [one for one in keys if one in vectors]
                assert space.get(there).tobytes() == b"".join(vectors[one].tobytes() for one in there)
                assert space.missing(keys) == [place for place, one in enumerate(keys) if one not in vectors]
            else:
                space.close()
                space = opened(folder)
                assert space.damaged == []
            assert len(space) == len(vectors)
        space.close()


def test_whatever_differs_in_the_description_is_another_space(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    others: list[dict[str, Scalar]] = [
        {**MODEL, "window": 513},
        {**MODEL, "window": "512"},
        {**MODEL, "padding": "window"},
        {**MODEL, "model": "some-model"},
    ]
    for other in others:
        with opened(tmp_path, other) as space:
            assert found(space, range(3)) == []
    with opened(tmp_path, dim=DIM + 1) as longer:
        assert longer.missing(batch(0)[0]) == [0]
    with opened(tmp_path, dict(reversed(MODEL.items()))) as same:
        assert found(same, range(3)) == [0, 1, 2]


def test_a_shard_opens_as_a_memory_map_while_it_grows_and_after(tmp_path: Path) -> None:
    with opened(tmp_path) as space:
        rows = 0
        for number in range(12):
            keys, vectors = batch(number)
            space.add(keys, vectors)
            rows += len(keys)
            mapped = np.load(space.folder / "0000.npy", mmap_mode="r", allow_pickle=False)
            assert mapped.shape == (rows,)
            assert mapped["vector"][-len(keys) :].tobytes() == vectors.tobytes()
            assert mapped["key"][-1].tobytes() == keys[-1]


def test_opening_leaves_nothing_and_runs_one_after_the_other_share_one_file(tmp_path: Path) -> None:
    with opened(tmp_path) as space:
        assert space.missing([key(0)]) == [0]
    assert list(tmp_path.iterdir()) == []
    for number in range(5):
        shard = fill(tmp_path, range(number, number + 1))
    assert sorted(path.name for path in shard.parent.iterdir()) == ["0000.lock", "0000.npy", "space.json"]
    with opened(tmp_path) as space:
        assert found(space, range(6)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((2, DIM + 1), np.float32),
        np.zeros((1, DIM), np.float32),
        np.zeros((2 * DIM,), np.float32),
        np.zeros((2, DIM), np.float64),
        np.full((2, DIM), np.nan, np.float32),
        np.array([[0.0] * DIM, [np.inf] * DIM], np.float32),
    ],
    ids=["too long", "too few", "flat", "double", "not a number", "infinite"],
)
def test_vectors_that_cannot_be_right_are_refused(vectors: Float32, tmp_path: Path) -> None:
    with opened(tmp_path) as space:
        with pytest.raises(ValueError, match=r"take float32 vectors of shape \(2, 8\)|not finite"):
            space.add([key(0), key(1)], vectors)
        with pytest.raises(ValueError, match="16 bytes"):
            space.add([b"short"], np.zeros((1, DIM), np.float32))
        with pytest.raises(ValueError, match="16 bytes"):
            space.missing([key(0) + b"\0"])
        assert len(space) == 0
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_writer_killed_at_any_moment_leaves_a_beginning_of_whole_batches(tmp_path: Path, writers: Writers) -> None:
    moments = random.Random(4)
    there = 0
    for turn in range(20):
        writers.start((tmp_path, there, there + 100_000, 0))
        said = [writers.said()]
        if turn % 2:  # while it writes; the others rather while it opens the store
            said.append(writers.said())
            assert said[1][0] == "added"
        time.sleep(moments.uniform(0.0, 0.01))
        os.kill(int(said[0][1]), signal.SIGKILL)
        said += writers.rest()
        assert said[-1] == ("end", f"[{signal.SIGKILL.value}]")
        added = [int(number) for word, number in said if word == "added"]
        assert added == list(range(there, there + len(added)))
        with opened(tmp_path) as space:
            assert space.damaged == []
            new = found(space, range(there, there + len(added) + 10))
            assert len(space) == sum(len(batch(number)[0]) for number in range(there + len(new)))
        assert new == list(range(there, there + len(new))), "no batch is skipped"
        assert len(new) >= len(added), "what add returned from stays"
        there += len(new)
    with opened(tmp_path) as space:
        assert found(space, range(there + 10)) == list(range(there))
    assert len(list(tmp_path.rglob("*.npy"))) == 1, "and the next one goes on where the last one was killed"
    assert verify(tmp_path).findings == ()


@pytest.mark.parametrize("written", [1, 100, 10_000])
def test_rows_a_killed_writer_had_not_counted_yet_are_overwritten(written: int, tmp_path: Path) -> None:
    shard = fill(tmp_path, range(4))
    with shard.open("ab") as stream:
        stream.write(b"\x01" * written)
    fill(tmp_path, range(4, 7))
    with opened(tmp_path) as space:
        assert space.damaged == []
        assert found(space, range(10)) == list(range(7))


@posix
def test_processes_write_to_one_space_at_once_while_others_read(tmp_path: Path, writers: Writers) -> None:
    writers.start((tmp_path, 0, 150, 0), (tmp_path, 100, 250, 0), (tmp_path, 250, 400, 0))
    seen = 0
    for _ in range(10):
        with opened(tmp_path) as space:
            assert space.damaged == []
            now = len(found(space, range(400)))
            assert now >= seen
            seen = now
    assert writers.rest()[-1] == ("end", "[0, 0, 0]")
    with opened(tmp_path) as space:
        assert found(space, range(400)) == list(range(400))
    assert verify(tmp_path).findings == ()
    assert len(list(tmp_path.rglob("*.npy"))) <= 3


def test_threads_may_share_a_space(tmp_path: Path) -> None:
    with opened(tmp_path) as space:

        def work(first: int) -> None:
            for number in range(first, 120, 3):
                space.add(*batch(number))
                assert found(space, range(number, number + 1)) == [number]

        threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found(space, range(120)) == list(range(120))


def test_a_space_does_not_follow_a_fork(tmp_path: Path) -> None:
    with opened(tmp_path) as space:
        space.add(*batch(0))
        with mock.patch("os.getpid", return_value=-1), pytest.raises(RuntimeError, match="process that opened it"):
            space.add(*batch(1))


def overwritten(offset: int) -> Callable[[Path], None]:
    """Turn over the bits of the byte there."""

    def damage(shard: Path) -> None:
        content = bytearray(shard.read_bytes())
        content[offset] ^= 0xFF
        shard.write_bytes(content)

    return damage


def foreign_array(shard: Path) -> None:
    with shard.open("wb") as stream:
        np.save(stream, np.arange(1000, dtype=np.float32))


def pickled(shard: Path) -> None:
    with shard.open("wb") as stream:
        np.save(stream, np.array([{"an": "object"}], dtype=object))


def shard_of_another_space(shard: Path) -> None:
    """The same keys with other vectors, as they would be right elsewhere."""
    with tempfile.TemporaryDirectory() as folder, opened(folder, {"model": "another"}) as space:
        for number in range(20):
            keys, vectors = batch(number)
            space.add(keys, -vectors)
        shutil.copy(space.folder / "0000.npy", shard)


def folder_in_its_place(shard: Path) -> None:
    shard.unlink()
    shard.mkdir()


def link_in_its_place(shard: Path) -> None:
    shard.symlink_to(shard.rename(shard.parent.parent / "elsewhere.npy"))


ROW = shards.row_type(DIM).itemsize


@pytest.mark.parametrize(
    ("damage", "lost", "named"),
    [
        (overwritten(256 + 5 * ROW + 2), 1, "1 of its 60 vectors do not match their checksums."),
        (overwritten(256 + 5 * ROW + 4), 1, "1 of its 60 vectors do not match their checksums."),
        (overwritten(256 + 6 * ROW - 1), 1, "1 of its 60 vectors do not match their checksums."),
        (overwritten(0), 0, "header is not readable."),
        (overwritten(150), 0, "header is not readable."),
        (lambda shard: os.truncate(shard, 256 + 30 * ROW + 7), 30, "is damaged: 30 of its 60 vectors are cut off."),
        (lambda shard: os.truncate(shard, 100), 60, "header is not readable."),
        (lambda shard: os.truncate(shard, 0), 60, "header is not readable."),
        (
            lambda shard: shard.write_bytes(b"\0" * shard.stat().st_size),
            60,
            "header is not readable, 60 of its 60 vectors do not match",
        ),
        (lambda shard: shard.write_bytes(random.Random(1).randbytes(2000)), 60, "header is not readable"),
        (foreign_array, 60, "header is not readable"),
        (pickled, 60, "header is not readable"),
        (shard_of_another_space, 60, "is damaged: 60 of its 60 vectors do not match"),
        (folder_in_its_place, 60, "is not used: it is not a plain file."),
        (link_in_its_place, 60, "is not used: it is not a plain file."),
    ],
    ids=[
        *("checksum", "key", "vector", "magic", "header", "cut row", "cut header", "empty", "zeros", "noise", "array"),
        *("pickle", "shard of another space", "folder", "link"),
    ],
)
def test_damage_is_found_named_and_made_good(
    damage: Callable[[Path], None], lost: int, named: str, tmp_path: Path
) -> None:
    shard = fill(tmp_path, range(20))
    everything = [batch(number) for number in range(20)]
    keys = [one for some, _ in everything for one in some]
    vectors = np.concatenate([some for _, some in everything])
    assert len(keys) == 60
    damage(shard)
    with opened(tmp_path) as space:
        assert len(space.damaged) == 1
        assert space.damaged[0].startswith(str(shard))
        assert named in space.damaged[0]
        missing = space.missing(keys)
        assert len(missing) == lost
        left = [place for place in range(60) if place not in missing]
        assert space.get([keys[place] for place in left]).tobytes() == vectors[left].tobytes()
        space.add([keys[place] for place in missing], vectors[missing])
        assert space.get(keys).tobytes() == vectors.tobytes()
    with opened(tmp_path) as space:
        assert space.get(keys).tobytes() == vectors.tobytes()
    assert verify(tmp_path).findings == tuple(space.damaged)
    repaired = prune(tmp_path, damaged=True)
    assert repaired.removed == repaired.in_use == ()
    if shard.is_file() and not shard.is_symlink():
        assert repaired.repaired == (shard,)
        assert verify(tmp_path) == type(verify(tmp_path))(60, ())
    with opened(tmp_path) as space:
        assert space.get(keys).tobytes() == vectors.tobytes()
    assert not list(tmp_path.rglob(".*.fresh"))


@settings(max_examples=60)
@given(data=st.data())
def test_no_damage_ever_yields_a_wrong_vector(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shard = fill(Path(folder), range(6))
        content = bytearray(shard.read_bytes())
        for place, value in data.draw(st.dictionaries(st.integers(0, len(content) - 1), st.integers(0, 255))).items():
            content[place] = value
        changed = bytes(content[: data.draw(st.integers(0, len(content)))]) + data.draw(st.binary(max_size=100))
        shard.write_bytes(changed)
        with opened(folder) as space:
            for number in range(6):
                keys, vectors = batch(number)
                for one, vector in zip(keys, vectors, strict=True):
                    if one in space:
                        assert space.get([one]).tobytes() == vector.tobytes()


def test_what_breaks_after_opening_is_one_line_and_no_wrong_vector(tmp_path: Path) -> None:
    shard = fill(tmp_path, range(5))
    with opened(tmp_path) as space:
        overwritten(256 + ROW + 40)(shard)
        assert space.get(batch(0)[0]).tobytes() == batch(0)[1].tobytes()
        with pytest.raises(LocoError, match=r"damaged while the command ran\. Run it again"):
            space.get(batch(1)[0])
        content = shard.read_bytes()
        with shard.open("r+b") as stream:
            stream.seek(256)
            stream.write(content[256 + 2 * ROW : 256 + 3 * ROW])
        with pytest.raises(LocoError, match="damaged while"):
            space.get(batch(0)[0])  # there is a sound vector, but of another key
        os.truncate(shard, 0)
        with pytest.raises(LocoError, match="damaged while"):
            space.get(batch(4)[0])
    with opened(tmp_path) as space:
        assert found(space, range(5)) == []


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b'{"layout": 1, "dim": 3, "description": {}}', b"\xff"])
def test_a_damaged_description_costs_no_vector_and_is_written_again(content: bytes | None, tmp_path: Path) -> None:
    shard = fill(tmp_path, range(5))
    described = shard.with_name("space.json")
    sound = described.read_bytes()
    described.unlink()
    if content is not None:
        described.write_bytes(content)
    (record,) = list_spaces(tmp_path)
    assert (record.model, record.dim, record.vectors) == ("some-model", None, 15)
    checked = verify(tmp_path)
    assert (checked.vectors, len(checked.findings)) == (15, 1)
    assert str(described) in checked.findings[0]
    overwritten(256 + 20)(shard)
    assert prune(tmp_path, damaged=True).repaired == (shard,)
    with opened(tmp_path) as space:
        assert found(space, range(5)) == [1, 2, 3, 4]
    assert described.read_bytes() == sound


@posix
def test_a_file_that_may_not_grow_is_one_line_and_what_is_finished_stays(tmp_path: Path, writers: Writers) -> None:
    limit = 256 + 50 * ROW + 17  # reached in the batch of number 17
    writers.start((tmp_path / "ends there", 0, 18, limit), (tmp_path / "goes on", 0, 40, limit))
    said = writers.rest()
    assert said[-1] == ("end", "[0, 0]")
    errors = [rest for word, rest in said if word == "error"]
    assert len(errors) == 2
    for error in errors:
        assert error.startswith("Cannot write ")
        assert "larger than the system allows" in error
        assert error.endswith("--cache FOLDER.")
    for folder, batches in (("ends there", range(18)), ("goes on", range(40))):
        with opened(tmp_path / folder) as space:
            assert space.damaged == []
            assert found(space, range(50)) == [number for number in batches if number != 17]
            shard = space.folder / "0000.npy"
        assert shard.stat().st_size == 256 + len(np.load(shard, mmap_mode="r")) * ROW, "nothing unfinished is left"


@pytest.mark.parametrize("in_place_of", ["store", "space"])
def test_a_file_in_the_folders_place_is_one_line(in_place_of: str, tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    place = fill(folder, range(1)).parent if in_place_of == "space" else folder
    shutil.rmtree(place, ignore_errors=True)
    place.write_bytes(b"")
    with pytest.raises(LocoError, match=r"^Cannot write .* Or keep the vectors elsewhere: --cache FOLDER\.$"):
        opened(folder)
    assert list_spaces(folder) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not hold for root")
@pytest.mark.parametrize("closed", ["store", "space"])
def test_a_folder_that_cannot_be_written_is_one_line(closed: str, tmp_path: Path) -> None:
    shard = fill(tmp_path, range(1))
    folder = tmp_path if closed == "store" else shard.parent
    folder.chmod(0o500)
    try:
        with pytest.raises(LocoError, match=r"not writable.*--cache FOLDER"):
            opened(tmp_path)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize(
    "model", ["../../x", "/etc/passwd", "..", "", "a\x00b\x1b[31m\n", "C:\\x", "ü" * 300, "a" * 1000, "-rf", ".hidden"]
)
def test_no_model_is_called_so_that_its_files_lie_elsewhere(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "store"
    shard = fill(folder, range(3), {"model": model})
    assert shard.parent.parent == folder
    assert shard.parent.name.isprintable()
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["a", "b", "store", shard.parent.name]
    (record,) = list_spaces(folder)
    assert (record.model, record.description, record.folder) == (model, {"model": model}, shard.parent)
    assert prune(folder, model=model).removed == (shard.parent.name,)
    assert not shard.parent.exists()


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    outside = tmp_path / "outside"
    shard = fill(folder, range(3))
    shard.parent.rename(outside)
    shard.parent.symlink_to(outside)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    with pytest.raises(LocoError, match="is a link"):
        opened(folder)
    assert list_spaces(folder) == []
    assert prune(folder, everything=True).removed == ()
    assert prune(folder, damaged=True).repaired == ()
    shard.parent.unlink()
    inner = fill(folder, range(1)).parent
    (inner / "0001.npy").symlink_to(outside / "0000.npy")
    (inner / "0002.lock").symlink_to(outside / "space.json")
    (inner / "space.json").unlink()
    (inner / "space.json").symlink_to(outside / "space.json")
    fill(folder, range(1, 2))
    assert prune(folder, everything=True).removed == (inner.name,)
    assert not inner.exists()
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before


def test_the_list_tells_what_is_there_and_opening_counts_as_use(tmp_path: Path) -> None:
    assert list_spaces(tmp_path / "nowhere") == []
    shard = fill(tmp_path, range(5))
    other = fill(tmp_path, range(2), {"model": "other", "late": True, "scale": 0.5})
    (tmp_path / "notes.txt").write_text("not ours", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for path, days in ((shard, 3), (other, 5)):
        os.utime(path.with_name("space.json"), (time.time() - days * 86400,) * 2)
    first, second = list_spaces(tmp_path)
    assert (first.model, first.vectors, first.dim, first.description) == ("some/model", 15, DIM, MODEL)
    assert second.description == {"model": "other", "late": True, "scale": 0.5}
    assert first.bytes == sum(path.stat().st_size for path in shard.parent.iterdir())
    opened(tmp_path, {"model": "other", "late": True, "scale": 0.5}).close()
    assert [record.model for record in list_spaces(tmp_path)] == ["other", "some/model"]


def test_prune_takes_what_it_is_told_and_nothing_else(tmp_path: Path) -> None:
    spaces = {name: fill(tmp_path, range(5), {"model": name, "window": 1}).parent for name in ("a", "b", "c")}
    older = fill(tmp_path, range(5), {"model": "a", "window": 2}).parent
    for folder in (older, spaces["b"]):
        os.utime(folder / "space.json", (time.time() - 10 * 86400,) * 2)
    (spaces["c"] / "notes.txt").write_text("not ours", encoding="utf-8")
    with pytest.raises(LocoError, match="Say what to delete"):
        prune(tmp_path)
    with pytest.raises(LocoError, match=r"No model with stored vectors called 'bb'\. Did you mean 'b'"):
        prune(tmp_path, model="bb")
    size = sum(path.stat().st_size for path in older.iterdir())
    outcome = prune(tmp_path, model="a", unused_days=5)
    assert (outcome.removed, outcome.freed_bytes) == ((older.name,), size)
    assert prune(tmp_path, unused_days=5).removed == (spaces["b"].name,)
    assert prune(tmp_path, damaged=True).freed_bytes == 0
    assert sorted(record.model for record in list_spaces(tmp_path)) == ["a", "c"]
    assert len(prune(tmp_path, everything=True).removed) == 2
    left = {path.name for path in tmp_path.rglob("*")}
    assert left == {".lock", spaces["c"].name, "notes.txt"}


def test_prune_leaves_what_is_being_written_and_a_reader_reads_on(tmp_path: Path) -> None:
    shard = fill(tmp_path, range(5))
    with opened(tmp_path) as writer:
        writer.add(*batch(5))
        assert prune(tmp_path, everything=True).in_use == (shard.parent.name,)
        overwritten(256 + 4)(shard)
        assert prune(tmp_path, damaged=True).in_use == (shard.parent.name,)
        assert found(writer, range(1, 7)) == [1, 2, 3, 4, 5]
    with opened(tmp_path) as reader:
        assert prune(tmp_path, damaged=True).repaired == (shard,)
        assert found(reader, range(7)) == [1, 2, 3, 4, 5], "from the file as it was"
        reader.add(*batch(0))
        assert found(reader, range(7)) == [0, 1, 2, 3, 4, 5]
    with opened(tmp_path) as reader:
        assert prune(tmp_path, everything=True).removed == (shard.parent.name,)
        assert found(reader, range(7)) == [0, 1, 2, 3, 4, 5]
        reader.add(*batch(6))
    with opened(tmp_path) as space:
        assert found(space, range(7)) == [6]


@posix
def test_prune_and_writers_at_the_same_time_never_damage_anything(tmp_path: Path, writers: Writers) -> None:
    writers.start(*[(tmp_path, first, first + 1, 0) for first in range(12)])
    for _ in range(30):
        prune(tmp_path, everything=True)
    assert writers.rest()[-1] == ("end", str([0] * 12))
    assert verify(tmp_path).findings == ()
    fill(tmp_path, range(20))
    with opened(tmp_path) as space:
        assert found(space, range(20)) == list(range(20))
