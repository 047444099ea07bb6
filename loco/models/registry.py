"""Models by name, found through entry points.

- ``loco.adapters``: callables without arguments that return model cards.
- ``loco.resolvers``: callables that take a name without a card (a folder, a hub id) and the user's settings, and return
  a card for it, or None for a name that means nothing to them. The setting ``use = "reranker"`` asks for a reranker's.

A name may also be a call, ``fuse(...)`` or ``rerank(...)``, of other models: :mod:`loco.compose`.

Nothing heavy is imported before a model is loaded: a card carries its adapter's import path, not the adapter.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from loco.compose.card import ByPart, CompositeCard, Part, fused_card, reranked_card
from loco.compose.names import (
    Fuse,
    NamedPart,
    NamedReranker,
    Rerank,
    call_like,
    is_composition,
    parse_composition,
    parse_reranker,
)
from loco.encode.strategies import KINDS, Strategy, parse, split_names
from loco.errors import LocoError, one_line, unknown
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, Reranker, Retriever
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
# What a card's parameters say that stands for a call of other models.
_PRESET = "composition"

_LONGEST_NAME = 120
_LONGEST_STRATEGY = 200


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


def model_card(name: str, settings: Settings | None = None, rerank: str | None = None) -> ModelCard:
    """The card called ``name``, or one made for a hub id, a local folder, a class ``module:Class`` of the user's, or
    for a call ``fuse(...)`` or ``rerank(...)`` of others; with ``rerank``, ``MODEL@K``, that as a first stage.

    ``settings`` are what a user says of a model without a card: ``pooling``, ``query_prompt``, ``document_prompt``; and
    of a card whose model takes other weights: ``checkpoint``, or ``init`` and ``seed``.
    Raises LocoError for a name that nobody knows, with a suggestion, and for settings that a card states already.
    """
    settings = settings or {}
    if rerank is not None:
        return _reranked(Part(card=model_card(name, settings)), parse_reranker(rerank))
    if is_composition(name):
        if settings:
            raise LocoError(f"What '{name}' is made of says for itself how it is run: leave out {_options(settings)}.")
        return _composed(parse_composition(name))
    card = _known(name) or card_of_class(name)
    if card is not None and card.reranks:
        raise LocoError(
            f"'{name}' ranks nothing by itself, it reranks what another model has found. Write: --model bm25 "
            f"--rerank {name}@100"
        )
    if card is not None and _PRESET in card.parameters:
        if settings:
            raise LocoError(f"Model '{name}' says for itself how it is run: leave out {_options(settings)}.")
        return _composed(parse_composition(str(card.parameters[_PRESET])), card)
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
        raise call_like(name) or unknown("model", name, model_cards(), "loco models")
    return _named_apart(made, {} if weights else settings)


def shown_card(name: str, settings: Settings | None = None) -> ModelCard:
    """As :func:`model_card`, and a reranker's card too where it has one."""
    known = _known(name)
    return known if known is not None and known.reranks and not settings else model_card(name, settings)


def reranker_card(name: str) -> ModelCard:
    """The card of the reranker called ``name``, or one made for a hub id or a local folder.

    Raises LocoError for a name that nobody knows, with a suggestion, and for a model that is no reranker.
    """
    card = _known(name)
    if card is None and (made := _resolved(name, {"use": "reranker"})) is not None:
        card = _named_apart(made, {})
    if card is None:
        known = [card.name for card in model_cards().values() if card.reranks]
        raise unknown("reranker", name, known, "loco models, or name a cross-encoder's folder or hub id")
    if not card.reranks:
        raise LocoError(f"'{name}' is no reranker: it does not read a query and a document together. Name one that is.")
    return card


def settled(card: ModelCard) -> ModelCard:
    """A card whose revision says exactly what will be run: one that only says ``main`` gets today's commit.

    Raises LocoError where the hub cannot be asked and has not been before.
    """
    if isinstance(card, CompositeCard):
        return card.of([part.model_copy(update={"card": settled(part.card)}) for part in card.parts])
    hub = card.parameters.get("hub")
    if card.revision != LATEST or not isinstance(hub, str):
        return card
    made = _resolved(hub, {"use": "reranker"} if card.reranks else {})
    if made is None:
        raise LocoError(f"The plug-in of model '{card.name}' cannot say which commit of {hub} is meant. Mend it.")
    return ModelCard.model_validate(card.model_dump() | {"revision": made.revision})


def _known(name: str) -> ModelCard | None:
    """The card of that name, or of that hub id."""
    cards = model_cards()
    by_hub_id = {card.parameters["hub"]: card for card in cards.values() if "hub" in card.parameters}
    return cards.get(name) or by_hub_id.get(name)


def _composed(named: Fuse | Rerank, preset: ModelCard | None = None) -> CompositeCard:
    """The card of a model made of models; ``preset`` is the card that stands for it, if one does."""
    if isinstance(named, Rerank):
        return _reranked(_part(named.first), named.reranker, preset)
    return fused_card([_part(part) for part in named.parts], named.method)


def _reranked(first: Part, named: NamedReranker, preset: ModelCard | None = None) -> CompositeCard:
    reranker = reranker_card(named.model)
    return reranked_card(first, Part(card=reranker, strategy=_one(reranker, named.strategy)), named.depth, preset)


def _part(named: NamedPart) -> Part:
    card = model_card(named.model) if isinstance(named.model, str) else _composed(named.model)
    return Part(card=card, strategy=None if named.strategy is None else _one(card, named.strategy))


