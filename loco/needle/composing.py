"""Haystacks to token ids without tokenising a passage at every position anew: exactly the ids of the whole text.

The ids of a document are put together from those of its passages. That this gives what the tokenizer makes of the whole
text is not taken for granted: for every query, all pairs of passages that can stand side by side, and the gold passage
at the beginning and at the end, are tokenised once in two long texts and compared. Where they differ, the documents of
that query are tokenised whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from loco.models.protocols import Encoder, Input, Role, Span, TokenIds, TokenizedText

_ROLE: Role = "document"
_PROBE = "one two three four"
_LEAD = "end."  # what stands before a passage while it is tokenised by itself


@dataclass(frozen=True, eq=False)
class ComposedText:
    """The tokens of a document as they stand between ``front`` (``prefix`` further on in the text) and ``suffix``."""

    ids: TokenIds
    front: TokenIds
    prefix: TokenIds
    suffix: TokenIds

    @property
    def tokens(self) -> int:
        """How many tokens the text has, at most the limit it was composed to."""
        return len(self.ids)

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """Tokens ``start`` to ``stop`` with the prompt and special tokens around them, as the protocol has it."""
        before = self.prefix if start else self.front
        content = np.concatenate((before, self.ids[start:stop], self.suffix), dtype=np.int32)
        own = [(first - start + len(before), last - start + len(before)) for first, last in spans]
        if own:
            own[0] = (0, own[0][1])
            own[-1] = (own[-1][0], len(content))
        return Input(content, len(content), _ROLE, tuple(own))


class Composer:
    """Puts documents together for one encoder. ``works`` is False for one whose inputs are texts or cannot be taken
    apart: nothing can be composed for it then.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        frame = _frame(encoder)
        self.works = frame is not None
        if frame is not None:
            self._prefix, self._suffix = frame
        self._inner: dict[str, TokenIds] = {}
        self._first: dict[str, tuple[TokenIds, TokenIds]] = {}

    def composed(self, passages: Sequence[str], limit: int | None = None) -> ComposedText:
        """The text of the passages joined by blanks, its tokens as far as ``limit``."""
        self._read(passages)
        front, opening = self._first[passages[0]]
        ids = np.concatenate([opening, *(self._inner[passage] for passage in passages[1:])], dtype=np.int32)
        return ComposedText(ids if limit is None else ids[:limit], front, self._prefix, self._suffix)

    def is_exact(self, gold: str, hay: Sequence[str]) -> bool:
        """Whether composing gives the tokenizer's own ids wherever ``gold`` stands among the passages ``hay``."""
        everywhere = [gold, *chain.from_iterable((passage, gold) for passage in hay)]
        texts = [passages for passages in (everywhere, list(hay)) if passages]
        whole = self._encoder.tokenize([" ".join(passages) for passages in texts], _ROLE)
        return all(_same(text, self.composed(passages)) for text, passages in zip(whole, texts, strict=True))

    def _read(self, passages: Sequence[str]) -> None:
        """Tokenise what has not been."""
        if passages[0] not in self._first:
            text = self._encoder.tokenize([passages[0]], _ROLE)[0]
            self._first[passages[0]] = self._taken_apart(text)
        missing = [passage for passage in dict.fromkeys(passages[1:]) if passage not in self._inner]
        if missing:
            lead, *texts = self._encoder.tokenize([_LEAD, *(f"{_LEAD} {passage}" for passage in missing)], _ROLE)
            for passage, text in zip(missing, texts, strict=True):
                self._inner[passage] = self._taken_apart(text)[1][lead.tokens :].copy()

    def _taken_apart(self, text: TokenizedText) -> tuple[TokenIds, TokenIds]:
        """What stands before a text's own tokens at its beginning, and these."""
        content = _ids(text.input(0, text.tokens))
        stop = len(content) - len(self._suffix)
        start = stop - text.tokens
        return content[:start], content[start:stop]


def _frame(encoder: Encoder) -> tuple[TokenIds, TokenIds] | None:
    """What stands before and after the tokens of an input that does not begin a text: what two of them share."""
    if encoder.traits.token_vectors:  # which of its tokens count, and become vectors, is for the encoder to say
        return None
    text = encoder.tokenize([_PROBE], _ROLE)[0]
    if text.tokens < 3:
        return None
    one, other = text.input(1, 2).content, text.input(2, 3).content
    if isinstance(one, str) or isinstance(other, str) or len(one) != len(other):
        return None
    differing = np.flatnonzero(one != other)
    if len(differing) != 1 or len(one) != encoder.overhead(_ROLE) + 1:
        return None
    place = int(differing[0])
    return one[:place], one[place + 1 :]


def _same(whole: TokenizedText, composed: ComposedText) -> bool:
    if whole.tokens != composed.tokens:
        return False
    ours, theirs = composed.input(0, composed.tokens), whole.input(0, whole.tokens)
    return bool(np.array_equal(_ids(ours), _ids(theirs)))


def _ids(one: Input) -> TokenIds:
    if isinstance(one.content, str):
        raise TypeError("an encoder of token ids made an input of text")
    return one.content


def joined(passages: Iterable[str]) -> str:
    """The text of a document: its passages with a blank between them."""
    return " ".join(passages)
