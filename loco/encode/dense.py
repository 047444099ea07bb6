"""An encoder under strategies: from a task to a ranking for each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from loco.encode.encoding import Encoding, encode_texts, plan_texts, room
from loco.encode.forms import VectorForm
from loco.encode.store import EmbeddingStore, Space
from loco.encode.strategies import Strategy, check_spans
from loco.errors import LocoError
from loco.models.protocols import Encoder, Role
from loco.money import Plan
from loco.phases import phase
from loco.rank.compression import compress, cut
from loco.rank.nearest import Rows, VectorError, Vectors, nearest
from loco.rank.ranking import Coverage, Float32, Hit, Integers, Pool, Ranking, VectorUse
from loco.tasks.data import TaskData

_ROWS_AT_ONCE = 1 << 13


def rank_dense(
    encoder: Encoder, strategies: Sequence[Strategy], task: TaskData, k: int, store: EmbeddingStore, form: VectorForm
) -> dict[str, Ranking]:
    """For each strategy, by its name, the ``k`` best documents for every query of ``task``.

    One pass over the documents and one over the queries serve all strategies. Memory is the texts, the keys of their
    vectors, and the vectors of one strategy at a time.

    Raises LocoError for a strategy or form that the model cannot serve, and naming the text for a vector that cannot
    be compared.
    """
    check_spans(strategies, encoder.traits.spans, encoder.card.name)
    if form.dim is not None and form.dim > encoder.traits.dim:
        raise LocoError(f"The vectors of '{encoder.card.name}' have {encoder.traits.dim} numbers: --dim is too large.")
    with opened(encoder, store) as space:
        queries, documents = encode_task(encoder, strategies, task, space)
        search = _Search(encoder, task, space, queries, documents, form)
        with phase("search"):
            return {strategy.name: search.ranking(strategy, k) for strategy in strategies}


def plan_dense(
    encoder: Encoder, strategies: Sequence[Strategy], task: TaskData, store: EmbeddingStore, asked: set[bytes]
) -> Plan:
    """What :func:`rank_dense` would have the encoder compute, less what is stored and what was ``asked`` for."""
    check_spans(strategies, encoder.traits.spans, encoder.card.name)
    with opened(encoder, store) as space:
        documents = plan_texts(encoder, task.documents, "document", strategies, space, asked)
        return documents + plan_texts(encoder, task.queries, "query", strategies, space, asked)


@contextmanager
def opened(encoder: Encoder, store: EmbeddingStore) -> Iterator[Space]:
    """The encoder's vectors in a store; what is damaged of them is named on stderr."""
    traits = encoder.traits
    with store.space(description(encoder), traits.dim, bags=traits.token_vectors) as space:
        for problem in space.damaged:
            print(f"{problem} What is lost there is computed again.", file=sys.stderr)
        yield space


def encode_task(
    encoder: Encoder, strategies: Sequence[Strategy], task: TaskData, space: Space
) -> tuple[Encoding, Encoding]:
    """Put every vector of a task's texts into ``space``: what is left of the queries, and of the documents."""
    room(encoder, "query")  # a model without room for queries is found out before its documents are encoded
    with phase("documents"):
        documents = encode_texts(encoder, task.documents, "document", strategies, space)
    with phase("queries"):
        queries = encode_texts(encoder, task.queries, "query", strategies, space)
    return queries, documents


def as_ranking(
    encoder: Encoder,
    strategy: Strategy,
    hits: Mapping[str, Sequence[Hit]],
    encodings: tuple[Encoding, Encoding],
    vectors: tuple[int, str, float],
) -> Ranking:
    """A strategy's hits with all there is to say about them.

    ``encodings`` are those of queries and documents; ``vectors`` are the numbers in a vector, what texts were compared
    by, and the bytes that all documents take, divided by their number.
    """
    traits = encoder.traits
    dim, similarity, bytes_per_document = vectors
    work = [encoding.work for encoding in encodings]
    use = VectorUse(
        fingerprint=traits.fingerprint,
        dim=dim,
        similarity=similarity,
        device=traits.device,
        padding=traits.padding,
        bytes_per_document=round(bytes_per_document, 2),
        inputs_encoded=sum(one.encoded for one in work),
        tokens_encoded=None if traits.max_tokens is None else sum(one.encoded_tokens for one in work),
        inputs_reused=sum(one.reused for one in work),
    )
    queries, documents = (encoding.coverage[strategy.name] for encoding in encodings)
    coverage = None if queries is None or documents is None else Coverage(queries, documents)
    return Ranking(hits, coverage, traits.dtype, use)


