"""Texts to inputs that know how many vectors they will have: one for each token that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from loco.models.protocols import Input, Role, Span, TokenIds

from ..transformer.tokens import TokenizedText

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scoring:
    """Which tokens of an input count.

    A query of fewer than ``least`` tokens is expanded to so many with the token ``expansion``. These are not text, but
    they count; the others see them only if ``attend`` says so. ``mask`` is sentence-transformers' module that tells
    which tokens count: not those of its skip list.
    """

    mask: Any
    least: int
    expansion: int
    attend: bool

    def expanded(self, ids: TokenIds, role: Role) -> TokenIds:
        """The tokens the model is fed."""
        missing = self.least - len(ids) if role == "query" else 0
        return ids if missing <= 0 else np.concatenate([ids, np.full(missing, self.expansion, dtype=np.int32)])

    def counted(self, ids: TokenIds, role: Role) -> Mask:
        """Which of the tokens that the model is fed for an input of these ones become a vector."""
        whole = torch.from_numpy(self.expanded(ids, role).astype(np.int64))[None]
        real = torch.arange(whole.shape[1])[None] < len(ids)
        features = {"input_ids": whole, "attention_mask": real, "query_expansion_positions": ~real}
        counted: Mask = self.mask(features, task=role)["attention_mask"][0].numpy().astype(bool)
        return counted


@dataclass(frozen=True, eq=False)
class BagText:
    """The tokens of one text (:class:`loco.models.protocols.TokenizedText`)."""

    text: TokenizedText
    role: Role
    scoring: Scoring

    @property
    def tokens(self) -> int:
        """How many tokens the text has, at most the limit it was tokenised to."""
        return self.text.tokens

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """Tokens ``start`` to ``stop`` with the prompt and special tokens around them; expanded ones are counted."""
        ids = self.text.input(start, stop, spans).content
        if isinstance(ids, str):
            raise TypeError("a tokenizer made an input of text")
        counted = self.scoring.counted(ids, self.role)
        return Input(ids, len(counted), self.role, bag=int(counted.sum()))