def _one(card: ModelCard, name: str | None) -> str:
    """The one strategy called ``name`` of a part, with all its settings where the part is a single model."""
    strategies = strategies_of(card, name)
    if len(strategies) > 1:
        raise LocoError(f"'{name}' names {len(strategies)} strategies, and '{card.name}' as a part takes one.")
    return strategies[0].name if name is None or not isinstance(card, CompositeCard) else name


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
    """The model behind a card, its adapter imported now. Raises LocoError where that cannot be as ``runtime`` says,
    and for a model made of models, which :func:`loco.compose.ranker.load_ranker` takes.
    """
    runtime = runtime or Runtime()
    model: Retriever | Encoder = _made(card, runtime)
    own = model.traits if isinstance(model, Encoder) else None
    _check_served(card, own.dtype if own else None, own.device if own else "cpu", runtime)
    return model


def load_part(card: ModelCard, runtime: Runtime) -> Retriever | Encoder:
    """As :func:`load_model`, as a part of another model: what has neither precision nor device to choose runs as ever,
    whatever the parts beside it are to run in.
    """
    model: Retriever | Encoder = _made(card, runtime)
    if isinstance(model, Encoder):
        _check_served(card, model.traits.dtype, model.traits.device, runtime)
    return model


def load_reranker(card: ModelCard, runtime: Runtime) -> Reranker:
    """The reranker behind a card, its adapter imported now. Raises LocoError where that cannot be as asked for."""
    model = _made(card, runtime)
    if not isinstance(model, Reranker):
        raise LocoError(f"The adapter of '{card.name}' ({card.factory}) makes no reranker. Mend the card.")
    _check_served(card, model.traits.dtype, model.traits.device, runtime)
    return model


def _made(card: ModelCard, runtime: Runtime) -> Any:
    module, _, attribute = card.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        line = f"The adapter of model '{card.name}' ({card.factory}) cannot be imported: {one_line(error)}."
        package = (getattr(error, "name", None) or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package in _EXTRA:
            line = f"Model '{card.name}' needs {package}: install with pip install 'loco-bench[transformers]'"
        raise LocoError(line) from error
    return factory(card, runtime)


def _check_served(card: ModelCard, dtype: str | None, device: str, runtime: Runtime) -> None:
    """Raise LocoError where a model runs in another precision or on another device than the user has asked for."""
    if runtime.dtype not in ("auto", dtype):
        raise LocoError(f"Model '{card.name}' does not run in {runtime.dtype}: leave out --dtype.")
    devices = {name.strip().partition(":")[0] for name in runtime.device.split(",")}
    if not devices <= {"auto", "all", device}:
        raise LocoError(f"Model '{card.name}' does not run on {runtime.device}: leave out --device.")


def strategies_of(card: ModelCard, names: str | Sequence[str] | None) -> list[Strategy]:
    """The strategies called ``names`` (a list, or one string with commas) where the model has them; its default for
    None; else a LocoError with a suggestion. One named twice counts once.

    Of a model made of models, a strategy is that of each part that has it and none of its own; the others keep theirs.
    """
    if isinstance(names, str):
        names = split_names(names)
    if isinstance(card, CompositeCard):
        found = [_by_part(card, name) for name in ([None] if names is None else names)]
        return _unless_none(card, {strategy.name: strategy for strategy in found}, [])
    if names is None:
        names = [card.strategies[0]]
    strategies: dict[str, Strategy] = {}
    for name in names:
        kind = name.partition("(")[0].strip()
        if kind in KINDS and kind not in card.strategies:
            raise LocoError(f"Model '{card.name}' cannot be run under {kind}. It has: {', '.join(card.strategies)}.")
        if kind not in card.strategies:
            raise unknown("strategy", kind, card.strategies, f"loco models show {card.name}")
        strategy = parse(name, card.max_tokens)
        strategies[strategy.name] = strategy
    return _unless_none(card, strategies, card.strategies)


def _unless_none(card: ModelCard, strategies: Mapping[str, Strategy], known: Sequence[str]) -> list[Strategy]:
    if not strategies:
        those = f" Those of '{card.name}': {', '.join(known)}." if known else " Leave --strategy out, or name one."
        raise LocoError(f"No strategy is named.{those}")
    return list(strategies.values())


def _by_part(card: CompositeCard, name: str | None) -> ByPart:
    """What a strategy, or none, is for each part. Raises LocoError where no part has it, or two are then the same."""
    kind = None if name is None else name.partition("(")[0].strip()
    if kind is not None and not _takes(card, kind):
        own = {one for leaf in card.leaves() if not leaf.reranks for one in leaf.strategies}
        if kind not in KINDS:
            raise unknown("strategy", kind, own, f"loco models show '{card.name}'")
        raise LocoError(
            f"No part of '{card.name}' is free to be run under {kind}. A part's own stands behind it, as in "
            f"'bm25: full' or --rerank 'MODEL@100: truncate'."
        )
    strategies = []
    for part in card.parts:
        names = part.strategy
        if names is None and name is not None and kind is not None and _takes(part.card, kind):
            names = name
        strategies.append(strategies_of(part.card, None if names is None else [names])[0])
    chosen = list(zip((part.card.identity for part in card.parts), strategies, strict=True))
    for place, (of, strategy) in enumerate(chosen):
        if (of, strategy) in chosen[:place]:
            raise LocoError(f"'{of.name}' would stand twice in '{card.name}' under {strategy.name}. Leave one out.")
    made = ByPart(tuple(strategies))
    if len(made.name) > _LONGEST_STRATEGY:
        raise LocoError(
            f"The strategies of '{card.name}' take {len(made.name)} characters to name, and results hold "
            f"{_LONGEST_STRATEGY}: combine fewer models."
        )
    return made


def _takes(card: ModelCard, kind: str) -> bool:
    """Whether a strategy of this kind is for the model, or for a part of it that keeps none of its own."""
    if isinstance(card, CompositeCard):
        return any(part.strategy is None and _takes(part.card, kind) for part in card.parts)
    return kind in card.strategies


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
