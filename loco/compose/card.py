"""The card of a model made of models: its name, revision and parameters hold all that decides its rankings."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from loco.compose.names import Method
from loco.encode.strategies import Room, Strategy
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import Input, TokenizedText
from loco.models.runtime import Runtime

# Raised whenever the same parts would be put together to another ranking.
VERSION = 1

_LONGEST_NAME = 200
_LONGEST_LICENCE = 200
_LONGEST_DESCRIPTION = 2000


@dataclass(frozen=True)
class ByPart(Strategy):
    """A strategy for each part of a model made of models: ``full + chunk(256, overlap=0)``, in the parts' order."""

    kind = "by part"
    pooled = True
    parts: tuple[Strategy, ...]

    @property
    def name(self) -> str:
        """The parts' own, those of a part with parts in parentheses."""
        return " + ".join(f"({one.name})" if isinstance(one, ByPart) else one.name for one in self.parts)

    def limit(self, room: Room) -> int | None:
        """Only the parts read texts."""
        raise TypeError("a model made of models reads no text by itself")

    def cut(self, text: TokenizedText, room: Room) -> list[Input]:
        """Only the parts read texts."""
        raise TypeError("a model made of models reads no text by itself")


class Part(BaseModel):
    """A model that others are made of; ``strategy`` is the one it keeps whatever the others do, None for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: SerializeAsAny[ModelCard]
    strategy: str | None = None


class CompositeCard(ModelCard, ABC):
    """A model made of models, ``parts``. Make one with :func:`fused_card` or :func:`reranked_card`."""

    parts: tuple[Part, ...]

    @property
    @abstractmethod
    def stages(self) -> tuple[Part, ...]:
        """The parts that rank by themselves."""

    @abstractmethod
    def of(self, parts: Sequence[Part]) -> CompositeCard:
        """The same of other parts, in their places."""

    def leaves(self) -> Iterator[ModelCard]:
        """The models that all of it comes down to, in order, one that stands in several places several times."""
        for part in self.parts:
            if isinstance(part.card, CompositeCard):
                yield from part.card.leaves()
            else:
                yield part.card


class FusedCard(CompositeCard):
    """Rankings of several models, fused."""

    method: Method

    @property
    def stages(self) -> tuple[Part, ...]:
        """All of them."""
        return self.parts

    def of(self, parts: Sequence[Part]) -> FusedCard:
        """The same of other parts."""
        return fused_card(parts, self.method)


class RerankedCard(CompositeCard):
    """A first stage and a reranker for the ``depth`` best of each query."""

    depth: int
    preset: SerializeAsAny[ModelCard] | None = None

    @property
    def stages(self) -> tuple[Part, ...]:
        """The first stage: a reranker alone ranks nothing."""
        return self.parts[:1]

    @property
    def reranker(self) -> Part:
        """What reranks."""
        return self.parts[1]

    def of(self, parts: Sequence[Part]) -> RerankedCard:
        """The same of other parts."""
        first, reranker = parts
        return reranked_card(first, reranker, self.depth, self.preset)


def fused_card(parts: Sequence[Part], method: Method) -> FusedCard:
    """The card of a fusion.

    Raises LocoError for the same part twice, for different ones of the same name, and for a name too long to be
    recorded.
    """
    said = [(_identity(part.card), part.strategy) for part in parts]
    for place, part in enumerate(parts):
        if said[place] in said[:place]:
            raise LocoError(
                f"'{part.card.name}' stands twice in a fusion, under the same strategy: leave one out, or give them "
                "weights instead."
            )
    how = "Reciprocal rank fusion" if method.k is not None else "Weighted mean of min-max scores"
    return FusedCard(
        **_common(f"fuse({', '.join(part.card.name for part in parts)}, {method.settings})", parts),
        family="fusion",
        description=f"{how} of {' and '.join(part.card.name for part in parts)}"[:_LONGEST_DESCRIPTION],
        parameters={
            "version": VERSION,
            "method": method.name,
            **({} if method.k is None else {"k": method.k}),
            **({"weights": ", ".join(map(repr, method.weights))} if method.weights else {}),
            **_said(parts, [f"part {place}" for place in range(1, len(parts) + 1)]),
        },
        parts=tuple(parts),
        method=method,
    )


def reranked_card(first: Part, reranker: Part, depth: int, preset: ModelCard | None = None) -> RerankedCard:
    """The card of a first stage whose ``depth`` best are reranked; ``preset`` is one that has a name for that.

    Raises LocoError for different parts of the same name, and for a name too long to be recorded.
    """
    name = f"rerank({first.card.name}, {reranker.card.name}@{depth})"
    common = _common(name if preset is None else preset.name, (first, reranker))
    description = f"The {depth} best of {first.card.name}, reranked by {reranker.card.name}"[:_LONGEST_DESCRIPTION]
    return RerankedCard(
        **(common if preset is None else common | {"url": preset.url}),
        family="reranking",
        description=description if preset is None else preset.description,
        parameters={
            "version": VERSION,
            "depth": depth,
            **_said((first, reranker), ["first stage", "reranker"]),
        },
        parts=(first, reranker),
        depth=depth,
        preset=preset,
    )


def no_vectors(card: ModelCard, runtime: Runtime) -> None:
    """What the loading of a single model comes to: a LocoError, for whoever needs one model's vectors."""
    names = [part.card.name for part in card.parts] if isinstance(card, CompositeCard) else []
    raise LocoError(
        f"'{card.name}' is made of several models and has no vectors of its own. Name one of its parts: "
        f"{', '.join(names)}."
    )


