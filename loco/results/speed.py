"""A speed result: how long a model takes to encode texts of given lengths under a strategy, and what it was run on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from loco.environment import Environment
from loco.models.card import PLAIN, ModelIdentity
from loco.results.parts import Name, Part

MOST_RUNS = 1000

_ROUNDING = 1e-6  # relative

# With bounds, so that a figure made of two others is one too.
Positive = Annotated[int, Field(ge=1, le=10**12)]
Bytes = Annotated[int, Field(ge=0, le=10**15)]
Elapsed = Annotated[float, Field(ge=1e-9, le=1e9)]  # seconds
Rate = Annotated[float, Field(gt=0)]


class Run(Part):
    """Wall-clock seconds of one pass over a text.

    ``seconds`` is from inputs to vectors in main memory, the device being done; ``tokenising_seconds`` from the text to
    inputs, and not part of it.
    """

    seconds: Elapsed
    tokenising_seconds: Elapsed


class SpeedRow(Part):
    """One length.

    - ``tokens``: of the text as the model reads it in pieces of its whole window, prompt and special tokens of each
      piece included. ``text_tokens`` are those of the text alone.
    - ``text_tokens_seen``: how many of these stood in any input. Fewer than ``text_tokens``: the strategy left the rest
      of the text out, and the seconds are not those of encoding it.
    - ``inputs``, ``batches``: what the strategy cut the text into, and how they were handed over.
    - ``tokens_read``: of all inputs, each with its prompt and special tokens, overlaps counted as often as read.
      ``tokens_computed``: these and what the batches were padded with.
    - ``first``: the first pass over this text, apart from the others since models keep tables; the first row's contains
      what a process does once. ``runs``: the others, in their order.
    - ``seconds``, ``tokenising_seconds``: the medians over ``runs``. ``tokens_per_second``: ``tokens_read`` by
      ``seconds``.
    - ``peak_bytes``: the process's largest resident set during all passes over this text, with everything it held
      before: libraries, weights. ``gpu_peak_bytes``: the most that tensors took on one GPU, weights included; null
      where there is none.
    - ``problem``: why there are no figures, empty where there are.
    - ``command``: what was typed, the user's home folder shortened to ``~``.
    """

    tokens: Positive
    text_tokens: Positive
    text_tokens_seen: Positive
    inputs: Positive
    batches: Positive
    tokens_read: Positive
    tokens_computed: Positive
    first: Run | None
    runs: tuple[Run, ...] = Field(max_length=MOST_RUNS)
    seconds: Elapsed | None
    tokenising_seconds: Elapsed | None
    tokens_per_second: Rate | None
    peak_bytes: Bytes
    gpu_peak_bytes: Bytes | None
    problem: str = Field(default="", max_length=2000, pattern=PLAIN)
    command: str
    finished_at: AwareDatetime

    @model_validator(mode="after")
    def _counts_fit(self) -> SpeedRow:
        if not self.text_tokens_seen <= self.text_tokens <= self.tokens:
            raise ValueError("more of the text was seen than there was")
        if not self.batches <= self.inputs <= self.tokens_read <= self.tokens_computed:
            raise ValueError("more batches than inputs, more inputs than tokens, or more tokens read than computed")
        if self.text_tokens_seen > self.tokens_read:
            raise ValueError("more of the text was seen than was read")
        return self

    @model_validator(mode="after")
    def _figures_follow_from_the_runs(self) -> SpeedRow:
        stated = (self.seconds, self.tokenising_seconds, self.tokens_per_second)
        if self.problem:
            if self.runs or self.first is not None or any(figure is not None for figure in stated):
                raise ValueError("a length with a problem has no figures")
            return self
        if not self.runs or self.first is None:
            raise ValueError("a length without a problem has a first run and others")
        seconds = median(run.seconds for run in self.runs)
        tokenising = median(run.tokenising_seconds for run in self.runs)
        names = ("seconds", "tokenising_seconds", "tokens_per_second")
        for name, figure, right in zip(names, stated, (seconds, tokenising, self.tokens_read / seconds), strict=True):
            if figure is None or abs(figure - right) > _ROUNDING * right:
                raise ValueError(f"{name} is {figure}, but {right} by the runs")
        return self


class SpeedResult(Part):
    """A model under a strategy on a device in a precision: a row for each length, shortest first.

    ``fingerprint`` is a hash of the weights, the tokenizer and all else that decides a vector. ``padding`` is
    "longest" or "window": what a batch is padded to. ``batch_tokens`` is how many padded tokens a batch holds at most,
    ``lanes`` how many batches are computed at once. ``threads`` is how many PyTorch may use on the CPU, all lanes
    together, null for a model without PyTorch. ``gpus`` are the names of those that hold the model.
    """

    kind: Literal["speed"]
    schema_version: Literal[1]
    model: ModelIdentity
    strategy: Name
    fingerprint: Name
    padding: Literal["longest", "window"]
    device: Name
    dtype: Name
    gpus: tuple[Name, ...]
    batch_tokens: Positive
    lanes: Positive
    threads: Positive | None
    environment: Environment
    rows: tuple[SpeedRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_are_in_order(self) -> SpeedResult:
        if any(one.tokens >= following.tokens for one, following in pairwise(self.rows)):
            raise ValueError("the rows are not in order of their tokens, or one length has two")
        return self

    @property
    def finished_at(self) -> datetime:
        """When the last row was measured."""
        return max(row.finished_at for row in self.rows)

    def with_rows(self, rows: Sequence[SpeedRow]) -> SpeedResult:
        """The same with ``rows`` beside its own, or in the place of those of the same length."""
        by_tokens = {row.tokens: row for row in (*self.rows, *rows)}
        return self.model_copy(update={"rows": tuple(by_tokens[tokens] for tokens in sorted(by_tokens))})

    def comparable(self, other: SpeedResult) -> bool:
        """Whether both were measured on the same model in the same surroundings, so that rows may stand together."""
        return self.model_copy(update={"rows": other.rows}) == other
