"""Models: their list, a card."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.markup import escape

from loco.encode.strategies import parse
from loco.models.card import ModelCard
from loco.report.tables import console, show, table


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
        if field in ("parameters", "service"):
            continue
        if field == "strategies":
            value = ", ".join(parse(name, card.max_tokens).name for name in value)
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
