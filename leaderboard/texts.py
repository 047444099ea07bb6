"""What strangers wrote, made fit to be read: signs that steer become visible, addresses of pages become links.

Escaping is left to the templates. Where a text goes into an address or a command, it is quoted here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from loco.submission.names import is_link

# Controls, what changes direction or takes no room, halves of characters, private ones, line and paragraph separators.
_STEERING = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_LONGEST = 2000
_ADDRESS = re.compile(r"https?://[^\s<>\"'`{}\\]+")
_ENDS_A_SENTENCE = ".,;:!?)]"


@dataclass(frozen=True)
class Piece:
    """A part of a text. ``link`` is the address of a page, or empty."""

    text: str
    link: str = ""


def visible(text: str, longest: int = _LONGEST) -> str:
    """A text in which every sign can be seen: one that steers or hides stands as its number, as in ⟨U+202E⟩.

    Line breaks and tabs stay. What is longer than ``longest`` characters is cut, and says by how many.
    """
    more = len(text) - longest
    shown = "".join(f"⟨U+{ord(sign):04X}⟩" if _steers(sign) else sign for sign in text[:longest])
    return f"{shown}… ({more:,} more characters)" if more > 0 else shown


def pieces(text: str) -> list[Piece]:
    """A text with the addresses in it as links. Only plain http and https addresses become any.

    What is too long is cut between words, so that no half of an address is a link, and says by how many characters.
    """
    if len(text) <= _LONGEST:
        return list(_pieces(text))
    kept = text[:_LONGEST].rpartition(" ")[0]
    if not kept:
        return [Piece(visible(text))]
    return [*_pieces(kept), Piece(f"… ({len(text) - len(kept):,} more characters)")]


def link(address: str) -> Piece:
    """An address: a link where it is plainly one of a page, else text."""
    return Piece(visible(address), address if is_link(address) else "")


def below_results(path: str) -> str:
    """The address, below the site's folder, of what lies at ``path`` in the folder of results."""
    return "results/" + quote(path, errors="surrogateescape")


def _pieces(text: str) -> Iterator[Piece]:
    end = 0
    for found in _ADDRESS.finditer(text):
        address = found.group().rstrip(_ENDS_A_SENTENCE)
        if is_link(address):
            if before := text[end : found.start()]:
                yield Piece(visible(before))
            yield Piece(address, address)
            end = found.start() + len(address)
    if rest := text[end:]:
        yield Piece(visible(rest))


def _steers(sign: str) -> bool:
    return sign not in "\n\t" and not " " <= sign <= "~" and unicodedata.category(sign) in _STEERING
