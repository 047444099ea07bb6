"""Whether a passage gives an answer away, and whether two passages are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def normalised(text: str) -> str:
    """A text as it is compared: lower case, without accents, compatibility forms resolved (NFKD), letters and digits
    of any script only.

    Whatever else stands in it, blanks included, is one blank, and none stands at the ends. A part of a text stays a
    part of it.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(map(_kept, plain)).split())


def _kept(sign: str) -> str:
    if sign.isalnum():
        return sign
    return "" if unicodedata.category(sign).startswith("M") else " "


class Answers:
    """The answers to a question.

    An answer stands in a passage if it is a part of it, both :func:`normalised`, even a part of a word: rather one
    passage too many is refused. An answer of signs alone, which normalising would leave nothing of, is compared as it
    is written.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self._words = {words for answer in answers if (words := normalised(answer))}
        self._signs = {answer.strip() for answer in answers if answer.strip() and not normalised(answer)}

    def stand_in(self, passage: str, words: str) -> bool:
        """Whether any of them stands in a passage; ``words`` is the passage normalised."""
        return any(answer in words for answer in self._words) or any(answer in passage for answer in self._signs)
