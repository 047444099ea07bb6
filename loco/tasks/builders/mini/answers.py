"""Programmers' questions and the answers to them, Markdown with code: several answers a question, of skewed lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from loco.tasks.builders.mini.drafts import (
    Block,
    Document,
    Draft,
    Plan,
    Planner,
    Story,
    compose,
    details,
    fill,
    spread,
    typeset,
    wordings,
)
from loco.tasks.builders.mini.scribe import Scribe, capital

WORDS = "answers"
_SLOTS = {slot: slot for slot in ("operation", "call", "error", "place_used")}
_TOLD = {"operation": 0.75, "call": 0.9, "error": 0.4, "place_used": 0.5}
"""How often an answer comes back to each detail of its question."""


@dataclass(frozen=True)
class Thread:
    """A question and its answers; ``question`` is empty where nobody asks it here and the answers only distract."""

    question: str
    answers: tuple[Draft, ...]


def threads(scribe: Scribe, planner: Planner, asked: int, length: float) -> list[Thread]:
    """The threads about one library, the first ``asked`` of them with a question.

    ``length`` is what the long answers, an eighth of all, are multiples of.
    """
    known = {"library": scribe.draw("library")}
    plans = planner.plans(details(scribe, _SLOTS, 6), decoys=0)
    counts = [scribe.dice.whole(2, 5) for _ in plans]
    places = iter(spread(scribe.dice, sum(counts)))
    result = []
    for index, (plan, count) in enumerate(zip(plans, counts, strict=True)):
        question = _question(scribe, plan.story, known) if index < asked else ""
        answers = tuple(_answer(scribe, plan.story, place, length, known) for place in islice(places, count))
        result.append(Thread(question, answers))
    return result


def _question(scribe: Scribe, story: Story, known: Mapping[str, str]) -> str:
    parts = []
    for rule in ("title", "body"):
        worded = wordings(scribe.dice, story)
        parts.append(capital(scribe.write(rule, error_name=worded["error"].split(":")[0], **known, **worded)))
    return "\n\n".join(parts)


def _answer(scribe: Scribe, story: Story, place: tuple[float, ...], length: float, known: Mapping[str, str]) -> Draft:
    dice = scribe.dice
    told = {slot: detail for slot, detail in story.items() if dice.chance(_TOLD[slot])}
    if len(told) < 2:
        told = {slot: story[slot] for slot in ("operation", "call")}
    slots = {**known, "cause": scribe.draw("cause"), "fix": scribe.draw("fix"), "field": scribe.draw("field")}

    def tell(details: Mapping[str, str]) -> str:
        rules = [*details, *(["fix"] if "error" in details else ["cause", "fix"])]
        return "\n\n".join(capital(scribe.write(f"{rule}_told", **slots, **details)) for rule in rules)

    def paragraph() -> Block:
        fields = {"field": scribe.draw("field"), "field2": scribe.draw("field")}
        return Block(scribe.write("paragraph", **known, **fields))

    def part() -> list[Block]:
        if dice.chance(0.25):
            lines = "\n".join(scribe.write("log", **known) for _ in range(dice.whole(6, 18)))
            return [Block(f"```\n{lines}\n```")]
        return [paragraph()]

    size = dice.between(0, 1)
    if size < 0.6:
        body = [Block(scribe.write("aside")) for _ in range(dice.whole(1, 4))]
    elif size < 0.875:
        body = [Block(scribe.write("opening_told")), *(paragraph() for _ in range(3))]
    else:
        shared = [Block(scribe.fill(entry, **known)) for entry in scribe.rules["shared"]]
        body = dice.shuffled([*shared, *fill(length * dice.between(3, 9), part)])
    return Draft(compose(dice, Plan(told, (), place), [], body, [], tell, tell), {})


def document(draft: Draft) -> Document:
    """Paragraphs and code, blank lines between."""
    return typeset(draft.blocks, lambda before, after: "\n\n")
