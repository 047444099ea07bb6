"""Documents of thirty encyclopedic paragraphs, with summaries of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from loco.tasks.builders.mini.drafts import (
    Block,
    Document,
    Draft,
    Planner,
    compose,
    details,
    stretch,
    typeset,
    wordings,
)
from loco.tasks.builders.mini.scribe import Scribe, capital

WORDS = "passages"
_SLOTS = ("trade", "mishap", "rescue", "end")
_FILLERS = tuple(f"{topic}_filler" for topic in ("town", "creature", "game", "song", "craft", "office", "weather"))
_CHARS = 270
"""A paragraph's mean length."""


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """Documents with one ship (house, traveller) each of confusable names and fates; query: ``summary``."""
    dice = scribe.dice
    kind = scribe.draw("kind")
    common = [Block(scribe.write(rule)) for _ in range(12) for rule in _FILLERS]
    names = [scribe.draw(f"{kind}_name") for _ in range(4)]
    drafts = []
    for plan in planner.plans(details(scribe, {slot: f"{kind}_{slot}" for slot in _SLOTS}, 4), decoys=3):
        name = dice.pick(names)
        # The query is about one paragraph: the evidence is never in two places.
        plan = replace(plan, places=plan.places[:1])
        own = {slot: detail.told for slot, detail in plan.story.items()}

        def tell(told: Mapping[str, str], name: str = name) -> str:
            return _paragraph(scribe, kind, name, told)

        def mention(told: Mapping[str, str], own: Mapping[str, str] = own) -> str:
            return _paragraph(scribe, kind, dice.pick(names), {**own, **told})

        count = round(length * stretch(dice) / _CHARS) - 1 - len(plan.decoys)
        others = dice.sample(common, min(count, len(common)))
        summary = scribe.write(f"{kind}_summary", **_called(kind, name), **wordings(dice, plan.story))
        blocks = compose(dice, plan, [], others, [], tell, mention)
        numbered = [replace(block, text=f"Paragraph {n}: {block.text}") for n, block in enumerate(blocks, 1)]
        drafts.append(Draft(tuple(numbered), {"summary": capital(summary)}))
    return drafts


def _called(kind: str, name: str) -> dict[str, str]:
    if kind == "traveller":
        last = name.split()[-1]
        return {"name": name, "last": last, "pronoun": last, "which": "who"}
    if kind == "ship":
        return {"name": f"the {name}", "pronoun": "she", "which": "which"}
    return {"name": name, "pronoun": "it", "which": "which"}


def _paragraph(scribe: Scribe, kind: str, name: str, told: Mapping[str, str]) -> str:
    slots = {**_called(kind, name), **told}
    parts = {part: scribe.write(f"{kind}_{part}", **slots) for part in ("rescue_told", "end_told", "setting")}
    return capital(scribe.write("told", **slots, **parts))


def document(draft: Draft) -> Document:
    """Numbered paragraphs, blank lines between."""
    return typeset(draft.blocks, lambda before, after: "\n\n")
