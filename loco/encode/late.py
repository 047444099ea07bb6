"""An encoder of token vectors under strategies: from a task to a ranking by MaxSim for each of them.

Whatever the strategy makes of a text, the vectors of all its inputs together stand for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from loco.encode.dense import as_ranking, encode_task, opened
from loco.encode.store import EmbeddingStore, Space
from loco.encode.strategies import Strategy, check_spans
from loco.errors import LocoError
from loco.models.protocols import Encoder
from loco.phases import phase
from loco.rank.maxsim import best_by_maxsim
from loco.rank.nearest import VectorError
from loco.rank.ranking import Float32, Integers, Pool, Ranking
from loco.tasks.data import TaskData

MAXSIM = "maxsim"


def rank_late(
    encoder: Encoder, strategies: Sequence[Strategy], task: TaskData, k: int, store: EmbeddingStore
) -> dict[str, Ranking]:
    """For each strategy, by its name, the ``k`` best documents for every query of ``task``.

    One pass over the documents and one over the queries serve all strategies. Vectors are read from the store as they
    are needed: memory is the texts, a key and a number for each input, and some 100 MB.

    Raises LocoError for a strategy that the model cannot serve, and naming the text for a vector that cannot be
    compared.
    """
    check_spans(strategies, encoder.traits.spans, encoder.card.name)
    with opened(encoder, store) as space:
        encodings = encode_task(encoder, strategies, task, space)
        pool = Pool(task.documents.ids)
        rankings = {}
        with phase("search"):
            for strategy in strategies:
                queries, documents = (
                    StoredBags(space, encoding.keys[strategy.name], encoding.sizes[strategy.name])
                    for encoding in encodings
                )
                try:
                    hits = best_by_maxsim(task.queries.ids, queries, documents, pool, k)
                except VectorError as error:
                    ids = (task.queries if error.role == "query" else task.documents).ids
                    raise LocoError(
                        f"Under {strategy.name}, a vector of {error.role} '{ids[error.text]}' {error.reason}."
                    ) from error
                size = 4 * space.dim * int(documents.starts[-1]) / len(pool)
                made = space.dim, MAXSIM, size
                rankings[strategy.name] = as_ranking(encoder, strategy, hits, encodings, made)
    return rankings


class StoredBags:
    """The vectors of many texts as they lie in a store (:class:`loco.rank.maxsim.Blocks`).

    Text i has the bags of ``keys[i]``, of ``sizes[i]`` vectors, one after another.
    """

    def __init__(self, space: Space, keys: Sequence[tuple[bytes, ...]], sizes: Sequence[tuple[int, ...]]) -> None:
        self._space = space
        self._keys = list(chain.from_iterable(keys))
        self._sizes: Integers = np.fromiter(chain.from_iterable(sizes), dtype=np.intp, count=len(self._keys))
        self._ends = np.cumsum(self._sizes)
        bags = np.concatenate([np.zeros(1, np.intp), np.cumsum([len(theirs) for theirs in keys], dtype=np.intp)])
        self._starts: Integers = np.concatenate([np.zeros(1, np.intp), self._ends])[bags]

    @property
    def starts(self) -> Integers:
        """Shape (texts + 1,), from 0 to the number of rows."""
        return self._starts

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self._space.dim

    def block(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``, read now. Raises LocoError where the store has been damaged meanwhile."""
        first, last = (int(np.searchsorted(self._ends, row, side="right")) for row in (start, stop - 1))
        rows = self._space.get(self._keys[first : last + 1], self._sizes[first : last + 1].tolist())
        before = int(self._ends[first] - self._sizes[first])
        return rows[start - before : stop - before]
