"""Models: their list, a card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from rich.markup import escape

from loco.compose.card import CompositeCard
from loco.encode.strategies import Strategy, parse
from loco.models.card import ModelCard
from loco.models.registry import strategies_of
from loco.report.tables import console, show, table

# Fields that are not a line of their own; "preset" and "method" stand in a composite's parameters.
_BELOW = ("parameters", "service", "parts", "method", "preset", "depth")


def print_models(cards: Iterable[ModelCard]) -> None:
    """The models that can be evaluated."""
    rows = table("Model", "Family", "Strategies", "What it is")
    for card in cards:
        rows.add_row(*map(escape, (card.name, card.family, ", ".join(card.strategies), card.description)))
    show(rows)


def print_model(card: ModelCard) -> None:
    """One model's card; what it does not say is left out."""
    out = console()
    for field, value in card.model_dump().items():
        if field in _BELOW or (field == "reranks" and not value):
            continue
        if field == "strategies":
            value = ", ".join(strategy.name for strategy in _strategies(card))
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, int):
            value = f"{value:,}"
        if value is not None:
            out.print(f"{field.replace('_', ' '):16}{escape(str(value))}", soft_wrap=True)
    service = {} if card.service is None else card.service.model_dump(mode="json", exclude_none=True)
    price = service.pop("price", {})
    for name, setting in (card.parameters | service | {f"price {name}": said for name, said in price.items()}).items():
        shown = json.dumps(setting, ensure_ascii=False) if isinstance(setting, str) else str(setting).lower()
        out.print(f"{'':16}{escape(f'{name} = {shown}')}", soft_wrap=True)


def _strategies(card: ModelCard) -> Sequence[Strategy]:
    """Those the model has; of one made of models its default."""
    if isinstance(card, CompositeCard):
        return strategies_of(card, None)
    return [parse(name, card.max_tokens) for name in card.strategies]
