"""A card for a cross-encoder that has none: in a folder, or on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from loco.errors import LocoError
from loco.models.card import ModelCard

from ..transformer.checkpoint import hub_configs, local_configs, local_contents
from ..transformer.configs import Configs
from ..transformer.hub import commit_of
from .configs import read_configs

FACTORY = "loco_adapters.cross_encoder.model:cross_encoder"
STRATEGIES = ("chunk-max", "truncate")

_PATH = ("./", "../", "/", "~")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_PREFIX = 16  # hexadecimal digits of a checksum that are recorded


def resolve_reranker(name: str) -> ModelCard | None:
    """The card of the cross-encoder in the folder ``name``, or of the one that the hub calls ``name`` (owner/name).

    None for a name that is neither. Raises LocoError where there is no such checkpoint, or one that cannot be run.
    """
    if name.startswith(_PATH) or _is_folder(name):
        configs = local_configs(name, read_configs)
        revision = f"sha256:{local_contents(configs)[:_PREFIX]}"
        return _card(configs.folder.name, name, "local cross-encoder", "", revision, configs)
    if _HUB_ID.fullmatch(name):
        commit = commit_of(name)
        configs, _ = hub_configs(name, commit, read_configs)
        return _card(name, None, "cross-encoder from the hub", f"https://huggingface.co/{name}", commit, configs)
    return None


def _card(name: str, checkpoint: str | None, description: str, url: str, revision: str, configs: Configs) -> ModelCard:
    if configs.max_tokens is None:
        raise LocoError(
            f"{configs.name} does not say how long its inputs may be: set max_position_embeddings in its config.json."
        )
    try:
        return ModelCard(
            name=name,
            family="cross-encoder",
            revision=revision,
            description=description,
            licence="",
            url=url,
            trained_on_loco=False,
            max_tokens=configs.max_tokens,
            parameters={"hub": name} if checkpoint is None else {},
            checkpoint=checkpoint,
            factory=FACTORY,
            strategies=STRATEGIES,
            reranks=True,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise LocoError(f"{configs.name!r} makes no card ({first['loc'][0]}: {first['msg']}). Rename it.") from error


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_dir()
    except OSError:  # no name a file can have
        return False
