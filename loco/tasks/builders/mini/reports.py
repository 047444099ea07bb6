"""Government audit reports and their executive summaries; the reports on an agency share its background."""

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

WORDS = "reports"
_SLOTS = {slot: slot for slot in ("program", "shortfall", "cause", "region", "remedy")}
_BACKGROUND, _SCOPE, _COMMENTS = (
    Block(text, kind="heading") for text in ("Background", "Objectives, Scope and Methodology", "Agency Comments")
)


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The reports on one agency; queries: ``summary`` and ``question``."""
    dice = scribe.dice
    known = {"agency": scribe.draw("agency"), "mission": scribe.draw("mission")}
    office = {
        "seat": scribe.write("place"),
        "founded": str(dice.whole(1948, 1979)),
        "acted": str(dice.whole(1984, 2006)),
        "offices": str(dice.whole(28, 74)),
        "officer": scribe.write("person"),
    }
    background, methodology, comments = (
        Block(scribe.fill(" ".join(scribe.rules[rule]), **known, **office))
        for rule in ("background", "methodology", "comments")
    )

    def paragraph() -> list[Block]:
        text = Block(" ".join(scribe.write("filler", **known) for _ in range(dice.whole(2, 5))))
        return [Block(scribe.write("heading", **known), kind="heading"), text] if dice.chance(0.25) else [text]

    drafts = []
    decisive = [("program", "region"), ("shortfall", "region")]
    for plan in planner.plans(details(scribe, _SLOTS), decoys=3, decisive=decisive):
        shared = len(background.text) + len(methodology.text) + len(comments.text)
        body = fill(length * stretch(dice) - shared, paragraph)
        tail = [_SCOPE, methodology, _COMMENTS, comments]
        tell = teller(scribe, " ", **known)
        asked = {**known, **wordings(dice, plan.story)}
        summary = [scribe.write(rule, **asked) for rule in ("why", "finding", "context", "advice", "context")]
        queries = {"summary": " ".join(summary), "question": scribe.write("question", **asked)}
        drafts.append(Draft(compose(dice, plan, [_BACKGROUND, background], body, tail, tell, tell), queries))
    return drafts


def document(draft: Draft) -> Document:
    """Paragraphs and headings, blank lines between."""
    return typeset(draft.blocks, lambda before, after: "\n\n")
