"""A card for a model that has none: a checkpoint in a folder, or any model of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from loco.encode.forms import ANY_LENGTH
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.training.card import described, training_card

from .checkpoint import hub_configs, local_configs, local_contents
from .configs import Configs
from .hub import commit_of
from .settings import PoolingMode, parameters_of

_FACTORY = "loco_adapters.transformer.model:transformer_encoder"
_SETTINGS = ("pooling", "query_prompt", "document_prompt")
_PATH = ("./", "../", "/", "~")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_PREFIX = 16  # hexadecimal digits of a checksum that are recorded


def resolve(name: str, settings: Mapping[str, str]) -> ModelCard | None:
    """The card of the checkpoint in the folder ``name``, or of the model that the hub calls ``name`` (owner/name).

    Window, pooling, prompts and similarity are the checkpoint's own. ``settings`` may hold ``query_prompt`` and
    ``document_prompt``, which go before those, and ``pooling`` for a checkpoint that says nothing about it. None for a
    name that is neither. Raises LocoError where there is no such checkpoint, or one that cannot be run.
    """
    strange = set(settings) - set(_SETTINGS)
    if strange:
        raise LocoError(f"No setting '{min(strange)}'. There are: {', '.join(_SETTINGS)}.")
    if name.startswith(_PATH) or _is_folder(name):
        configs = local_configs(name)
        revision = f"sha256:{local_contents(configs)[:_PREFIX]}"
        if _is_m2bert(configs):
            return _m2bert(configs, name, revision, (), settings)
        if configs.late:
            return _late(configs.folder.name, name, revision, configs, settings)
        return _card(configs.folder.name, name, "local checkpoint", "", revision, configs, settings)
    if _HUB_ID.fullmatch(name):
        commit = commit_of(name)
        configs, published = hub_configs(name, commit)
        if _is_m2bert(configs):
            return _m2bert(configs, None, commit, published, settings)
        if configs.late:
            return _late(name, None, commit, configs, settings)
        return _card(name, None, "from the hub", f"https://huggingface.co/{name}", commit, configs, settings)
    return None


def _is_m2bert(configs: Configs) -> bool:
    """Whether it is one for the adapter of that family; older ones on the hub call themselves bert."""
    said = configs.transformer
    return said.get("model_type") == "m2_bert" or "monarch_mixer_sequence_mixing" in said


def _m2bert(
    configs: Configs, checkpoint: str | None, revision: str, published: Sequence[str], settings: Mapping[str, str]
) -> ModelCard:
    from ..m2bert.resolve import card_of

    return card_of(configs, checkpoint, revision, published, settings)


def _late(name: str, checkpoint: str | None, revision: str, configs: Configs, settings: Mapping[str, str]) -> ModelCard:
    from ..late_interaction.resolve import card_of

    return card_of(name, checkpoint, revision, configs, settings)


def _card(
    name: str,
    checkpoint: str | None,
    description: str,
    url: str,
    revision: str,
    configs: Configs,
    settings: Mapping[str, str],
) -> ModelCard:
    max_tokens = configs.max_tokens
    if max_tokens is None:
        raise LocoError(
            f"{configs.name} does not say how long its inputs may be: set max_position_embeddings in its config.json."
        )
    pooling: str | None = configs.pooling
    if not configs.plain and "pooling" in settings:
        raise LocoError(f"{configs.name} says itself how it pools: leave out --pooling.")
    if configs.plain:
        pooling = settings.get("pooling")
        if pooling not in get_args(PoolingMode):
            raise LocoError(f"{configs.name} says nothing about pooling: pass --pooling cls, mean or last.")
    query, document = configs.prompts()
    trained = training_card(configs.folder)
    parameters: dict[str, bool | int | float | str] = {
        **({"hub": name} if checkpoint is None else {}),
        **({"pooling": pooling} if pooling else {}),
        "normalise": configs.normalised,
        "query_prompt": settings.get("query_prompt", query),
        "document_prompt": settings.get("document_prompt", document),
        "similarity": configs.similarity,
        "matryoshka": ANY_LENGTH,
    }
    try:
        card = ModelCard(
            name=name,
            family="transformer",
            revision=revision,
            description=description + described(trained),
            licence="",
            url=url,
            trained_on_loco=trained is not None and trained.trained_on_loco,
            max_tokens=max_tokens,
            parameters=parameters,
            checkpoint=checkpoint,
            factory=_FACTORY,
            strategies=("truncate", "chunk", "chunk-max", *(("late-chunk",) if pooling == "mean" else ())),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise LocoError(f"{configs.name!r} makes no card ({first['loc'][0]}: {first['msg']}). Rename it.") from error
    parameters_of(card)
    return card


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_dir()
    except OSError:  # no name a file can have
        return False
