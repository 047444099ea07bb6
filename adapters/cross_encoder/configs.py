"""What the small files of a cross-encoder say, read without loading it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loco.errors import LocoError

from ..transformer.configs import MODULES, Configs, Module

_TRANSFORMER = Module("sentence_transformers.Transformer", "")
_HEAD = "ForSequenceClassification"
_LABELS = 2  # of a classifier that does not say: transformers' own default
# What may be done to a score after the model without changing an order.
_RISING = ("Identity", "Sigmoid", "Tanh")


def read_configs(name: str, folder: Path) -> Configs:
    """The configuration of the cross-encoder in a folder: a transformer with a classifier that gives one number.

    Raises LocoError for a file that is damaged or missing, and for what is no such model.
    """
    configs = Configs(name, folder, (_TRANSFORMER,), plain=True)
    if (folder / "adapter_config.json").is_file():
        raise LocoError(f"{name} is an adapter (adapter_config.json): merge it into the model it was trained on first.")
    if not (folder / "config.json").is_file():
        raise LocoError(f"{name} holds no config.json, so it is no cross-encoder. Get it again, or take another.")
    kinds = _modules(folder / MODULES)
    if kinds not in ([], ["Transformer"]):
        raise LocoError(
            f"{name} has the modules {', '.join(kinds)}, and a reranker here is a transformer with a classifier alone. "
            "Take another model."
        )
    said = configs.transformer
    classes = said.get("architectures")
    built = str(classes[0]) if isinstance(classes, list) and classes else "no class"
    if not built.endswith(_HEAD):
        raise LocoError(
            f"{name} is no cross-encoder: its config.json names {built}, not a class that ends in {_HEAD}. Name it as "
            "--model if it makes vectors, and another one as --rerank."
        )
    labels = _labels(said)
    if labels != 1:
        raise LocoError(f"{name} gives {labels} scores a pair, and a reranker gives 1. Take another model.")
    _check_after(name, configs)
    return configs


def _modules(path: Path) -> list[str]:
    """The kinds of modules that modules.json names."""
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [str(row["type"]).rpartition(".")[2] + (f" in {row['path']}" if row["path"] else "") for row in rows]
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise LocoError(f"{path} cannot be read. Download or save the checkpoint again.") from error


def _labels(config: dict[str, Any]) -> int:
    """How many numbers a classifier gives."""
    stated = config.get("num_labels")
    names = config.get("id2label")
    if isinstance(names, dict):
        return len(names)
    return stated if isinstance(stated, int) else _LABELS


def _check_after(name: str, configs: Configs) -> None:
    """Raise LocoError where something comes before the texts or after the score that loco does not follow."""
    if configs.sentences.get("default_prompt_name") or configs.sentences.get("processing_kwargs"):
        raise LocoError(f"{name} puts a prompt before its pairs, which loco does not do. Take another model.")
    within = configs.transformer.get("sentence_transformers")
    stated = (
        configs.sentences.get("activation_fn"),
        within.get("activation_fn") if isinstance(within, dict) else None,
        configs.transformer.get("sbert_ce_default_activation_function"),
    )
    for activation in stated:
        if activation is not None and str(activation).rpartition(".")[2] not in _RISING:
            raise LocoError(
                f"{name} changes its scores by {activation}, which loco does not follow. Take another model."
            )
