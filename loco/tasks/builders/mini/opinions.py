"""Court opinions, as plain text and as HTML, and the parentheticals that describe them; a court shares its formulas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape

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

WORDS = "opinions"
_SLOTS = {slot: slot for slot in ("party", "act", "ruling", "circumstance")}
_ITALIC = re.compile(r"_([^_]+)_")
_PAGE_CHARS = 1900


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """The opinions of one court in one field of law; queries: ``parenthetical`` and ``question``."""
    dice = scribe.dice
    state = scribe.draw("state")
    known = {"state": state, "upper": state.upper(), "reporter": f"{state[:4]}.", "area": scribe.draw("area")}
    jurisdiction, review, maxims, mandate = (Block(scribe.fill(entry, **known)) for entry in scribe.rules["shared"])

    def paragraph() -> list[Block]:
        text = Block(" ".join(scribe.write("filler", **known) for _ in range(dice.whole(2, 5))))
        if dice.chance(0.12):
            return [Block(scribe.write("heading"), kind="heading"), text]
        if dice.chance(0.08):
            return [text, Block(scribe.write("quote", **known), kind="quote")]
        return [text]

    drafts = []
    decisive = [("party", "act"), ("party", "circumstance")]
    for plan in planner.plans(details(scribe, _SLOTS), decoys=2, decisive=decisive):
        head = [Block(scribe.write("caption", **known), kind="caption"), jurisdiction]
        shared = sum(len(block.text) for block in (*head, review, maxims, mandate))
        body = fill(length * stretch(dice) - shared, paragraph)
        third = len(body) // 3
        body = [*body[:third], Block("STANDARD OF REVIEW", kind="heading"), review, maxims, *body[third:]]
        tell = teller(scribe, " ", **known)
        mention = teller(scribe, " ", "opening_other", **known)
        queries = {
            kind: scribe.write(kind, **known, **wordings(dice, plan.story)) for kind in ("parenthetical", "question")
        }
        blocks = compose(dice, plan, head, body, [mandate], tell, mention)
        drafts.append(Draft(_paged(blocks, dice.whole(12, 700)), queries))
    return drafts


def _paged(blocks: Sequence[Block], page: int) -> tuple[Block, ...]:
    """The blocks with a marker wherever the printed reporter turns a page."""
    result: list[Block] = []
    chars = 0
    for block in blocks:
        result.append(block)
        chars += len(block.text)
        if chars > _PAGE_CHARS:
            chars -= _PAGE_CHARS
            page += 1
            result.append(Block(f"*{page}", kind="page"))
    return tuple(result)


def plain(draft: Draft) -> Document:
    """Paragraphs, headings and page markers, blank lines between."""
    blocks = [replace(block, text=_ITALIC.sub(r"\1", block.text)) for block in draft.blocks]
    return typeset(blocks, lambda before, after: "\n\n")


def html(draft: Draft) -> Document:
    """The same opinion as the court's web page would have it."""
    return typeset(draft.blocks, lambda before, after: "\n", _tagged)


def _tagged(block: Block) -> str:
    text = _ITALIC.sub(r'<span class="citation"><i>\1</i></span>', escape(block.text, quote=False))
    if block.kind == "page":
        return f'<span class="star-pagination" number="{text[1:]}">{text}</span>'
    if block.kind == "heading":
        return f'<h2 class="opinion-heading">{text}</h2>'
    if block.kind == "quote":
        return f'<blockquote class="indented"><p>{text}</p></blockquote>'
    if block.kind == "caption":
        return "\n".join(f'<p class="case_cite" align="center"><b>{line}</b></p>' for line in text.split("\n"))
    return f'<p class="indent">{text}</p>'
