"""Word segmentation as Lucene's StandardTokenizer does it: Unicode Standard Annex #29, with emoji sequences as words.

Every character is first replaced by the letter of its class (:mod:`.unicode_classes`); the rules are then regular
expressions over those letters. Source of the rules: UAX #29, section 4.1 (WB4 to WB13b), UTS #51 for emoji, and what
Lucene 9.9.1 was seen to do where it goes its own way: runs of South East Asian letters stay whole, every Han or
Hiragana character is a word, a word has at least one letter, digit, Katakana or emoji in it.
"""

from __future__ import annotations

import re
from functools import cache

from .unicode_classes import CharacterClasses

LONGEST = 255
"""A word ends after this many UTF-16 code units at the latest; the rest of it starts another one."""

# WB4: whatever extends a character (marks, format characters, joiners) belongs to it.
_X = "[XZVvCTtYs]*"
_LETTER, _HEBREW, _NUMBER, _KATAKANA, _CONNECTOR = f"[LpH]{_X}", f"H{_X}", f"N{_X}", f"K{_X}", f"U{_X}"

# WB5 to WB12, WB13. The order of the alternatives makes the greedy match the longest one: a Hebrew letter before a
# quotation mark can go nowhere else, and after an apostrophe anything may follow that may follow a letter.
_CORE = (
    f"(?:(?:{_KATAKANA})+|(?:"
    f"{_HEBREW}D{_X}{_HEBREW}"
    f"|{_HEBREW}Q{_X}"
    f"|{_NUMBER}(?:[nbQ]{_X}{_NUMBER})*"
    f"|{_LETTER}(?:[mbQ]{_X}{_LETTER})*"
    ")+)"
)
# WB13a, WB13b: connectors such as the underscore join what stands on either side of them.
_WORD = f"(?:{_CONNECTOR})*{_CORE}(?:(?:{_CONNECTOR})+{_CORE})*(?:{_CONNECTOR})*"

# UTS #51 over WB4: the presentation selectors have a place of their own in an emoji sequence.
_EMOJI_X = "[XZCTtYs]*"
_PICTURE, _MODIFIER = f"[Pp]{_EMOJI_X}V?", f"Y{_EMOJI_X}"
_EMOJI = (
    f"(?:Z*{_PICTURE}|{_MODIFIER})(?:T+t|(?:(?:Z+|(?<=Z)){_PICTURE}|Z{_MODIFIER})*)|#{_EMOJI_X}V?C{_EMOJI_X}|R{_X}R{_X}"
)
_SINGLE = f"(?:[Ss]{_X})+|I{_X}"

_RULES = tuple(map(re.compile, (_WORD, _EMOJI, _SINGLE)))
_START = re.compile("[LpHNKUZPY#RSsI]")
_NO_WORD = re.compile("[UXZVvCTt]*")  # what is no word without another character, however much there is of it

# The same _WORD for ASCII alone, on the text itself. Looking behind spares a long line of underscores, which is no
# word, a match attempt of its own at each of them.
_ASCII_CORE = "(?:[A-Za-z]+(?:[:.'][A-Za-z]+)*|[0-9]+(?:[,;.'][0-9]+)*)+"
_ASCII_WORDS = re.compile(f"(?<!_)_*{_ASCII_CORE}(?:_+{_ASCII_CORE})*_*")


def words(text: str) -> list[str]:
    """The words of ``text`` in their order, each a piece of it, none longer than 255 UTF-16 code units."""
    if not text.isascii():
        return _words_by_class(text)
    if text.isalnum() and len(text) <= LONGEST:
        return [text]
    found: list[str] = _ASCII_WORDS.findall(text)
    if len(text) > LONGEST and max(map(len, found), default=0) > LONGEST:
        return _words_by_class(text)
    return found


def _words_by_class(text: str) -> list[str]:
    classes = text.translate(_classes())
    beyond_bmp = max(text) > "\uffff"
    found = []
    at = 0
    while start := _START.search(classes, at):
        at = start.start()
        end = _longest_match(classes, at, at + LONGEST)
        if beyond_bmp and end - at > LONGEST // 2:
            end = _longest_match(classes, at, _limit(text, at))
        if end:
            found.append(text[at:end])
            at = end
        else:
            # A word that began further on among these would have to reach what stands behind them.
            at = max(at + 1, _NO_WORD.match(classes, at + 1).end() + 1 - LONGEST)  # type: ignore[union-attr]
    return found


def _longest_match(classes: str, start: int, limit: int) -> int:
    """The end of the longest match at ``start`` of whatever rule, none of which sees beyond ``limit``; 0 for none."""
    return max((match.end() for rule in _RULES if (match := rule.match(classes, start, limit))), default=0)


def _limit(text: str, start: int) -> int:
    """The end of the longest piece from ``start`` that fits into 255 UTF-16 code units."""
    units = 0
    for end in range(start, min(start + LONGEST, len(text))):
        units += 2 if text[end] > "\uffff" else 1
        if units > LONGEST:
            return end
    return start + LONGEST


@cache
def _classes() -> CharacterClasses:
    return CharacterClasses()
