"""An encoder among haystacks: what it need not read again, and a count of what it did.

All documents of a query, one for each position, are handed over as one text, cut under the strategy position by
position, and what they have in common is encoded once: in full batches, and each finished batch is stored. Afterwards
every position is ranked by the same code as any other task, which finds all vectors in the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from loco.encode.encoding import encode_texts
from loco.encode.store import Space
from loco.encode.strategies import Room, Strategy
from loco.models.protocols import Encoder, Input, Role, Span, TokenizedText
from loco.needle.composing import Composer, joined
from loco.needle.haystacks import Haystacks
from loco.rank.ranking import Float32
from loco.tasks.data import Texts


class Haystack(str):
    """The text of a document that knows what it is made of: of which question, and its passages.

    One that stands for all documents of a question at a length has an arrangement of passages for each position, and
    reads as the first.
    """

    def __new__(cls, question: int, arrangements: Sequence[tuple[str, ...]]) -> Haystack:
        """The text of question number ``question`` and its arrangements."""
        made = super().__new__(cls, joined(arrangements[0]))
        made.question, made.arrangements = question, arrangements
        return made

    question: int
    arrangements: Sequence[tuple[str, ...]]


class Documents(Sequence[str]):
    """Documents that are made when they are asked for: those of all queries at all positions need not fit in memory."""

    def __init__(self, count: int, make: Callable[[int], Haystack]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place):  # type: ignore[no-untyped-def]  # of a number a text, of a slice some
        if isinstance(place, slice):
            return [self._make(one) for one in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        return self._make(place % self._count)


def documents(haystacks: Haystacks, level: int, position: int) -> Texts:
    """The documents of all questions at a length and a position; a document has the id of its query."""
    return Texts(
        tuple(question.identifier for question in haystacks.questions),
        Documents(
            len(haystacks.questions),
            lambda question: Haystack(question, [haystacks.passages(level, question, position)]),
        ),
    )


@dataclass
class Tally:
    """What encoding documents took: inputs, and their tokens.

    - ``asked``: summed over all positions, as if each document were encoded by itself.
    - ``distinct``: those that differ.
    - ``encoded``: those the model has read in this run; the others stood in the store.
    """

    asked: int = 0
    asked_tokens: int = 0
    distinct: int = 0
    distinct_tokens: int = 0
    encoded: int = 0
    encoded_tokens: int = 0
    seen: set[tuple[bytes, ...]] = field(default_factory=set, repr=False)


class NeedleEncoder:
    """The encoder under test, its documents' tokens put together from passages, its work on documents counted."""

    def __init__(self, encoder: Encoder, haystacks: Haystacks) -> None:
        self.card, self.traits = encoder.card, encoder.traits
        self.tally = Tally()  # to be replaced where a new count begins
        self._encoder, self._haystacks = encoder, haystacks
        self._exact: dict[int, bool] = {}
        self._counting = threading.Lock()

    @property
    def questions_composed(self) -> int:
        """For how many questions documents were put together from the tokens of their passages."""
        return sum(self._exact.values())

    def overhead(self, role: Role) -> int:
        """The encoder's own."""
        return self._encoder.overhead(role)

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Sequence[TokenizedText]:
        """The tokens of each text; a haystack's are put together where that gives the encoder's own."""
        if role == "query":
            return self._encoder.tokenize(texts, role, limit)
        return [
            self._tokenized(text, limit)
            if isinstance(text, Haystack)
            else self._encoder.tokenize([text], role, limit)[0]
            for text in texts
        ]

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """The encoder's own vectors."""
        vectors = self._encoder.encode(inputs)
        read = [one.tokens for one in inputs if one.role == "document"]
        with self._counting:
            self.tally.encoded += len(read)
            self.tally.encoded_tokens += sum(read)
        return vectors

    def encode_all(self, level: int, strategy: Strategy, space: Space) -> None:
        """Have the documents of a length at every position in the store, under a strategy."""
        haystacks = self._haystacks
        positions = range(haystacks.settings.positions)

        def make(question: int) -> Haystack:
            return Haystack(question, [haystacks.passages(level, question, position) for position in positions])

        ids = tuple(question.identifier for question in haystacks.questions)
        everywhere = EveryPosition(strategy, self.tally)
        encode_texts(self, Texts(ids, Documents(len(ids), make)), "document", [everywhere], space)

    @cached_property
    def _composer(self) -> Composer:
        return Composer(self._encoder)

    def _tokenized(self, text: Haystack, limit: int | None) -> TokenizedText:
        def arranged(place: int) -> TokenizedText:
            passages = text.arrangements[place]
            if self._is_exact(text.question):
                return self._composer.composed(passages, limit)
            return self._encoder.tokenize([joined(passages)], "document", limit)[0]

        return arranged(0) if len(text.arrangements) == 1 else _AllArrangements(len(text.arrangements), arranged)

    def _is_exact(self, question: int) -> bool:
        if question not in self._exact:
            gold, hay = self._haystacks.questions[question].gold, self._haystacks.distractors[question]
            self._exact[question] = self._composer.works and self._composer.is_exact(gold, hay)
        return self._exact[question]


class _AllArrangements:
    """All documents of a question, as one tokenised text that only :class:`EveryPosition` can cut."""

    def __init__(self, count: int, arranged: Callable[[int], TokenizedText]) -> None:
        self._count, self._arranged = count, arranged

    def __iter__(self) -> Iterator[TokenizedText]:
        return map(self._arranged, range(self._count))

    @property
    def tokens(self) -> int:
        """Those of the first document."""
        return self._arranged(0).tokens

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """A part of the first document."""
        return self._arranged(0).input(start, stop, spans)


class EveryPosition(Strategy):
    """A strategy, applied to each of the documents that a text stands for; what they have in common comes once."""

    kind = "every-position"
    pooled = False

    def __init__(self, strategy: Strategy, tally: Tally) -> None:
        self._strategy, self._tally = strategy, tally

    @property
    def name(self) -> str:
        """That of the strategy."""
        return self._strategy.name

    def limit(self, room: Room) -> int | None:
        """That of the strategy."""
        return self._strategy.limit(room)

    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """The different inputs of all documents."""
        found: dict[tuple[bytes, ...], Input] = {}
        tally = self._tally
        for document in text if isinstance(text, _AllArrangements) else [text]:
            for one in self._strategy.cut(document, room):
                tally.asked += 1
                tally.asked_tokens += one.tokens
                found.setdefault(tuple(one.vector_keys()), one)
        for key, one in found.items():
            if key not in tally.seen:
                tally.seen.add(key)
                tally.distinct += 1
                tally.distinct_tokens += one.tokens
        return list(found.values())
