r"""A small template grammar: word lists in, sentences out.

A word list file (``words/*.txt``) holds rules: a line ``== name`` opens one, every line below it is an entry, ``#``
starts a comment line and ``\n`` stands for a line break. ``== name (split)`` marks a list of names of which the test
split uses one half and the train split the other, so that the two never speak of the same people or places.

In an entry, ``{name}`` is replaced by what the writer passes under that name, else by an entry of that rule;
``{^name}`` starts with a capital; ``[this|that]`` is one of the alternatives.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from loco.tasks.builders.mini.dice import Dice
from loco.tasks.data import Split

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{(\^?)(\w+)\}")
_HEADER = re.compile(r"== (\w+)( \(split\))?")
_RULES_FOR_ALL = "names"

WORDS = Path(__file__).with_name("words")
"""The folder of word list files."""


@cache
def rules(file: str, split: Split) -> dict[str, tuple[str, ...]]:
    """The rules of a word list file, lists of names halved for the split."""
    found: dict[str, list[str]] = {}
    halved: set[str] = set()
    name = ""
    for line in (WORDS / f"{file}.txt").read_text(encoding="utf-8").splitlines():
        if header := _HEADER.fullmatch(line):
            name = header[1]
            found[name] = []
            if header[2]:
                halved.add(name)
        elif line and not line.startswith("# "):
            found[name].append(line.replace("\\n", "\n"))
    first = 0 if split == "test" else 1
    return {name: tuple(entries[first::2] if name in halved else entries) for name, entries in found.items()}


class Scribe:
    """Writes from one word list file (and the names common to all), for one split.

    Entries are dealt like cards from a shuffled deck: none comes twice before all have come once, nor twice in a row.
    """

    def __init__(self, file: str, split: Split, dice: Dice) -> None:
        self.dice = dice
        self.rules = {**rules(_RULES_FOR_ALL, split), **rules(file, split)}
        self._decks: dict[str, tuple[list[str], str]] = {}

    def use(self, **rules: str) -> None:
        """Let each keyword stand for the rule it names, from now on."""
        for name, rule in rules.items():
            self.rules[name] = self.rules[rule]
            self._decks.pop(name, None)

    def draw(self, rule: str) -> str:
        """The next entry of a rule, as it stands in the file."""
        deck, last = self._decks.get(rule, ([], ""))
        if not deck:
            deck = self.dice.shuffled(self.rules[rule])
            if deck[-1] == last:
                deck.reverse()
        entry = deck.pop()
        self._decks[rule] = (deck, entry)
        return entry

    def write(self, rule: str, **slots: str) -> str:
        """An entry of a rule, filled in. ``slots`` go before rules of the same name."""
        return self.fill(self.draw(rule), **slots)

    def fill(self, template: str, **slots: str) -> str:
        """A template, filled in."""
        chosen = 1
        while chosen:
            template, chosen = _CHOICE.subn(lambda match: self.dice.pick(match[1].split("|")), template)

        def filled(match: re.Match[str]) -> str:
            name = match[2]
            value = slots[name] if name in slots else self.write(name, **slots)
            return capital(value) if match[1] else value

        return _SLOT.sub(filled, template)


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
