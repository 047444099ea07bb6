"""The models loco knows: one file or folder a family, and ``cards.toml`` files as the list of them."""

from __future__ import annotations

from pathlib import Path

from loco.models.card import ModelCard, read_model_cards


def model_cards() -> list[ModelCard]:
    """The cards of all models in this package (the entry point ``loco.adapters``)."""
    here = Path(__file__).parent
    lists = (here / "cards.toml", here / "api" / "cards.toml", here / "cross_encoder" / "cards.toml")
    return [card for cards in lists for card in read_model_cards(cards)]
