"""One vector for each document, through the embedding store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loco.encode.dense import opened
from loco.encode.encoding import Work, encode_texts
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy
from loco.models.protocols import Encoder
from loco.rank.ranking import Float32, TextCoverage
from loco.tasks.data import Texts


@dataclass(frozen=True, eq=False)
class Embedded:
    """The vectors of a strategy, shape (texts, dim); ``places`` are those of the texts that have one."""

    strategy: str
    places: tuple[int, ...]
    vectors: Float32
    coverage: TextCoverage | None
    work: Work


def embed(encoder: Encoder, texts: Texts, strategies: Sequence[Strategy], store: EmbeddingStore) -> list[Embedded]:
    """What each strategy makes of the texts, read as documents, in one pass: the mean of a text's vectors.

    A text without tokens has none. Raises LocoError, naming the text, for one that the model cannot read.
    """
    with opened(encoder, store) as space:
        encoding = encode_texts(encoder, texts, "document", strategies, space)
        embedded = []
        for strategy in strategies:
            keys = encoding.keys[strategy.name]
            places = tuple(place for place, theirs in enumerate(keys) if theirs)
            vectors = np.empty((len(places), encoder.traits.dim), dtype=np.float32)
            for row, place in enumerate(places):
                vectors[row] = space.get(keys[place]).mean(axis=0, dtype=np.float64)
            embedded.append(Embedded(strategy.name, places, vectors, encoding.coverage[strategy.name], encoding.work))
    return embedded
