"""Federal judgments, a line a sentence, and the long queries made of what later judgments cite them for."""

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
from loco.tasks.builders.mini.scribe import Scribe, capital

WORDS = "cases"
_SLOTS = {slot: slot for slot in ("applicant", "conduct", "ground", "material", "relief")}
_GENERAL = 0.0014
"""Citing sentences that say nothing of a case's own story, per character of the case."""


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The cases under one statute; query: ``citations``."""
    dice = scribe.dice
    area = scribe.draw("area")
    laws = scribe.rules[f"{area.replace(' ', '_')}_law"]
    known = dict(zip(("law_a", "law_b", "law_c", "law_d"), laws, strict=True))
    scheme = Block("\n".join(scribe.fill(entry, **known) for entry in scribe.rules["shared"]))
    closing = Block("\n".join(scribe.fill(entry, **known) for entry in scribe.rules["closing"]))

    def sentence() -> list[Block]:
        return [Block(capital(scribe.write("filler", **known)))]

    drafts = []
    for plan in planner.plans(details(scribe, _SLOTS), decoys=3):
        factor = stretch(dice)
        body = fill(length * factor - len(scheme.text) - len(closing.text), sentence)
        first = len(body) // 4
        body = [*body[:first], scheme, *body[first:]]
        tell = teller(scribe, "\n", **known)
        mention = teller(scribe, "\n", "opening_other", **known)
        case = {"case": f"{scribe.write('surname')} v {capital(laws[3])}", **known}
        phrases = [area, *dice.sample(scribe.rules["catchphrase"], 6), *wordings(dice, plan.story).values()]
        citing = [scribe.write("citing", **case, **wordings(dice, plan.story)) for _ in range(5)]
        wanted = round(length * factor * _GENERAL)
        citing += [scribe.write("citing_general", **case) for _ in range(wanted)]
        sentences = dice.shuffled(citing)
        query = "\n".join([" - ".join(dice.shuffled(phrases)), *map(capital, sentences)])
        blocks = compose(dice, plan, [], body, [closing], tell, mention)
        drafts.append(Draft(blocks, {"citations": query}))
    return drafts


def document(draft: Draft) -> Document:
    """A line a sentence."""
    return typeset(draft.blocks, lambda before, after: "\n")
