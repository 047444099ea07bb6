"""A text of exactly so many tokens, the same one each time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loco.errors import LocoError
from loco.models.protocols import Encoder, Role

# Common words, a single token in most vocabularies of English; 64 of them, so that a draw needs no rounding.
_WORDS = (
    "about after again against animal answer before better between book build change children city close "
    "country different door early earth every family father field follow found great group hand head high "
    "house important large later learn letter light little long mother mountain never night number often order "
    "other paper people place plant point river school second should small start story under water white world"
)

# What fills the gap where words are of several tokens: the ends of a text, tried in this order.
_ENDS = (" the", " a", "a", ".", ",", "-", "1", " ")


@dataclass(frozen=True)
class SpeedText:
    """A text, and how many tokens it has of its own."""

    text: str
    tokens: int


def text_to_read(encoder: Encoder, tokens: int, role: Role) -> SpeedText:
    """The text that a model reads as ``tokens`` tokens in pieces as large as its window ``max_tokens``, prompt and
    special tokens of each piece counted: so many windows full, and the rest.

    A rest that has no room for text is left out. Raises LocoError where there is nothing else, and for a model without
    a window.
    """
    window, around = encoder.traits.max_tokens, encoder.overhead(role)
    if window is None:
        raise LocoError(
            f"Model '{encoder.card.name}' tokenises where loco cannot see it, so no text of so many tokens can be made "
            "for it. Give it max_tokens and a tokenizer; see docs/models.md."
        )
    full, rest = divmod(tokens, window)
    own = max(rest - around, 0)
    if own:
        (piece,) = encoder.tokenize([text_of(encoder, own, role)], role)
        own = max(own + rest - piece.input(0, own).tokens, 0)  # some have fewer special tokens in a full window
    own += full * (window - around)
    if not own:
        raise LocoError(
            f"A text of {tokens} tokens has no room for text with '{encoder.card.name}': prompt and special tokens are "
            "counted. Choose longer ones with --tokens."
        )
    return SpeedText(text_of(encoder, own, role), own)


def text_of(encoder: Encoder, tokens: int, role: Role) -> str:
    """English words drawn at random, the same on every machine, ``tokens`` tokens of the encoder's tokenizer in all.

    Prompt and special tokens are not among them. Raises LocoError for a tokenizer under which none is found.
    """

    def count(text: str) -> int:
        return encoder.tokenize([text], role)[0].tokens

    words = _words(tokens)
    text = " ".join(words)
    found = count(text)
    if found > tokens:
        text = _longest_beginning(words, tokens, encoder, role)
        found = count(text)
    while found < tokens:
        longer = ((text + end, count(text + end)) for end in _ENDS)
        following = next(((more, size) for more, size in longer if found < size <= tokens), None)
        if following is None:
            raise LocoError(
                f"No text of exactly {tokens:,} tokens was found for the tokenizer of '{encoder.card.name}': "
                "choose another length with --tokens."
            )
        text, found = following
    return text


def _words(count: int) -> list[str]:
    """That many words; fewer are their beginning. The raw stream of PCG64 is one that NumPy keeps stable."""
    vocabulary = _WORDS.split()
    draws = np.random.PCG64(0).random_raw(count) % np.uint64(len(vocabulary))
    return [vocabulary[draw] for draw in draws.tolist()]


def _longest_beginning(words: list[str], tokens: int, encoder: Encoder, role: Role) -> str:
    """The longest beginning of the words of at most ``tokens`` tokens, where all of them have more."""
    fits, too_long = 0, len(words)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        found = encoder.tokenize([" ".join(words[:middle])], role, tokens + 1)[0].tokens
        fits, too_long = (middle, too_long) if found <= tokens else (fits, middle)
    return " ".join(words[:fits])
