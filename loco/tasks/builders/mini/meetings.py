"""Meeting transcripts and answers to questions about them; a project's meetings share people, product and ritual."""

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

WORDS = "meetings"
_SLOTS = ("feature", "reason", "objection", "decision")
_MARKS = {mark: f"{{{mark}}}" for mark in ("vocalsound", "disfmarker", "pause", "gap")}


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The meetings of one project; query: ``answer``."""
    dice = scribe.dice
    kind = scribe.draw("kind")
    scribe.use(topic=f"{kind}_topic")
    roles = scribe.rules[f"{kind}_role"]
    known = {"project": scribe.draw("project"), "thing": scribe.draw(f"{kind}_thing"), **_MARKS}
    agenda, closing = (
        Block("\n".join(f"{roles[0]}: {scribe.fill(entry, **known)}" for entry in scribe.rules[rule]))
        for rule in ("agenda", "closing")
    )

    def turn() -> list[Block]:
        said = [
            scribe.write("turn", minutes=str(dice.whole(3, 9) * 5), **known) for _ in range(dice.pick((1, 1, 1, 2, 4)))
        ]
        return [Block(f"{dice.pick(roles)}: {' '.join(said)}")]

    drafts = []
    pools = details(scribe, {slot: f"{kind}_{slot}" for slot in _SLOTS})
    for plan in planner.plans(pools, decoys=3):
        first, second, third = dice.sample(roles, 3)
        tell = teller(scribe, "\n", first=first, second=second, third=third, lead=roles[0], **known)
        mention = teller(scribe, "\n", first=third, second=first, third=second, lead=roles[0], **known)
        turns = fill(length * stretch(dice) - len(agenda.text) - len(closing.text), turn)
        asked = {**known, **wordings(dice, plan.story), "first": _named(first), "second": _named(second)}
        blocks = compose(dice, plan, [agenda], turns, [closing], tell, mention)
        drafts.append(Draft(blocks, {"answer": scribe.write("answer", **asked)}))
    return drafts


def _named(role: str) -> str:
    """A role within a sentence: "Grad C" as it is, "the Project Manager" with an article."""
    return role if role[-2] == " " else f"the {role}"


def document(draft: Draft) -> Document:
    """A line a turn."""
    return typeset(draft.blocks, lambda before, after: "\n")
