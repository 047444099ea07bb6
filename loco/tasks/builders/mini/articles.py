"""Encyclopedic articles on the institutions of a town, with questions about an episode of one of them."""

from __future__ import annotations

from loco.tasks.builders.mini.drafts import (
    Block,
    Document,
    Draft,
    Planner,
    compose,
    details,
    fill,
    stretch,
    teller,
    typeset,
    wordings,
)
from loco.tasks.builders.mini.scribe import Scribe

WORDS = "articles"
_SLOTS = {slot: slot for slot in ("gift", "donor", "occasion", "fate")}


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The institutions of one town; query: ``question``."""
    dice = scribe.dice
    names = {name: scribe.write(name) for name in ("river", "family", "family2", "people")}
    known = {"town": scribe.write("place_name")}
    town, society, reading = (Block(scribe.fill(entry, **known, **names)) for entry in scribe.rules["shared"])

    def paragraph() -> list[Block]:
        return [Block(" ".join(scribe.write("filler", **known) for _ in range(dice.whole(2, 5))))]

    drafts = []
    decisive = [("donor", "occasion"), ("gift", "occasion"), ("gift", "donor")]
    for plan in planner.plans(details(scribe, _SLOTS), decoys=2, decisive=decisive):
        mine = {**known, "institution": scribe.draw("institution")}
        shared = sum(len(block.text) for block in (town, society, reading))
        paragraphs = fill(length * stretch(dice) - shared, paragraph)
        head = [Block(scribe.write("title", **mine), kind="heading"), Block(scribe.write("introduction", **mine)), town]
        tell = teller(scribe, " ", **known)
        mention = teller(scribe, " ", "opening_other", **known)
        blocks = compose(dice, plan, head, [society, *paragraphs], [reading], tell, mention)
        drafts.append(Draft(blocks, {"question": scribe.write("question", **known, **wordings(dice, plan.story))}))
    return drafts


def document(draft: Draft) -> Document:
    """Paragraphs, a line each."""
    return typeset(draft.blocks, lambda before, after: "\n")
