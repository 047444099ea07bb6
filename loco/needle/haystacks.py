"""Which documents a needle test is made of: drawn from a seed, the same for every model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loco.errors import LocoError
from loco.needle.answers import Answers, normalised
from loco.needle.source import Question, Source
from loco.tokens.reference import count_tokens

QUERIES, POSITIONS, DISTRACTORS, SEED = 300, 40, 39, 0
POSITIONS_BY_LENGTH = 11


@dataclass(frozen=True)
class Settings:
    """What haystacks to make.

    - ``queries``: how many, chosen at random.
    - ``positions``: at how many places the gold passage stands in turn, evenly spread from the first to the last.
    - ``distractors``: how many other passages a document has, where ``lengths`` is empty.
    - ``lengths``: how long documents are at most, in reference tokens (:mod:`loco.tokens.reference`), ascending; each
      is filled with as many distractors as fit.
    """

    queries: int = QUERIES
    positions: int = POSITIONS
    distractors: int = DISTRACTORS
    lengths: tuple[int, ...] = ()
    seed: int = SEED

    def __post_init__(self) -> None:
        if self.queries < 2:
            raise LocoError("A pool of one document has nothing to be told apart from: --queries must be at least 2.")
        if self.positions < 1 or self.distractors < 1:
            raise LocoError("--positions and --distractors must be at least 1.")
        if not self.lengths and self.positions > self.distractors + 1:
            raise LocoError(
                f"Among {self.distractors} distractors there are {self.distractors + 1} positions, not "
                f"{self.positions}: raise --distractors or lower --positions."
            )
        if list(self.lengths) != sorted(set(self.lengths)) or any(length < 1 for length in self.lengths):
            raise LocoError("--lengths must be different numbers of tokens, the smallest first.")


@dataclass(frozen=True, eq=False)
class Haystacks:
    """The documents of a needle test, as far as possible unmade: only their passages and order are held.

    A document of question i and length ``level`` (a place in ``levels``) has the gold passage and the first
    ``counts[level][i]`` of ``distractors[i]``, in this order. ``levels`` are the lengths, or None alone where a number
    of distractors was asked for. ``passed_over`` counts questions that were not taken, as their gold passage was
    another's too, or too few passages are without their answer.
    """

    source: Source
    settings: Settings
    questions: tuple[Question, ...]
    distractors: tuple[tuple[str, ...], ...]
    levels: tuple[int | None, ...]
    counts: tuple[tuple[int, ...], ...]
    passed_over: int

    def slot(self, level: int, question: int, position: int) -> int:
        """How many distractors stand before the gold passage, of those that the document has."""
        return _spread(position, self.settings.positions, self.counts[level][question])

    def passages(self, level: int, question: int, position: int) -> tuple[str, ...]:
        """The passages of a document, in order."""
        hay = self.distractors[question][: self.counts[level][question]]
        slot = self.slot(level, question, position)
        return (*hay[:slot], self.questions[question].gold, *hay[slot:])

    @property
    def sha256(self) -> str:
        """A hash of every query and every document at every position: equal for two models, they had the same task."""
        digest = hashlib.sha256()
        for number, question in enumerate(self.questions):
            for text in (question.identifier, question.text, question.gold, *self.distractors[number]):
                content = text.encode()
                digest.update(len(content).to_bytes(8, "big") + content)
            slots = [
                (self.counts[level][number], self.slot(level, number, position))
                for level in range(len(self.levels))
                for position in range(self.settings.positions)
            ]
            digest.update(repr(slots).encode())
        return digest.hexdigest()

    @property
    def depths(self) -> tuple[float, ...]:
        """For each position the share of a document's distractors that stand before the gold passage, about."""
        return tuple(_depth(position, self.settings.positions) for position in range(self.settings.positions))


def draw(source: Source, settings: Settings) -> Haystacks:
    """The haystacks that a seed makes of a source.

    The passages of a document are the gold one and distractors from ``source.passages``, drawn without replacement.
    No distractor holds an answer of its own query (:class:`loco.needle.answers.Answers`) or is the same, normalised, as
    another passage of the document or the gold passage of any query of the test.

    Raises LocoError where the source has too few questions or passages.
    """
    rejected: set[str] = set()
    pool: dict[str, str] = {}
    for passage in source.passages:
        pool.setdefault(normalised(passage), passage)
    pool.pop("", None)
    while True:
        questions, skipped = _chosen(source, settings, rejected)
        hay = _Hay(source.name, pool, questions, settings)
        drawn = [hay.distractors_of(question) for question in questions]
        short = {question.identifier for question, one in zip(questions, drawn, strict=True) if one is None}
        if not short:
            found = [one for one in drawn if one is not None]
            distractors = tuple(passages for passages, _ in found)
            counts = tuple(zip(*(numbers for _, numbers in found), strict=True))
            levels = settings.lengths or (None,)
            return Haystacks(source, settings, questions, distractors, levels, counts, len(rejected) + skipped)
        rejected |= short


