"""Natural Questions as BEIR has them (arXiv 2104.08663), from a folder or from the hub: 2.7 million passages.

What the answers are, BEIR does not say; it says which passages answer a query, and these are no distractors.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from loco.errors import LocoError
from loco.needle.lines import first_of, rows
from loco.needle.source import Question, Source
from loco.results.parts import Name
from loco.tasks.data import Provenance
from loco.tasks.exchange.beir import read_qrels
from loco.tasks.sources.files import SourceFile, checksums, local_file
from loco.tasks.sources.hub import hub_file
from loco.tasks.sources.jsonl import Row

NAME = "nq-beir"
VERSION = 1

_REPO, _QRELS_REPO = "BeIR/nq", "BeIR/nq-qrels"
_CORPUS, _QUERIES = ("corpus.jsonl", "corpus.jsonl.gz"), ("queries.jsonl", "queries.jsonl.gz")
_QRELS = ("qrels/test.tsv", "test.tsv")
_POOL = 20_000  # passages to draw from: a haystack of 128k tokens takes about a thousand


def _as_text(identifier: object) -> object:
    return str(identifier) if type(identifier) is int else identifier  # some folders number their texts


class _Text(Row):
    identifier: Annotated[str, BeforeValidator(_as_text), Field(alias="_id")]
    text: str


class _Query(_Text):  # its id stands in the result
    identifier: Annotated[Name, BeforeValidator(_as_text), Field(alias="_id")]


def holds(path: Path) -> bool:
    """Whether a path is a folder with a BEIR corpus."""
    return first_of(path, *_CORPUS) is not None


def read(folder: Path) -> Source:
    """The questions of a BEIR folder; its files may be gzipped, as the hub has them.

    Raises LocoError where one is missing, is damaged, or does not belong to the others.
    """
    files = []
    for names in (_QUERIES, _QRELS, _CORPUS):
        path = first_of(folder, *names)
        if path is None:
            raise LocoError(
                f"{folder} has no {names[0]}. A BEIR folder holds {_CORPUS[0]}, {_QUERIES[0]}, {_QRELS[0]}."
            )
        files.append(local_file(path, path.name))
    return _source(*files)


def from_hub() -> Source:
    """BEIR's NQ from the Hugging Face hub, downloaded once (500 MB). Raises LocoError where it cannot be had."""
    return _source(
        hub_file(_REPO, "queries.jsonl.gz"), hub_file(_QRELS_REPO, "test.tsv"), hub_file(_REPO, "corpus.jsonl.gz")
    )


def _source(query_file: SourceFile, qrels_file: SourceFile, corpus_file: SourceFile) -> Source:
    texts = {row.identifier: row.text for _, row in rows(query_file, _Query)}
    relevant: dict[str, list[str]] = {}
    for _, query, passage, grade in read_qrels(qrels_file, set(texts)):
        if grade > 0:
            relevant.setdefault(query, []).append(passage)
    # Where several passages answer a query, the one named first is its needle; none of them is a distractor.
    golds, passages = _sifted(corpus_file, {passage for some in relevant.values() for passage in some})
    notes: Counter[str] = Counter()
    questions = []
    for query, some in relevant.items():
        gold = next((golds[passage] for passage in some if golds.get(passage)), "")
        if texts.get(query, "").strip() and gold:
            questions.append(Question(query, texts[query], gold))
        else:
            notes["queries without a text or a gold passage"] += 1
    if not questions:
        raise LocoError(f"By {qrels_file} no query has a relevant passage in {corpus_file}. Do they belong together?")
    files = (query_file, qrels_file, corpus_file)
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=", ".join(file.label for file in files),
        source_revision=", ".join(dict.fromkeys(file.revision for file in files)),
        source_sha256=checksums(*files),
        dropped=dict(notes),
    )
    return Source(NAME, questions, passages, False, provenance)


def _sifted(corpus: SourceFile, wanted: set[str]) -> tuple[dict[str, str], list[str]]:
    """The texts of the wanted passages, and ``_POOL`` others: those whose ids have the smallest hashes.

    That is a random choice which does not depend on the order of the file, and the file is read once.
    """
    golds: dict[str, str] = {}

    def others() -> Iterator[tuple[bytes, str]]:
        for _, row in rows(corpus, _Text):
            text = row.text.strip()
            if row.identifier in wanted:
                golds.setdefault(row.identifier, text)
            elif text:
                yield hashlib.blake2b(row.identifier.encode(), digest_size=16).digest(), text

    return golds, [text for _, text in heapq.nsmallest(_POOL, others())]
