"""Ranking by MaxSim against sentence-transformers' own: promised at least 2 times faster, in a quarter of its memory.

2,000 documents of 512 token vectors of 128 numbers, 400 queries of 32, drawn at random at length 1: all pairs are
scored, the 100 best documents kept for each query. Each side runs in a process of its own, in turns, in the same run:

- loco reads the documents' vectors from an embedding store on disk, as an evaluation does (checksums included);
- sentence-transformers holds them in memory, as its own encode returns them, and scores them with its `maxsim` as it
  is, which works through them in chunks of 100 million numbers; the best are then taken with `torch.topk`.

Timed is what comes after the vectors are there: from the first product to the last hit. Peak memory is that of the
process at its end, imports included. Every hit of the two must agree within 1e-4, beside ties.

python benchmarks/late_interaction.py            one pair of runs; --runs 2 for two
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DOCUMENTS, TOKENS, DIM, QUERIES, QUERY_TOKENS, K = 2000, 512, 128, 400, 32, 100


def bag(number: int, tokens: int) -> np.ndarray:
    """The vectors of a text."""
    rows = np.random.default_rng(number).standard_normal((tokens, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def query(number: int) -> np.ndarray:
    """The vectors of a query."""
    return bag(10**6 + number, QUERY_TOKENS)


def key(number: int) -> bytes:
    """What a text's vectors are stored by."""
    return number.to_bytes(16, "little")


def opened(folder: Path):
    """The store."""
    from loco.encode.store import EmbeddingStore

    return EmbeddingStore(folder).space({"model": "benchmark"}, DIM, bags=True)


def report(start: tuple[float, float], hits: list[list[tuple[int, float]]], out: Path) -> None:
    """Print seconds and the peak, and leave the hits."""
    from loco.phases import peak_bytes

    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    out.write_text(json.dumps(hits))
    print(json.dumps({"wall": wall, "processor": processor, "peak": peak_bytes()}))


def ours(folder: Path, out: Path) -> None:
    """Rank from the store."""
    from loco.encode.late import StoredBags
    from loco.rank.maxsim import best_by_maxsim
    from loco.rank.nearest import Vectors
    from loco.rank.ranking import Pool

    queries = Vectors(np.concatenate([query(i) for i in range(QUERIES)]), np.arange(QUERIES + 1) * QUERY_TOKENS)
    with opened(folder) as space:
        documents = StoredBags(space, [(key(i),) for i in range(DOCUMENTS)], [(TOKENS,)] * DOCUMENTS)
        start = time.perf_counter(), time.process_time()
        names = [str(i) for i in range(QUERIES)]
        hits = best_by_maxsim(names, queries, documents, Pool([str(i) for i in range(DOCUMENTS)]), K)
        report(start, [[(int(hit.document), hit.score) for hit in hits[name]] for name in names], out)


def peer(out: Path) -> None:
    """Rank from memory."""
    import torch
    from sentence_transformers.util.similarity import maxsim

    documents = [torch.from_numpy(bag(i, TOKENS)) for i in range(DOCUMENTS)]
    queries = [torch.from_numpy(query(i)) for i in range(QUERIES)]
    start = time.perf_counter(), time.process_time()
    scores, places = torch.topk(maxsim(queries, documents), K)
    pairs = zip(places.tolist(), scores.tolist(), strict=True)
    report(start, [list(zip(*pair, strict=True)) for pair in pairs], out)


def agree(out: Path) -> None:
    """Raise AssertionError unless the hits of both are the same."""
    mine, theirs = (json.loads((out / name).read_text()) for name in ("ours", "peer"))
    for row, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose([score for _, score in row], [score for _, score in other], atol=1e-4)
        last = min(row[-1][1], other[-1][1]) + 2e-4
        assert {name for name, score in row if score > last} <= {name for name, _ in other}


if len(sys.argv) > 1 and sys.argv[1] in ("ours", "peer"):
    ours(Path(sys.argv[2]), Path(sys.argv[3])) if sys.argv[1] == "ours" else peer(Path(sys.argv[3]))
    sys.exit()
parser = argparse.ArgumentParser()
parser.add_argument("--runs", type=int, default=1)
runs = parser.parse_args().runs
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    with opened(folder / "store") as space:
        for first in range(0, DOCUMENTS, 50):
            numbers = range(first, min(first + 50, DOCUMENTS))
            space.add([key(i) for i in numbers], np.concatenate([bag(i, TOKENS) for i in numbers]), [TOKENS] * 50)
    pairs = []
    for _ in range(runs):
        pair = {}
        for side in ("ours", "peer"):
            command = [sys.executable, __file__, side, str(folder / "store"), str(folder / side)]
            pair[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        agree(folder)
        pairs.append(pair)
for side, called in (("ours", "loco"), ("peer", "sentence-transformers")):
    wall, processor, peak = (statistics.median(pair[side][what] for pair in pairs) for what in pairs[0][side])
    print(f"{called}: {wall:.1f} s, {processor:.1f} s of processors; peak {peak / 1e6:,.0f} MB")
for what, called in (("wall", "seconds"), ("processor", "processor seconds"), ("peak", "peak memory")):
    ratios = sorted(pair["peer"][what] / pair["ours"][what] for pair in pairs)
    print(f"{called}: sentence-transformers takes {statistics.median(ratios):.2f} times as much", end="")
    print(f", {ratios[0]:.2f} to {ratios[-1]:.2f}, {runs} pairs")
