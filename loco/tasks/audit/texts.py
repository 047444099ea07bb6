"""What is odd about the texts of one role, gathered text by text."""

from __future__ import annotations

from collections.abc import Callable

from loco.tasks.audit import encodings
from loco.tasks.audit.record import Lengths, TextFindings
from loco.tokens.reference import token_counter

# The windows of common models: BERT's, then those of the long-context models LoCoV1 compares.
TOKEN_LIMITS = (512, 2_048, 8_192, 32_768)

_SIGNS: dict[str, Callable[[str], bool]] = {
    "empty": lambda text: not text.strip(),
    "replacement_characters": lambda text: encodings.REPLACEMENT_CHARACTER in text,
    "control_characters": lambda text: encodings.CONTROL_CHARACTERS.search(text) is not None,
    "mojibake": lambda text: not text.isascii() and encodings.MOJIBAKE.search(text) is not None,
}


class TextScan:
    """Collects the findings of one role."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {name: [] for name in (*_SIGNS, "mostly_not_latin")}
        self._tokens = token_counter()
        self._lengths: list[int] = []
        self._letters = self._not_latin = 0

    def add(self, identifier: str, text: str) -> None:
        """Look at one text."""
        for name, shows in _SIGNS.items():
            if shows(text):
                self._ids[name].append(identifier)
        letters, not_latin = encodings.letters(text)
        self._letters += letters
        self._not_latin += not_latin
        if 2 * not_latin > letters:
            self._ids["mostly_not_latin"].append(identifier)
        self._lengths.append(self._tokens(text))

    def findings(self) -> TextFindings:
        """What has been found so far, in at least one text."""
        lengths = Lengths(
            mean=round(sum(self._lengths) / len(self._lengths), 2),
            longest=max(self._lengths),
            over={limit: sum(length > limit for length in self._lengths) for limit in TOKEN_LIMITS},
        )
        share = self._not_latin / self._letters if self._letters else 0.0
        return TextFindings(
            **{name: tuple(ids) for name, ids in self._ids.items()}, letters_not_latin=round(share, 6), tokens=lengths
        )
