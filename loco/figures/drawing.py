"""What all figures share: the document with its style, text that cannot break out of it, and how wide text is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from html import escape

MARGIN = 24
WIDTH = 960

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE = """
svg { color-scheme: light dark; font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  --text: #1f2328; --muted: #59636e; --grid: #d1d9e0; }
@media (prefers-color-scheme: dark) { svg { --text: #f0f6fc; --muted: #9da7b3; --grid: #3d444d; } }
text { fill: var(--text); font-size: 13px; }
.heading { font-size: 19px; font-weight: 600; }
.small { fill: var(--muted); font-size: 12px; }
.number { text-anchor: end; font-variant-numeric: tabular-nums; }
.tick { text-anchor: middle; }
.grid { stroke: var(--grid); stroke-width: 1; }
"""


def document(
    kind: str, height: int, title: str, description: str, body: Iterable[str], style: str = "", width: int = WIDTH
) -> str:
    """An SVG document of ``width`` x ``height`` pixels around a ``body`` of elements, as a string.

    ``title`` and ``description`` say in words what is drawn, for whoever cannot see it. ``kind`` makes their
    identifiers differ from another figure's on the same page. ``style`` is CSS added to the one all figures share.
    """
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="loco-{kind}-title loco-{kind}-description">',
            f'<title id="loco-{kind}-title">{escaped(title)}</title>',
            f'<desc id="loco-{kind}-description">{escaped(description)}</desc>',
            f"<style>{_STYLE}{style}</style>",
            *body,
            "</svg>\n",
        ]
    )


def heading(title: str, note: str = "", width: int = WIDTH) -> str:
    """The title at the top, over 24 pixels of note. What follows starts at ``MARGIN + 48``."""
    room = width - 2 * MARGIN
    drawn = f'<text class="heading" x="{MARGIN}" y="{MARGIN + 16}">{escaped(shortened(title, room * 13 / 20))}</text>'
    if note:
        drawn += f'<text class="small" x="{MARGIN}" y="{MARGIN + 38}">{escaped(shortened(note, room))}</text>'
    return drawn


def escaped(text: str) -> str:
    """A text as the content of an element or an attribute; what XML cannot hold becomes a replacement character."""
    return escape(_NOT_XML.sub("\ufffd", text))


def pixels(text: str) -> float:
    """How wide a text is at 13 px, in the wider ones of the system fonts."""
    return sum(map(_wide, text))


def shortened(text: str, room: float) -> str:
    """The text, or as much of its start as is at most ``room`` pixels wide at 13 px, with an ellipsis behind it."""
    width = 0.0
    for place, character in enumerate(text):
        width += _wide(character)
        if width > room:
            return f"{text[:place]}…"
    return text


def number(value: float) -> str:
    """A figure as it stands at an axis: at most four digits that matter, thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _wide(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 13.0
    return 12.0 if character in "MWmw" else 9.5 if character.isupper() else 7.6
