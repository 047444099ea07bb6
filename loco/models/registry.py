"""Models by name, found through entry points.

- ``loco.adapters``: callables without arguments that return model cards.
- ``loco.resolvers``: callables that take a name without a card (a folder, a hub id) and the user's settings, and return
  a card for it, or None for a name that means nothing to them.

Nothing heavy is imported before a model is loaded: a card carries its adapter's import path, not the adapter.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from loco.encode.strategies import KINDS, Strategy, parse, split_names
from loco.errors import LocoError, one_line, unknown
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, Retriever
from loco.models.runtime import Runtime
from loco.models.text_encoder import card_of_class

ADAPTERS = "loco.adapters"
RESOLVERS = "loco.resolvers"

_EXTRA = ("torch", "transformers", "sentence_transformers")  # what loco-bench[transformers] installs

Settings = Mapping[str, str]
# Settings that put other weights into a known model.
WEIGHTS = frozenset({"checkpoint", "init", "seed"})
# The revision of a card whose commit is not known: the newest, looked up when it is used, and recorded.
LATEST = "main"

_LONGEST_NAME = 120


@cache
def model_cards() -> dict[str, ModelCard]:
    """Every installed model's card, by name."""
    cards: dict[str, ModelCard] = {}
    for plug_in, offer in _offers(ADAPTERS):
        try:
            offered = [ModelCard.model_validate(card) for card in offer()]
        except Exception as error:
            raise _broken(plug_in, error) from error
        for card in offered:
            if card.name in cards:
                raise LocoError(f"The plug-in {plug_in} offers a model '{card.name}', a name already taken.")
            cards[card.name] = card
    return cards


def model_card(name: str, settings: Settings | None = None) -> ModelCard:
    """The card called ``name``, or one made for a hub id, a local folder, or a class ``module:Class`` of the user's.

    ``settings`` are what a user says of a model without a card: ``pooling``, ``query_prompt``, ``document_prompt``; and
    of a card whose model takes other weights: ``checkpoint``, or ``init`` and ``seed``.
    Raises LocoError for a name that nobody knows, with a suggestion, and for settings that a card states already.
    """
    cards = model_cards()
    settings = settings or {}
    by_hub_id = {card.parameters["hub"]: card for card in cards.values() if "hub" in card.parameters}
    card = cards.get(name) or by_hub_id.get(name) or card_of_class(name)
    weights = settings.keys() & WEIGHTS
    if card is not None and not weights:
        if settings:
            raise LocoError(f"Model '{card.name}' states its own pooling and prompts: leave out {_options(settings)}.")
        return card
    made = _resolved(name if card is None else card.name, settings)
    if made is None and card is None and weights:  # a model that is what its folder or its page says?
        card = _resolved(name, {said: value for said, value in settings.items() if said not in WEIGHTS})
    if made is None and card is not None:
        raise LocoError(f"Model '{card.name}' takes no other weights than its own: leave out {_options(weights)}.")
    if made is None:
        raise unknown("model", name, cards, "loco models")
    return _named_apart(made, {} if weights else settings)


def settled(card: ModelCard) -> ModelCard:
    """A card whose revision says exactly what will be run: one that only says ``main`` gets today's commit.

    Raises LocoError where the hub cannot be asked and has not been before.
    """
    hub = card.parameters.get("hub")
    if card.revision != LATEST or not isinstance(hub, str):
        return card
    made = _resolved(hub, {})
    if made is None:
        raise LocoError(f"The plug-in of model '{card.name}' cannot say which commit of {hub} is meant. Mend it.")
    return ModelCard.model_validate(card.model_dump() | {"revision": made.revision})


def _resolved(name: str, settings: Settings) -> ModelCard | None:
    """The card that some plug-in makes for a name, if any does."""
    for plug_in, resolve in _offers(RESOLVERS):
        try:
            made = resolve(name, dict(settings))
            if made is not None:
                return ModelCard.model_validate(made)
        except LocoError:
            raise
        except Exception as error:
            raise _broken(plug_in, error) from error
    return None


def _options(settings: Iterable[str]) -> str:
    return ", ".join("--" + setting.replace("_", "-") for setting in sorted(settings))


def _named_apart(card: ModelCard, settings: Settings) -> ModelCard:
    """A card whose name tells what the user has set, so that its results lie beside those of other settings."""
    if card.name in model_cards():
        raise LocoError(f"'{card.name}' is the name of a known model, and this is a folder. Rename the folder.")
    if not settings:
        return card
    said = ", ".join(f"{setting}={value!r}" for setting, value in sorted(settings.items()))
    if len(said) > _LONGEST_NAME:
        said = f"settings {hashlib.sha256(said.encode()).hexdigest()[:16]}"
    return ModelCard.model_validate(card.model_dump() | {"name": f"{card.name} ({said})"})


def load_model(card: ModelCard, runtime: Runtime | None = None) -> Retriever | Encoder:
    """The model behind a card, its adapter imported now. Raises LocoError where that cannot be as ``runtime`` says."""
    module, _, attribute = card.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        line = f"The adapter of model '{card.name}' ({card.factory}) cannot be imported: {one_line(error)}."
        package = (getattr(error, "name", None) or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package in _EXTRA:
            line = f"Model '{card.name}' needs {package}: install with pip install 'loco-bench[transformers]'"
        raise LocoError(line) from error
    runtime = runtime or Runtime()
    model: Retriever | Encoder = factory(card, runtime)
    _check_served(model, runtime)
    return model


def _check_served(model: Retriever | Encoder, runtime: Runtime) -> None:
    """Raise LocoError where a model runs in another precision or on another device than the user has asked for."""
    own = model.traits if isinstance(model, Encoder) else None
    if runtime.dtype not in ("auto", own.dtype if own else None):
        raise LocoError(f"Model '{model.card.name}' does not run in {runtime.dtype}: leave out --dtype.")
    devices = {name.strip().partition(":")[0] for name in runtime.device.split(",")}
    if not devices <= {"auto", "all", own.device if own else "cpu"}:
        raise LocoError(f"Model '{model.card.name}' does not run on {runtime.device}: leave out --device.")


def strategies_of(card: ModelCard, names: str | Sequence[str] | None) -> list[Strategy]:
    """The strategies called ``names`` (a list, or one string with commas) where the model has them; its default for
    None; else a LocoError with a suggestion. One named twice counts once.
    """
    if names is None:
        names = [card.strategies[0]]
    elif isinstance(names, str):
        names = split_names(names)
    strategies: dict[str, Strategy] = {}
    for name in names:
        kind = name.partition("(")[0].strip()
        if kind in KINDS and kind not in card.strategies:
            raise LocoError(f"Model '{card.name}' cannot be run under {kind}. It has: {', '.join(card.strategies)}.")
        if kind not in card.strategies:
            raise unknown("strategy", kind, card.strategies, f"loco models show {card.name}")
        strategy = parse(name, card.max_tokens)
        strategies[strategy.name] = strategy
    if not strategies:
        raise LocoError(f"No strategy is named. Those of '{card.name}': {', '.join(card.strategies)}.")
    return list(strategies.values())


def _offers(group: str) -> Iterator[tuple[str, Any]]:
    """What plug-ins register in a group, our own first: each with its name for errors."""
    for point in sorted(entry_points(group=group), key=lambda point: (point.name != "loco", point.name)):
        plug_in = f"'{point.name}' ({point.value})"
        try:
            yield plug_in, point.load()
        except Exception as error:
            raise _broken(plug_in, error) from error


def _broken(plug_in: str, error: Exception) -> LocoError:
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return LocoError(f"The plug-in {plug_in} is broken: {what}. Repair or remove it.")
