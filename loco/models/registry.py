"""Models by name, found through the entry-point group ``loco.adapters``.

An entry point names a callable without arguments that returns model cards. Nothing heavy is imported before a model
is loaded: a card carries its adapter's import path, not the adapter.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points

from loco.errors import LocoError, unknown
from loco.models.card import ModelCard
from loco.models.protocols import Retriever

GROUP = "loco.adapters"


@cache
def model_cards() -> dict[str, ModelCard]:
    """Every installed model's card, by name."""
    cards: dict[str, ModelCard] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name != "loco", point.name)):
        try:
            offered = [ModelCard.model_validate(card) for card in point.load()()]
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            where = f"The plug-in '{point.name}' ({point.value})"
            raise LocoError(f"{where} is broken: {what}. Repair or remove it.") from error
        for card in offered:
            if card.name in cards:
                raise LocoError(f"The plug-in '{point.name}' offers a model '{card.name}', a name already taken.")
            cards[card.name] = card
    return cards


def model_card(name: str) -> ModelCard:
    """The card called ``name``; a name nobody offers is a LocoError with a suggestion."""
    cards = model_cards()
    if name not in cards:
        raise unknown("model", name, cards, "loco models")
    return cards[name]


def load_model(card: ModelCard) -> Retriever:
    """The model behind a card, its adapter imported now."""
    module, _, attribute = card.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LocoError(f"The adapter of model '{card.name}' ({card.factory}) cannot be imported: {error}.") from error
    model: Retriever = factory(card)
    return model


def strategy_of(card: ModelCard, name: str | None) -> str:
    """The strategy called ``name`` where the model has it, its default for None, else a LocoError with a suggestion."""
    if name is None:
        return card.strategies[0]
    if name not in card.strategies:
        raise unknown("strategy", name, card.strategies, f"loco models show {card.name}")
    return name
