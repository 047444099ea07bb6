"""Research papers with their titles and abstracts; the papers of a group share corpus, toolkit and set-up."""

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

WORDS = "papers"
_SLOTS = {slot: slot for slot in ("method", "task", "setting", "finding")}


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The papers of one group; queries: ``title``, ``abstract`` and ``question``."""
    dice = scribe.dice
    known = {"corpus": scribe.draw("corpus"), "toolkit": scribe.draw("toolkit")}
    data, setup, baselines = (Block(scribe.fill(entry, **known)) for entry in scribe.rules["shared"])

    def paragraph() -> list[Block]:
        return [Block(" ".join(scribe.write("filler", **known) for _ in range(dice.whole(2, 5))))]

    drafts = []
    decisive = [("method", "task", "setting"), ("task", "setting")]
    for plan in planner.plans(details(scribe, _SLOTS), decoys=2, decisive=decisive):
        shared = len(data.text) + len(setup.text) + len(baselines.text)
        paragraphs = fill(length * stretch(dice) - shared, paragraph)
        third = max(1, len(paragraphs) // 3)
        head = [Block("Introduction", kind="heading"), Block(scribe.write("introduction"))]
        body = [
            *(Block(scribe.write("introduction")) for _ in range(3)),
            *_sections(paragraphs[:third], ("Related Work",)),
            Block("Data", kind="heading"),
            data,
            Block("Experimental Setup", kind="heading"),
            setup,
            baselines,
            *_sections(paragraphs[third:], ("Results", "Analysis", "Discussion")),
            Block("Conclusion", kind="heading"),
            *paragraph(),
            *paragraph(),
        ]
        tell = teller(scribe, " ", **known)
        mention = teller(scribe, " ", "opening_other", **known)
        queries = {
            kind: capital(scribe.write(kind, **known, **wordings(dice, plan.story)))
            for kind in ("title", "abstract", "question")
        }
        drafts.append(Draft(compose(dice, plan, head, body, [], tell, mention), queries))
    return drafts


def _sections(paragraphs: list[Block], names: tuple[str, ...]) -> list[Block]:
    """The paragraphs dealt out over sections of these names."""
    size = -(-len(paragraphs) // len(names))
    blocks: list[Block] = []
    for index, name in enumerate(names):
        part = paragraphs[index * size : (index + 1) * size]
        blocks += [Block(name, kind="heading"), *part] if part else []
    return blocks


def document(draft: Draft) -> Document:
    """As QASPER is flattened: a line with the name of a section, then a line with its paragraphs."""
    return typeset(draft.blocks, lambda before, after: " " if before == after == "text" else "\n")
