"""What a synthetic document is put together from: details, plans, blocks, and the place where the evidence stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from loco.tasks.builders.mini.dice import Dice
from loco.tasks.builders.mini.scribe import Scribe

PARAPHRASED = 0.35
"""How often a query says a detail in other words than its document."""

REPEATED = 0.4
"""How often a detail is told in two sentences instead of one."""

_THIRDS = ((1 / 6,), (1 / 2,), (5 / 6,))
_PAIRS = ((1 / 6, 1 / 2), (1 / 2, 5 / 6), (1 / 6, 5 / 6))


Places = Sequence[tuple[float, ...]]
"""For each document where its evidence goes: one or two fractions of its length."""


@dataclass(frozen=True)
class Detail:
    """A fact in two wordings: as documents tell it, and as a query may ask for it."""

    told: str
    asked: str


Story = Mapping[str, Detail]
"""One detail for each slot, such as the event, the proof and the motive of an episode."""


@dataclass(frozen=True)
class Plan:
    """What one document has to tell: its own story, bits of its siblings' stories, and where the evidence goes.

    ``places``: one or two fractions of the document's length.
    """

    story: Story
    decoys: tuple[Story, ...]
    places: tuple[float, ...]


@dataclass(frozen=True)
class Block:
    """A piece of text that stays together. ``details``, if any, are the wordings in it that a query asks for."""

    text: str
    kind: str = "text"
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """Where in a text, from ``start`` up to and without ``end``, the named details stand."""

    start: int
    end: int
    details: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A finished text and the spans that hold the evidence."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Draft:
    """A document before it is set, and the queries it answers, by kind of query."""

    blocks: tuple[Block, ...]
    queries: Mapping[str, str]


def spread(dice: Dice, count: int) -> Places:
    """Places for ``count`` documents.

    Two documents of seven in each of beginning, middle and end, the seventh in two of these.
    """
    cycle: list[tuple[float, ...]] = []
    while len(cycle) < count:
        cycle += [*_THIRDS, *_THIRDS, dice.pick(_PAIRS)]
    return [tuple(place + dice.between(-0.12, 0.12) for place in some) for some in dice.shuffled(cycle[:count])]


def details(scribe: Scribe, rules: Mapping[str, str], values: int = 5) -> dict[str, list[Detail]]:
    """For each slot a pool of ``values`` details from its rule, whose entries read ``told ~ asked``.

    An entry without ``~`` has one wording: it is quoted as it is. A domain's documents outnumber a pool's values, so
    that every detail is shared by some; domains that follow each other share few.
    """
    pools: dict[str, list[Detail]] = {}
    for slot, rule in rules.items():
        pool: list[Detail] = []
        while len(pool) < values:
            told, _, asked = scribe.draw(rule).partition(" ~ ")
            detail = Detail(told, asked or told)
            if detail not in pool:
                pool.append(detail)
        pools[slot] = pool
    return pools


class Planner:
    """Plans the documents of a task, a domain of ``each`` at a time, and sees to it that no two can be confused.

    All of a story stands in one document alone, whatever bits of other stories that document tells.
    """

    def __init__(self, dice: Dice, domains: int, each: int) -> None:
        self._dice = dice
        self._each = each
        self._places = spread(dice, domains * each)
        self._told: list[set[Detail]] = []
        self._decisive: list[tuple[Detail, ...]] = []

    def places(self) -> Places:
        """The places for the next domain's documents."""
        taken, self._places = self._places[: self._each], self._places[self._each :]
        return taken

    def plans(
        self, pools: Mapping[str, Sequence[Detail]], decoys: int, decisive: Iterable[Sequence[str]] = ()
    ) -> list[Plan]:
        """Plans for the next domain.

        Siblings draw on the same pools, and each also tells ``decoys`` bits of its siblings' stories, so that any
        detail is in several documents. What is true of a whole story is true of its ``decisive`` slots: they stand
        together in one document alone.
        """
        groups = [tuple(pools), *decisive]
        first = len(self._told)
        stories: list[Story] = []
        for _ in range(self._each):
            story = self._story(pools, groups)
            stories.append(story)
            self._told.append(set(story.values()))
            self._decisive += [tuple(story[slot] for slot in slots) for slots in groups]
        result = []
        for index, (story, place) in enumerate(zip(stories, self.places(), strict=True)):
            siblings = stories[:index] + stories[index + 1 :]
            bits = self._bits(self._told[first + index], siblings, decoys)
            result.append(Plan(story, tuple(bits), place))
        return result

    def _story(self, pools: Mapping[str, Sequence[Detail]], groups: Sequence[Sequence[str]]) -> Story:
        while True:
            story = {slot: self._dice.pick(values) for slot, values in pools.items()}
            mine = [{story[slot] for slot in slots} for slots in groups]
            given_away = any(part <= told for told in self._told for part in mine)
            if not given_away and not any(set(story.values()).issuperset(other) for other in self._decisive):
                return story

    def _bits(self, told: set[Detail], siblings: Sequence[Story], wanted: int) -> list[Story]:
        """Up to ``wanted`` parts of siblings' stories; ``told``, what the document tells, grows by them."""
        bits: list[Story] = []
        own = sum(told.issuperset(details) for details in self._decisive)
        for _ in range(50 * wanted):
            if len(bits) == wanted:
                break
            sibling = self._dice.pick(siblings)
            slots = self._dice.sample(list(sibling), max(2, len(sibling) // 2))
            bit = {slot: sibling[slot] for slot in sibling if slot in slots}
            more = told | set(bit.values())
            if more != told and sum(more.issuperset(details) for details in self._decisive) == own:
                told |= more
                bits.append(bit)
        return bits


def wordings(dice: Dice, story: Story) -> dict[str, str]:
    """How a query words each detail of a story."""
    return {slot: detail.asked if dice.chance(PARAPHRASED) else detail.told for slot, detail in story.items()}


Teller = Callable[[Mapping[str, str]], str]
"""Writes a text that holds the given details, each in the wording given."""


def teller(scribe: Scribe, between: str, opening: str = "opening_told", **slots: str) -> Teller:
    """Opens with a sentence of the rule ``opening``, then tells each detail in one of ``<slot>_told``, some in two."""

    def tell(told: Mapping[str, str]) -> str:
        sentences = [scribe.write(opening, **slots)]
        again = []
        for slot, wording in told.items():
            known = {**slots, slot: wording}
            sentences.append(scribe.write(f"{slot}_told", **known))
            if scribe.dice.chance(REPEATED):
                again.append(scribe.write(f"{slot}_told", **known))
        return between.join(sentences + again)

    return tell


def _evidence(plan: Plan, tell: Teller) -> list[tuple[float, Block]]:
    """The blocks that hold a plan's own story, each with its place; with two places, each gets half of the details."""
    slots = list(plan.story)
    half = (len(slots) + 1) // 2
    parts = [slots] if len(plan.places) == 1 else [slots[:half], slots[half:]]
    result = []
    for place, part in zip(plan.places, parts, strict=True):
        told = {slot: plan.story[slot].told for slot in part}
        result.append((place, Block(tell(told), details=tuple(told.values()))))
    return result


def compose(
    dice: Dice,
    plan: Plan,
    head: Sequence[Block],
    body: Sequence[Block],
    tail: Sequence[Block],
    tell: Teller,
    mention: Teller,
) -> tuple[Block, ...]:
    """Head, body and tail, with the plan's evidence (``tell``) and decoys (``mention``) worked into the body."""
    blocks = [*head, *body, *tail]
    first, last = len(head), len(tail)

    def insert(place: float, block: Block) -> None:
        """Put a block in where its middle comes closest to ``place``, a fraction of the whole length."""
        target = place * (sum(len(other.text) for other in blocks) + len(block.text)) - len(block.text) / 2
        before = [0, *accumulate(len(other.text) for other in blocks)]
        allowed = range(first, len(blocks) - last + 1)
        blocks.insert(min(allowed, key=lambda index: abs(before[index] - target)), block)

    for decoy in plan.decoys:
        told = {slot: detail.told for slot, detail in decoy.items()}
        insert(dice.between(0.05, 0.95), Block(mention(told)))
    for place, block in _evidence(plan, tell):
        insert(place, block)
    return tuple(blocks)


def fill(length: float, write: Callable[[], Sequence[Block]]) -> list[Block]:
    """Blocks from ``write``, some at a time, until they come to ``length`` characters."""
    blocks: list[Block] = []
    while length > 0:
        more = write()
        blocks += more
        length -= sum(len(block.text) + 1 for block in more)
    return blocks


def stretch(dice: Dice) -> float:
    """A factor for a document's length, 0.55 to 2.15 and mostly below its mean of 0.95: lengths are skewed."""
    return 0.55 + 1.6 * dice.between(0, 1) * dice.between(0, 1)


def typeset(
    blocks: Iterable[Block],
    joint: Callable[[str, str], str],
    wrap: Callable[[Block], str] = lambda block: block.text,
) -> Document:
    """Set blocks as one text.

    ``joint(kind before, kind after)`` is what stands between two blocks, ``wrap`` the text of one with its markup.
    """
    parts: list[str] = []
    spans: list[Span] = []
    length, kind = 0, ""
    for block in blocks:
        between = joint(kind, block.kind) if parts else ""
        text = wrap(block)
        start = length + len(between)
        length = start + len(text)
        parts += [between, text]
        kind = block.kind
        if block.details:
            spans.append(Span(start, length, block.details))
    return Document("".join(parts), tuple(spans))
