"""Exact search of 1,000,000 documents of 1,024 dimensions, memory-mapped: seconds, and peak memory beside the matrix.

The peer does nothing but the float32 products, block by block (`q @ d.T`), and selects nothing: no exact search that
uses them can take less. Both run in turns in this process, after a turn that brings the file into the page cache. The
memory is the process's anonymous memory, read from Linux's /proc every few milliseconds; the mapped file is not in it.

python benchmarks/nearest.py                                    4.1 GB in a temporary file, 100 queries
python benchmarks/nearest.py --documents 100000 --queries 1000
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from loco.rank.compression import compress
from loco.rank.nearest import Vectors, nearest
from loco.rank.ranking import Pool

DIM, K, BLOCK, RUNS = 1024, 100, 8192, 3


def anonymous_bytes() -> int:
    """The memory of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def measured(work: Callable[[], object]) -> tuple[float, int]:
    """Seconds that something takes, and the greatest anonymous memory while it runs."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, peak


def products(queries: np.ndarray, documents: np.ndarray) -> None:
    """What any exact search must compute."""
    for start in range(0, len(documents), BLOCK):
        queries @ documents[start : start + BLOCK].T


parser = argparse.ArgumentParser()
parser.add_argument("--documents", type=int, default=1_000_000)
parser.add_argument("--queries", type=int, default=100)
arguments = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    rng = np.random.default_rng(1)
    path = Path(folder) / "documents.npy"
    made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(arguments.documents, DIM))
    for first in range(0, arguments.documents, BLOCK):
        part = made[first : first + BLOCK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    made.flush()
    del made, part
    matrix = np.load(path, mmap_mode="r")
    queries = Vectors.one_each(rng.standard_normal((arguments.queries, DIM), dtype=np.float32))
    documents, pool = Vectors.one_each(matrix), Pool([f"d{i}" for i in range(arguments.documents)])
    names = [f"q{i}" for i in range(arguments.queries)]

    bare = anonymous_bytes()
    products(queries.matrix, matrix)
    size = f"{arguments.documents:,} x {DIM} documents ({matrix.nbytes / 1e9:.1f} GB)"
    print(f"{size}, {arguments.queries} queries, {K} hits each")
    for similarity in ("cosine", "dot"):
        ours, peer, peak = [], [], 0
        for _ in range(RUNS):
            seconds, memory = measured(lambda: nearest(names, queries, documents, pool, K, similarity))  # noqa: B023
            ours.append(seconds)
            peak = max(peak, memory - bare)
            peer.append(measured(lambda: products(queries.matrix, matrix))[0])
        ratios = sorted(a / b for a, b in zip(ours, peer, strict=True))
        print(f"{similarity}: {statistics.median(ours):.2f} s, q @ d.T {statistics.median(peer):.2f} s", end="; ")
        print(
            f"ratio median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}, {RUNS} pairs", end="; "
        )
        print(f"{peak / 1e6:.0f} MB beside the matrix")
    for form in ("int8", "binary"):
        packed = compress(documents, form, "cosine")
        seconds, memory = measured(lambda packed=packed: nearest(names, queries, packed, pool, K, "cosine"))
        beside, codes = memory - bare - packed.codes.nbytes, packed.codes.nbytes
        print(f"{form}: {seconds:.2f} s; {beside / 1e6:.0f} MB beside {codes / 1e9:.2f} GB of codes")
