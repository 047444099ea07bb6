"""Peak memory of a whole dense evaluation by the number of documents: promised not to grow beyond texts, vectors and
their keys.

hash-512 under chunk(128) on 10,000, 20,000 and 40,000 generated documents of 300 words each, 20 queries, each in a
process of its own. Prints the peak, and by how much it grew for each document beside the bytes of its text and vector.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (10_000, 20_000, 40_000)
WORDS = 300


def run(count: int) -> None:
    """Rank and print the peak in bytes, the bytes of all texts as Python holds them, and those of the vectors."""
    import numpy as np

    from loco.encode.dense import rank_dense
    from loco.encode.forms import VectorForm
    from loco.encode.store import EmbeddingStore
    from loco.encode.strategies import parse
    from loco.models.registry import load_model, model_card
    from loco.phases import peak_bytes
    from loco.tasks.card import task_card
    from loco.tasks.data import Provenance, TaskData, Texts

    random = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in random.integers(0, 50_000, size=WORDS).tolist()) for _ in range(count)]
    task = TaskData(
        card=task_card("qmsum"),
        variant="mini",
        provenance=Provenance(builder="benchmark", builder_version=1, source="generated", source_revision=""),
        queries=Texts.of([(f"q{place}", texts[place][:200]) for place in range(20)], "query"),
        documents=Texts.of([(f"d{place}", text) for place, text in enumerate(texts)], "document"),
        qrels={f"q{place}": {f"d{place}": 1} for place in range(20)},
    )
    encoder = load_model(model_card("hash-512"))
    strategy = parse("chunk(128)", encoder.traits.max_tokens)
    with tempfile.TemporaryDirectory() as folder:
        ranking = rank_dense(encoder, [strategy], task, 100, EmbeddingStore(Path(folder)), VectorForm())
    vectors = ranking[strategy.name].vectors.bytes_per_document * count
    print(peak_bytes(), sum(map(sys.getsizeof, texts)), int(vectors))


if len(sys.argv) > 1:
    run(int(sys.argv[1]))
    sys.exit()
last: tuple[int, int] | None = None
for count in COUNTS:
    done = subprocess.run([sys.executable, __file__, str(count)], check=True, capture_output=True, text=True)
    peak, text_bytes, vector_bytes = map(int, done.stdout.split())
    line = f"{count:,} documents: peak {peak / 1e6:,.0f} MB"
    if last is not None:
        growth = (peak - last[0]) / (count - last[1])
        line += f", {growth:,.0f} bytes more for each document"
    print(f"{line} (its text {text_bytes / count:,.0f}, its vector {vector_bytes / count:,.0f})")
    last = peak, count
