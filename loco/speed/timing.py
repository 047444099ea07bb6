"""One text through an encoder under a strategy, with a clock beside it. Nothing is looked up, nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from loco.encode.batching import Job, batches, encoded, padded
from loco.encode.encoding import room
from loco.encode.strategies import Strategy
from loco.errors import LocoError
from loco.models.protocols import Encoder, Input, Role
from loco.phases import peak_bytes, recording
from loco.rank.ranking import Float32
from loco.results.speed import Run
from loco.speed.gpus import Gpus

ROLE: Role = "document"


@dataclass(frozen=True)
class Cut:
    """What a strategy makes of a text: how much of it, in which inputs, handed over in which batches."""

    seen: int
    batches: list[list[Job]]

    @property
    def inputs(self) -> list[Input]:
        """All of them."""
        return [job.input for batch in self.batches for job in batch]


@dataclass(frozen=True)
class Timed:
    """The passes over a text in their order, none where it does not fit into memory; and what memory they took."""

    passes: list[Run]
    peak_bytes: int
    gpu_peak_bytes: int | None


class Timing:
    """An encoder and a strategy, ready to be timed.

    Inputs are put into batches and batches handed over, several at once where the encoder can, as an evaluation does
    it; but equal inputs are not taken for one, and no vector comes from the embedding store or goes there.
    """

    def __init__(self, encoder: Encoder, gpus: Gpus, strategy: Strategy) -> None:
        self._encoder, self._gpus, self._strategy = encoder, gpus, strategy
        self._room = room(encoder, ROLE)

    def cut(self, text: str) -> Cut:
        """What is handed to the encoder. Raises LocoError for a strategy that leaves no room for text."""
        limit = self._strategy.limit(self._room)
        (tokenized,) = self._encoder.tokenize([text], ROLE, limit)
        jobs = [Job(one, (), 0) for one in self._strategy.cut(tokenized, self._room)]
        seen = tokenized.tokens if limit is None else min(tokenized.tokens, limit)
        return Cut(seen, list(batches(jobs, self._encoder.traits)))

    def computed(self, cut: Cut) -> int:
        """Tokens that the encoder computes for a text, padding included."""
        traits = self._encoder.traits
        return sum(len(batch) * max(padded(job.input, traits) for job in batch) for batch in cut.batches)

    def timed(self, text: str, passes: int, before_each: Callable[[int], None]) -> Timed:
        """Encode a text ``passes`` times. ``before_each`` is called with how many passes are done.

        Raises LocoError where a vector is not finite: the time of a model that computes nothing says nothing.
        """
        done: list[Run] = []
        self._gpus.forget_peak()
        with recording(), ThreadPoolExecutor(self._encoder.traits.concurrency) as lanes:
            try:
                for number in range(passes):
                    before_each(number)
                    done.append(self._pass(text, lanes))
            except MemoryError:
                done.clear()
            return Timed(done, peak_bytes(), self._gpus.peak_bytes())

    def _pass(self, text: str, lanes: ThreadPoolExecutor) -> Run:
        start = perf_counter()
        cut = self.cut(text)
        self._gpus.synchronise()
        middle = perf_counter()
        vectors = list(lanes.map(self._encoded, cut.batches))
        self._gpus.synchronise()
        stop = perf_counter()
        if not all(np.isfinite(rows).all() for batch in vectors for rows in batch):
            raise LocoError(
                f"Model '{self._encoder.card.name}' returned a vector that holds NaN or infinity: its time says "
                "nothing. Try --dtype float32 if it ran in another precision, else mend the model."
            )
        return Run(seconds=round(stop - middle, 9), tokenising_seconds=round(middle - start, 9))

    def _encoded(self, jobs: list[Job]) -> list[Float32]:
        return encoded(self._encoder, [job.input for job in jobs])