class _Search:
    """Everything a strategy's ranking is made from once the vectors are there."""

    def __init__(
        self,
        encoder: Encoder,
        task: TaskData,
        space: Space,
        queries: Encoding,
        documents: Encoding,
        form: VectorForm,
    ) -> None:
        self._encoder, self._task, self._space, self._form = encoder, task, space, form
        self._encodings: dict[Role, Encoding] = {"query": queries, "document": documents}
        self._pool = Pool(task.documents.ids)

    def ranking(self, strategy: Strategy, k: int) -> Ranking:
        """The ``k`` best documents for every query."""
        traits = self._encoder.traits
        queries, documents = self._vectors(strategy, "query"), self._vectors(strategy, "document")
        try:
            index: Rows = documents
            size = 4 * documents.dim
            if self._form.precision != "float32":
                index = compressed = compress(documents, self._form.precision, traits.similarity)
                size = compressed.bytes_per_row
            hits = nearest(self._task.queries.ids, queries, index, self._pool, k, traits.similarity)
        except VectorError as error:
            texts = self._task.queries if error.role == "query" else self._task.documents
            raise LocoError(
                f"Under {strategy.name}, the vector of {error.role} '{texts.ids[error.text]}' {error.reason}."
            ) from error
        bytes_per_document = size * len(documents.matrix) / len(self._pool)
        encodings = self._encodings["query"], self._encodings["document"]
        made = documents.dim, traits.similarity, bytes_per_document
        return as_ranking(self._encoder, strategy, hits, encodings, made)

    def _vectors(self, strategy: Strategy, role: Role) -> Vectors:
        """What a strategy makes of the stored vectors: their mean for each text, or all of them."""
        keys = self._encodings[role].keys[strategy.name]
        counts = np.array([len(theirs) for theirs in keys], dtype=np.intp)
        kept = np.minimum(counts, 1) if strategy.pooled else counts
        starts = np.concatenate([np.zeros(1, dtype=np.intp), np.cumsum(kept)])
        matrix = np.empty((int(starts[-1]), self._form.dim or self._encoder.traits.dim), dtype=np.float32)
        for first, last in _slices(counts, _ROWS_AT_ONCE):
            rows = self._read([key for theirs in keys[first:last] for key in theirs])
            theirs = counts[first:last][counts[first:last] > 0]
            if strategy.pooled and len(theirs):
                sums = np.add.reduceat(rows, np.cumsum(theirs) - theirs, axis=0, dtype=np.float64)
                rows = (sums / theirs[:, np.newaxis]).astype(np.float32)
            matrix[starts[first] : starts[last]] = rows
        return Vectors(matrix, starts)

    def _read(self, keys: Sequence[bytes]) -> Float32:
        rows = self._space.get(keys)
        if self._form.dim is None:
            return rows
        if self._encoder.card.parameters.get("matryoshka_layer_norm", False):
            rows = _layer_norm(rows)
        return cut(rows, self._form.dim, normalise=self._encoder.traits.unit_length)


def description(encoder: Encoder) -> dict[str, str | int]:
    """All that decides a vector except what the model is given to read."""
    traits = encoder.traits
    return {
        "model": encoder.card.name,
        "fingerprint": traits.fingerprint,
        "max_tokens": traits.max_tokens or 0,
        "dtype": traits.dtype,
        "device": traits.device,
        "padding": traits.padding,
    }


def _slices(counts: Integers, most: int) -> list[tuple[int, int]]:
    """The texts in slices of about ``most`` rows."""
    slices, first, rows = [], 0, 0
    for text, count in enumerate(counts.tolist()):
        if rows and rows + count > most:
            slices.append((first, text))
            first, rows = text, 0
        rows += count
    return [*slices, (first, len(counts))]


def _layer_norm(rows: Float32) -> Float32:
    """Each row less its mean and divided by its standard deviation: what some models need before they are cut."""
    centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
    normed: Float32 = (centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)).astype(np.float32)
    return normed