def _chosen(source: Source, settings: Settings, rejected: set[str]) -> tuple[tuple[Question, ...], int]:
    """The first questions in a random order, and how many were left out as their gold passage was another's too."""
    questions = sorted(source.questions, key=lambda question: question.identifier)
    chosen: list[Question] = []
    golds: set[str] = set()
    skipped = 0
    for place in _shuffled(f"queries {settings.seed}", len(questions)):
        question = questions[place]
        gold = normalised(question.gold)
        if question.identifier in rejected:
            continue
        if gold in golds:
            skipped += 1
            continue
        golds.add(gold)
        chosen.append(question)
        if len(chosen) == settings.queries:
            return tuple(chosen), skipped
    why = f", and too few passages without the answers of {len(rejected):,} others" if rejected else ""
    raise LocoError(
        f"{source.name} has {len(chosen):,} questions for this test{why}, not {settings.queries:,}: choose fewer "
        f"--queries{', --distractors or shorter --lengths' if rejected else ''}."
    )


class _Hay:
    """The passages that distractors are drawn from."""

    def __init__(self, name: str, pool: Mapping[str, str], questions: Sequence[Question], settings: Settings) -> None:
        """``pool``: the passages of the source called ``name`` by what they are normalised.

        Raises LocoError where all of them together are too few.
        """
        self._settings = settings
        golds = {normalised(question.gold) for question in questions}
        self._passages = [(passage, words) for words, passage in pool.items() if words not in golds]
        self._tokens: list[int] = []
        if settings.lengths:
            self._tokens = list(count_tokens(passage for passage, _ in self._passages))
            there, asked = sum(self._tokens), settings.lengths[-1]
            if there + max(count_tokens(question.gold for question in questions)) <= asked:
                raise LocoError(
                    f"The passages of {name} have {there:,} tokens, not {asked:,}: choose fewer --queries or shorter "
                    "--lengths."
                )
        elif len(self._passages) < settings.distractors:
            raise LocoError(
                f"{name} has {len(self._passages):,} passages to draw distractors from, not {settings.distractors:,}: "
                "choose fewer --queries or --distractors."
            )

    def distractors_of(self, question: Question) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
        """A question's distractors, and how many of them each length takes; None where there are too few."""
        drawn = self._drawn(question)
        if not self._settings.lengths:
            some = [
                self._passages[place][0] for place, _ in zip(drawn, range(self._settings.distractors), strict=False)
            ]
            return (tuple(some), (len(some),)) if len(some) == self._settings.distractors else None
        passages: list[str] = []
        counts: list[int] = []
        tokens = next(count_tokens([question.gold]))
        for place in drawn:
            tokens += self._tokens[place]
            while len(counts) < len(self._settings.lengths) and tokens > self._settings.lengths[len(counts)]:
                counts.append(len(passages))
            if len(counts) == len(self._settings.lengths):
                break
            passages.append(self._passages[place][0])
        if counts and not counts[0]:
            raise LocoError(
                f"{self._settings.lengths[0]:,} tokens are too few for the gold passage of query "
                f"'{question.identifier}' and one other: choose longer --lengths."
            )
        return (tuple(passages), tuple(counts)) if len(counts) == len(self._settings.lengths) else None

    def _drawn(self, question: Question) -> Iterator[int]:
        """The places of all passages without an answer to the question, in a random order of its own."""
        answers = Answers(question.answers)
        for place in _shuffled(f"distractors {self._settings.seed} {question.identifier}", len(self._passages)):
            if not answers.stand_in(*self._passages[place]):
                yield place


def _shuffled(seed: str, count: int) -> list[int]:
    """The numbers below ``count`` in an order that is the same everywhere: by NumPy's raw stream, which is kept."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")
    order: list[int] = np.argsort(np.random.PCG64(number).random_raw(count), kind="stable").tolist()
    return order


def _spread(position: int, positions: int, distractors: int) -> int:
    """The distractors before a position, of ``positions`` from none before it to all of them: evenly, halves up."""
    if positions == 1:
        return 0
    return (2 * position * distractors + positions - 1) // (2 * (positions - 1))


def _depth(position: int, positions: int) -> float:
    return position / (positions - 1) if positions > 1 else 0.0
