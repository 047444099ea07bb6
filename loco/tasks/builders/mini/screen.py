"""Transcripts of television episodes and their summaries; the episodes of a show share people, places and phrases."""

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

WORDS = "screen"
_SLOTS = {slot: slot for slot in ("event", "proof", "spot", "motive")}


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The episodes of one show; query: ``summary``."""
    dice = scribe.dice
    genre = scribe.draw("genre")
    scribe.use(place=f"{genre}_place", talk=f"{genre}_talk")
    town = scribe.write("place_name")
    cast = [scribe.write("person") for _ in range(8)]
    names = [person.split()[0] for person in cast]
    known = {"show": scribe.draw("show"), "town": town, "lead": names[0], "second": names[1], "third": names[2]}
    narration = " ".join(scribe.fill(sentence, **known) for sentence in dice.sample(scribe.rules["narration"], 7))
    gag = scribe.fill("\n".join(scribe.rules["gag"]), **known)
    title = Block(scribe.write("title", **known, narration=narration, cast=", ".join(cast)))
    end = Block(scribe.write("credits", **known, gag=gag))

    def scene() -> list[Block]:
        first, second, third, other = dice.sample(names, 4)
        lines = [scribe.write("heading", first=first, second=second)]
        for turn in range(dice.whole(6, 11)):
            speaker = dice.pick((first, second, third)) if turn > 3 else (first, second)[turn % 2]
            lines.append(f"{speaker}: {scribe.write('line', other=other)}")
        return [Block("\n".join(lines))]

    drafts = []
    for plan in planner.plans(details(scribe, _SLOTS), decoys=2):
        finder, culprit, third, *others = dice.shuffled(names)
        tell = teller(scribe, "\n", finder=finder, culprit=culprit, third=third, town=town)
        mention = teller(scribe, "\n", finder=others[0], culprit=others[1], third=finder, town=town)
        scenes = fill(length * stretch(dice) - len(title.text) - len(end.text), scene)
        plot = scribe.write("summary", finder=finder, culprit=culprit, town=town, **wordings(dice, plan.story))
        asides = [scribe.write("subplot", c=c, d=d) for c, d in (dice.sample(names, 2), dice.sample(names, 2))]
        blocks = compose(dice, plan, [title], scenes, [end], tell, mention)
        drafts.append(Draft(blocks, {"summary": " ".join([plot, *asides])}))
    return drafts


def document(draft: Draft) -> Document:
    """Scenes one after the other, a line a turn."""
    return typeset(draft.blocks, lambda before, after: "\n")
