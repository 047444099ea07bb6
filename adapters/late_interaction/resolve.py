"""A card for a checkpoint of late interaction that has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from loco.errors import LocoError
from loco.models.card import ModelCard

from ..transformer.configs import METADATA, Configs

_FACTORY = "loco_adapters.late_interaction.model:late_encoder"
_EXPANDED = 32  # tokens of an expanded query where nothing is said: ColBERT's own default
# What PyLate notes of a model beside what every model of sentence-transformers has.
_PYLATE = (
    "query_length",
    "document_length",
    "do_query_expansion",
    "attend_to_expansion_tokens",
    "attend_to_mask_tokens",
    "query_prefix",
    "document_prefix",
    "skiplist_words",
)


def card_of(
    name: str, checkpoint: str | None, revision: str, configs: Configs, settings: Mapping[str, str]
) -> ModelCard:
    """The card of a checkpoint in a folder, or, for ``checkpoint`` None, of the hub's model ``name``.

    Windows are the checkpoint's own. Raises LocoError for settings, of which it takes none, and for a checkpoint that
    does not say how long its inputs may be.
    """
    if settings:
        options = ", ".join(sorted("--" + setting.replace("_", "-") for setting in settings))
        raise LocoError(f"{configs.name} has a vector for each token and prompts of its own: leave out {options}.")
    document, query = windows(configs)
    try:
        return ModelCard(
            name=name,
            family="late interaction",
            revision=revision,
            description="local checkpoint" if checkpoint is not None else "from the hub",
            licence="",
            url="" if checkpoint is not None else f"https://huggingface.co/{name}",
            trained_on_loco=False,
            max_tokens=max(document, query),
            parameters={
                **({"hub": name} if checkpoint is None else {}),
                "query_tokens": query,
                "document_tokens": document,
            },
            checkpoint=checkpoint,
            factory=_FACTORY,
            strategies=("truncate", "chunk"),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise LocoError(f"{configs.name!r} makes no card ({first['loc'][0]}: {first['msg']}). Rename it.") from error


def windows(configs: Configs) -> tuple[int, int]:
    """How many tokens a document and a query may have, prompt and special tokens included.

    As sentence-transformers reads a checkpoint: what stands beside the transformer counts before what PyLate's or
    ColBERT's own files say, a query that is expanded to a fixed length is cut to it, and a length stated for a role
    counts whatever the tokenizer's limit is.
    """
    limit = configs.max_tokens
    if limit is None:
        raise LocoError(
            f"{configs.name} does not say how long its inputs may be: set max_position_embeddings in its config.json."
        )
    said: dict[str, Any] = {**_older(configs), **configs.inputs}
    document, query, expansion = (said.get(key) for key in ("document_length", "query_length", "query_expansion"))
    if isinstance(expansion, dict):
        least = _count(configs, "length", expansion.get("length"))
        longest = least if expansion.get("strategy") == "fixed" else _count(configs, "query_length", query, limit)
        query = max(least, longest)
    found = [_count(configs, "document_length", document, limit), _count(configs, "query_length", query, limit)]
    if configs.positions is not None and max(found) > configs.positions:
        raise LocoError(
            f"{configs.name} says inputs of {max(found)} tokens, and its transformer takes {configs.positions}. "
            "Mend it."
        )
    return found[0], found[1]


def _older(configs: Configs) -> dict[str, Any]:
    """What PyLate or ColBERT's own code say, in the terms of sentence-transformers."""
    if configs.stanford:
        said = configs.metadata
        expansion = {"strategy": "fixed", "length": said.get("query_maxlen") or _EXPANDED}
        return {"document_length": said.get("doc_maxlen"), "query_expansion": expansion}
    said = configs.sentences
    older: dict[str, Any] = {}
    for key in ("document_length", "query_length", "query_expansion"):
        if key in said:
            older[key] = said[key]
    expands = any(key in said for key in _PYLATE) and said.get("do_query_expansion") is not False
    if expands and "query_expansion" not in older:
        older["query_expansion"] = {"strategy": "fixed", "length": older.pop("query_length", None) or _EXPANDED}
    return older


def _count(configs: Configs, key: str, value: object, default: int | None = None) -> int:
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        where = METADATA if configs.stanford else "its configuration"
        raise LocoError(f"{configs.name}: {where} says {key} = {value!r}, which is no number of tokens. Mend it.")
    return value
