"""How a text longer than a model's window becomes something to compare: strategies as values with stable names."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from loco.errors import LocoError, unknown
from loco.models.protocols import Input, Span, TokenizedText

# Tokens a late chunk has unless told otherwise: those of the paper of late chunking (arXiv 2409.04701).
_LATE_CHUNK = 256

_CALL = re.compile(r"\s*(?P<name>[\w-]+)\s*(?:\((?P<arguments>[^()]*)\))?\s*")
_BETWEEN = re.compile(r",(?![^()]*\))")  # a comma outside parentheses


@dataclass(frozen=True)
class Room:
    """What an input of a role has room for: ``tokens`` of text beside ``overhead`` of prompt and special tokens."""

    tokens: int
    overhead: int


class Strategy(ABC):
    """A way to meet long texts. Two strategies are the same exactly if their names are.

    ``pooled`` tells whether a text becomes one vector, the plain mean of its inputs' vectors, or keeps them all; it is
    then as similar to another text as the best pair of their vectors.
    """

    kind: ClassVar[str]
    pooled: ClassVar[bool]
    late: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The strategy with all its settings, as results record it: ``chunk(512, overlap=0)``."""
        return self.kind

    @abstractmethod
    def limit(self, room: Room) -> int | None:
        """How many tokens of a text are needed at most; None means all."""

    @abstractmethod
    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """The inputs that stand for a text; none for a text without tokens."""


@dataclass(frozen=True)
class Full(Strategy):
    """The text as it is, for a model without a window that loco knows of."""

    kind = "full"
    pooled = True

    def limit(self, room: Room) -> int | None:
        """All are needed."""
        return None

    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """The whole text."""
        return [text.input(0, text.tokens)] if text.tokens else []


@dataclass(frozen=True)
class _Sized(Strategy):
    """``size`` is in tokens of the model, prompt and special tokens included: what the model reads at once."""

    size: int

    @property
    def name(self) -> str:
        return f"{self.kind}({self.size})"

    def text_tokens(self, room: Room) -> int:
        """Tokens of text in one input."""
        left = min(self.size - room.overhead, room.tokens)
        if left < 1:
            raise LocoError(
                f"{self.name} leaves no room for text: prompt and special tokens alone are {room.overhead} tokens. "
                "Choose a larger size."
            )
        return left


@dataclass(frozen=True)
class Truncate(_Sized):
    """The beginning of the text, as much as fits."""

    kind = "truncate"
    pooled = True

    def limit(self, room: Room) -> int | None:
        """What fits."""
        return self.text_tokens(room)

    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """What fits."""
        stop = min(text.tokens, self.text_tokens(room))
        return [text.input(0, stop)] if stop else []


@dataclass(frozen=True)
class _Chunked(_Sized):
    """``overlap`` is how many tokens of text a piece shares with the one before it."""

    overlap: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}({self.size}, overlap={self.overlap})"

    def limit(self, room: Room) -> int | None:
        """All are needed."""
        return None

    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """Each piece by itself."""
        return [text.input(*span) for span in pieces(text.tokens, self.text_tokens(room), self.overlap, self.name)]


@dataclass(frozen=True)
class Chunk(_Chunked):
    """All of the text in pieces, its vector the plain mean of theirs: the baseline of the LoCoV1 paper."""

    kind = "chunk"
    pooled = True


@dataclass(frozen=True)
class ChunkMax(_Chunked):
    """All of the text in pieces, the best pair of pieces deciding."""

    kind = "chunk-max"
    pooled = False


@dataclass(frozen=True)
class LateChunk(_Chunked):
    """The text read a window at a time, the token vectors then pooled by piece (arXiv 2409.04701), the best pair
    deciding.

    The pieces are those of chunk with the same settings. A window takes as many whole pieces as fit, and the next one
    goes on with the piece after them; alone in its window, a piece is read as chunk reads it.
    """

    kind = "late-chunk"
    pooled = False
    late = True

    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """As many pieces at once as the window holds, each input with a span for each piece."""
        windows: list[list[Span]] = []
        for span in pieces(text.tokens, self.text_tokens(room), self.overlap, self.name):
            if not windows or span[1] - windows[-1][0][0] > room.tokens:
                windows.append([])
            windows[-1].append(span)
        return [text.input(window[0][0], window[-1][1], spans=window if len(window) > 1 else ()) for window in windows]


KINDS: dict[str, type[Strategy]] = {kind.kind: kind for kind in (Full, Truncate, Chunk, ChunkMax, LateChunk)}


def check_spans(strategies: Iterable[Strategy], spans: bool, model: str) -> None:
    """Raise LocoError for a strategy that needs vectors of spans, where the model has none."""
    late = next((strategy for strategy in strategies if strategy.late), None)
    if late is not None and not spans:
        raise LocoError(f"{late.name} needs a model that averages its token vectors; '{model}' does not.")


def pieces(tokens: int, size: int, overlap: int, name: str = "") -> Iterator[Span]:
    """``tokens`` tokens cut into spans of ``size``, the last one shorter, each beginning ``overlap`` before the end of
    the one before it.

    No span lies wholly in another. Raises LocoError where pieces of that size and overlap never advance.
    """
    if overlap >= size:
        raise LocoError(f"{name or 'The strategy'}: an overlap of {overlap} never ends in pieces of {size} tokens.")
    start = 0
    while start < tokens:
        stop = min(start + size, tokens)
        yield start, stop
        if stop == tokens:
            return
        start = stop - overlap


def split_names(text: str) -> list[str]:
    """The single strategies of a list such as ``truncate, chunk(256, overlap=32)``."""
    return [part.strip() for part in _BETWEEN.split(text) if part.strip()]


def parse(text: str, max_tokens: int | None) -> Strategy:
    """The strategy called ``text``, for a model with a window of ``max_tokens``: ``chunk`` or ``chunk(256)`` or
    ``chunk(256, overlap=32)``.

    A size left out is the window (for late-chunk 256 tokens). Raises LocoError for what is no strategy or does not fit.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise LocoError(f"'{text}' is not a strategy. Write for example: chunk, or 'chunk(256, overlap=32)'.")
    kind = KINDS.get(match["name"])
    if kind is None:
        raise unknown("strategy", match["name"], KINDS, "loco models show NAME")
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every kind is a dataclass
    settings = dict(_arguments(text, match["arguments"] or "", names))
    if "size" not in names:
        return kind()
    if max_tokens is None:
        raise LocoError(f"'{text}' cuts by tokens, and this model has no tokenizer: its strategy is full.")
    settings.setdefault("size", min(_LATE_CHUNK, max_tokens) if kind.late else max_tokens)
    if settings["size"] < 1 or settings["size"] > max_tokens:
        raise LocoError(f"'{text}': the size must be between 1 and {max_tokens}, the model's window in tokens.")
    if settings.get("overlap", 0) >= settings["size"]:
        raise LocoError(f"'{text}': the overlap must be smaller than the size, {settings['size']} tokens.")
    return kind(**settings)


def _arguments(text: str, arguments: str, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for place, argument in enumerate(part.strip() for part in arguments.split(",") if part.strip()):
        name, separator, value = (part.strip() for part in argument.rpartition("="))
        name = name if separator else names[place] if place < len(names) else ""
        if name not in names or name in seen or not re.fullmatch(r"\d{1,9}", value, re.ASCII):
            known = ", ".join(f"{known}=N" for known in names) or "none"
            raise LocoError(f"'{text}': cannot read '{argument}'. Settings of this strategy: {known}.")
        seen.add(name)
        yield name, int(value)
