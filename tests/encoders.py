"""Encoders for tests: real ones in what loco sees of them, cheap in what they compute."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tasks import model_card

from loco.models.card import ModelCard
from loco.models.protocols import EncoderTraits, Input, Role, Span, TokenIds
from loco.rank.ranking import Float32

STRATEGIES = ("truncate", "chunk", "chunk-max", "late-chunk")


@dataclass(frozen=True)
class Words:
    """A text's words, each one token."""

    ids: TokenIds
    role: Role
    prompt: TokenIds

    @property
    def tokens(self) -> int:
        return len(self.ids)

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        content = np.concatenate([self.prompt, self.ids[start:stop], [1]]).astype(np.int32)
        front = len(self.prompt)
        own = [[first - start + front, last - start + front] for first, last in spans]
        if own:
            own[0][0], own[-1][1] = 0, len(content)
        return Input(content, len(content), self.role, tuple((first, last) for first, last in own))


@dataclass
class WordEncoder:
    """Each word a fixed random vector, an input the mean of its words': position, batch and padding do not matter.

    One special token before the text (two for queries: a prompt) and one after it. ``log`` holds what was encoded,
    ``journal`` is a file that gets a line a batch, for tests that kill the process.
    """

    window: int = 12
    dim: int = 8
    fingerprint: str = "words"
    concurrency: int = 1
    batch_tokens: int = 40
    memory: int = 10**9
    journal: Path | None = None
    log: list[list[Input]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.card: ModelCard = model_card("words", "tests:none", *STRATEGIES).model_copy(
            update={"max_tokens": self.window}
        )
        self.traits = EncoderTraits(
            fingerprint=self.fingerprint,
            dim=self.dim,
            max_tokens=self.window,
            spans=True,
            batch_tokens=self.batch_tokens,
            concurrency=self.concurrency,
        )
        self._lock = threading.Lock()

    def overhead(self, role: Role) -> int:
        return 3 if role == "query" else 2

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[Words]:
        prompt = np.array([2, 3] if role == "query" else [2], dtype=np.int32)
        return [Words(self.ids(text)[:limit], role, prompt) for text in texts]

    def ids(self, text: str) -> TokenIds:
        return np.array([10 + sum(word.encode()) * 31 % 5000 for word in text.split()], dtype=np.int32)

    def vector(self, ids: TokenIds) -> Float32:
        rows = [np.random.default_rng(int(i)).standard_normal(self.dim) for i in ids]
        return np.mean(rows, axis=0).astype(np.float32)

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        if sum(one.tokens for one in inputs) > self.memory:
            raise MemoryError
        with self._lock:
            self.log.append(list(inputs))
        if self.journal is not None:
            with self.journal.open("a") as stream:
                stream.write("+".join(key.hex() for one in inputs for key in one.vector_keys()) + "\n")
        return [
            np.stack([self.vector(self._content(one)[first:last]) for first, last in one.spans or [(0, one.tokens)]])
            for one in inputs
        ]

    @staticmethod
    def _content(one: Input) -> TokenIds:
        assert not isinstance(one.content, str)
        return one.content
