"""Analysis by bm25 (words, stop words, stems, term ids) against bm25s.tokenize with PyStemmer: promised no slower.

Both sides turn the same texts into term ids in this process, in turns. Texts: the real qmsum where it is found (the
folder with SCROLLS files is the one argument, default ../shared/data/scrolls), as 272 long documents and as their 35
distinct transcripts; and 300 documents of 8,000 words made from a seed, 60,000 word forms by Zipf's law.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import bm25s
import Stemmer
from zipf import texts_of

from loco_adapters.bm25.analyzer import TermIds

RUNS = 11


def ours(texts: Sequence[str]) -> None:
    """Term ids of all texts, starting with nothing remembered."""
    term_ids = TermIds()
    for text in texts:
        term_ids(text)


def peer(texts: Sequence[str]) -> None:
    """The same by bm25s: a regular expression for words, its English stop words, Snowball's English stemmer in C."""
    bm25s.tokenize(list(texts), stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)


def seconds(analysis: Callable[[Sequence[str]], None], texts: Sequence[str]) -> float:
    """Wall-clock seconds of one analysis."""
    start = time.perf_counter()
    analysis(texts)
    return time.perf_counter() - start


def compare(name: str, texts: Sequence[str]) -> None:
    """Run both sides in turn, once to warm up and then RUNS times; print medians and the ratio of each pair."""
    pairs = [(seconds(ours, texts), seconds(peer, texts)) for _ in range(RUNS + 1)][1:]
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    size = f"{len(texts)} texts, {sum(map(len, texts)) / 1e6:.1f} M characters"
    print(f"{name}: {size}: ours {mine:.3f} s, bm25s.tokenize {other:.3f} s")
    print(f"  ratio median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}, {RUNS} pairs in turns")


folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/scrolls")
rows = folder / "qmsum" / "validation.jsonl"
if rows.is_file():
    documents = [json.loads(line)["input"] for line in rows.read_text(encoding="utf-8").splitlines()]
    compare("qmsum paper", documents)
    compare("qmsum transcripts", list(dict.fromkeys(text.partition("\n\n")[2] for text in documents)))
else:
    print(f"no {rows}: real texts left out")
compare("made from a seed", texts_of(300, 8_000, seed=1))
