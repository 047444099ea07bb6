"""Cards for models that have none, and for known ones with other weights (the entry point ``loco.resolvers``)."""

from __future__ import annotations

from collections.abc import Mapping

from loco.errors import LocoError
from loco.models.card import ModelCard

from . import model_cards
from .api.compatible import PREFIX, compatible_card

_WEIGHTS = ("checkpoint", "init", "seed")


def resolve(name: str, settings: Mapping[str, str]) -> ModelCard | None:
    """The card of a checkpoint's folder, a model on the hub or at an address, or of a known M2-BERT with weights that
    ``settings`` say; a reranker's where they say ``use = "reranker"``.

    None for a name that is nothing of the kind. Raises LocoError where there is no such checkpoint, or one that cannot
    be run, and for settings that do not go with it.
    """
    if settings == {"use": "reranker"}:
        from .cross_encoder.resolve import resolve_reranker

        return resolve_reranker(name)
    if name.startswith(PREFIX) and not settings:
        return compatible_card(name)
    if not settings.keys().isdisjoint(_WEIGHTS):
        return _with_weights(name, settings)
    from .transformer.resolve import resolve as checkpoint_card

    return checkpoint_card(name, settings)


def _with_weights(name: str, settings: Mapping[str, str]) -> ModelCard | None:
    families = {card.name: card for card in model_cards() if card.family == "m2bert"}
    if name not in families:
        return None
    others = settings.keys() - set(_WEIGHTS)
    if others:
        options = ", ".join(sorted("--" + setting.replace("_", "-") for setting in others))
        raise LocoError(f"Model '{name}' pools by itself and takes no prompts: leave out {options}.")
    from .m2bert.resolve import with_weights

    return with_weights(families[name], *(settings.get(setting) for setting in _WEIGHTS))
