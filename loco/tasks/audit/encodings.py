"""Signs that a text was decoded wrongly, and how much of it is not of the Latin script."""

from __future__ import annotations

import re

import regex

REPLACEMENT_CHARACTER = "\ufffd"

# Everything that is neither text nor white space of any kind; U+0085 is what Windows-1252's ellipsis becomes.
CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f]")


def _continuations() -> str:
    """How the bytes 0x80 to 0xBF, which continue a character of UTF-8, look in Windows-1252 and in Latin-1."""
    raw = bytes(range(0x80, 0xC0))
    return re.escape("".join(sorted({*raw.decode("cp1252", "ignore"), *raw.decode("latin-1")})))


def _mojibake() -> re.Pattern[str]:
    # Only lead bytes of what is frequent in Latin text, else a capital before a closing quote would count: two-byte
    # characters of Latin-1 (C2, C3), three-byte punctuation, ligatures and byte order mark (E2, EF), emoji (F0).
    more = f"[{_continuations()}]"
    return re.compile(f"[\u00c2\u00c3]{more}|[\u00e2\u00ef]{more}{{2}}|\u00f0{more}{{3}}")


MOJIBAKE = _mojibake()

_NOT_ASCII_LETTERS = bytes(code for code in range(256) if not (code < 128 and chr(code).isalpha()))
_ASCII = re.compile(r"[\x00-\x7f]+")
_LETTER = regex.compile(r"\p{L}")
_LATIN_LETTER = regex.compile(r"\p{Latin}")


def letters(text: str) -> tuple[int, int]:
    """How many letters a text has, and how many of them are not of the Latin script."""
    latin = len(text.encode("ascii", "ignore").translate(None, _NOT_ASCII_LETTERS))
    if text.isascii():
        return latin, 0
    others = _LETTER.findall(_ASCII.sub("", text))
    return latin + len(others), sum(not _LATIN_LETTER.match(letter) for letter in others)