def _stages_within(parts: Sequence[Part]) -> Iterator[ModelCard]:
    """The models of some parts that have results of their own, and those that these are made of."""
    for part in parts:
        if not part.card.reranks:
            yield part.card
        if isinstance(part.card, CompositeCard):
            yield from _stages_within(part.card.parts)


def _check_names(parts: Sequence[Part]) -> None:
    """Raise LocoError for different models of the same name: their results would stand in the same place."""
    known: dict[str, str] = {}
    for card in _stages_within(parts):
        if known.setdefault(card.name, _identity(card)) != _identity(card):
            raise LocoError(
                f"Two different models are called '{card.name}', and results would not tell them apart: give one of "
                "their folders another name."
            )


def _common(name: str, parts: Sequence[Part]) -> dict[str, Any]:
    """The fields that a composite has of its parts, whatever is made of them."""
    _check_names(parts)
    if len(name) > _LONGEST_NAME:
        raise LocoError(
            f"'{name[:60]}...' is a name of {len(name)} characters, and results hold {_LONGEST_NAME}: combine fewer "
            "models, or give their folders shorter names."
        )
    leaves = {_identity(part.card): part.card for part in parts}
    for card in [card for card in leaves.values() if isinstance(card, CompositeCard)]:
        del leaves[_identity(card)]
        leaves |= {_identity(leaf): leaf for leaf in card.leaves()}
    cards = list(leaves.values())
    licence = "; ".join(dict.fromkeys(card.licence or "not stated" for card in cards))
    trained = {card.trained_on_loco for card in cards}
    parts_hash = hashlib.sha256("".join(_identity(part.card) for part in parts).encode()).hexdigest()
    return {
        "name": name,
        "revision": f"sha256:{parts_hash[:16]}",
        "licence": licence if len(licence) <= _LONGEST_LICENCE else "those of its parts",
        "url": "",
        "trained_on_loco": True if True in trained else None if None in trained else False,
        "untrained": any(card.untrained for card in cards),
        "weights": _weights(cards),
        "factory": f"{__name__}:{no_vectors.__name__}",
        "strategies": ("by part",),
    }


def _weights(cards: Sequence[ModelCard]) -> int | None:
    """How many weights models have together; None where one has some and does not say how many."""
    if any(card.weights is None and (card.service or card.checkpoint or "hub" in card.parameters) for card in cards):
        return None
    return sum(card.weights or 0 for card in cards) or None


def _identity(card: ModelCard) -> str:
    """All that decides what a card's model computes, beside its strategy."""
    decisive = card.identity.model_dump(include={"name", "revision", "parameters", "max_tokens"})
    return json.dumps(decisive, sort_keys=True)


def _said(parts: Sequence[Part], names: Sequence[str]) -> dict[str, int | str]:
    """What the parameters of a composite say of its parts."""
    said: dict[str, int | str] = {}
    for name, part in zip(names, parts, strict=True):
        card = part.card
        said[name] = card.name
        said[f"{name} revision"] = card.revision
        if card.max_tokens is not None:
            said[f"{name} max_tokens"] = card.max_tokens
        if card.parameters and not isinstance(card, CompositeCard):
            said[f"{name} parameters"] = json.dumps(card.parameters, sort_keys=True)
    return said
