"""Cards for M2-BERTs that have none: a folder, a model of the hub, a known card with other weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loco.errors import LocoError, one_line
from loco.models.card import ModelCard
from loco.tasks.sources.files import hashed
from loco.training.card import described, training_card

from ..transformer.configs import Configs
from .checkpoint import WEIGHT_FILES, weight_file
from .encoder import CONFIG, TOKENIZER

_FACTORY = "loco_adapters.m2bert.encoder:m2bert_encoder"
_STRATEGIES = ("truncate", "chunk", "chunk-max")
_LARGEST_SEED = 2**63 - 1
_DIGITS = 8  # of a checksum that stands in a name
# Whose models on the hub were trained on LoCo's training split, all of them that retrieve.
_AUTHORS = ("hazyresearch/", "togethercomputer/")


def card_of(
    configs: Configs, checkpoint: str | None, revision: str, published: Collection[str], settings: Mapping[str, str]
) -> ModelCard:
    """The card of the M2-BERT in a folder (``checkpoint``), or of one of the hub with the files ``published``.

    It is read with a tokenizer of its own where it has one, else with bert-base-uncased's. Raises LocoError for
    settings: pooling and prompts are the model's own.
    """
    if settings:
        options = ", ".join("--" + setting.replace("_", "-") for setting in settings)
        raise LocoError(
            f"{configs.name} is an M2-BERT, which pools by itself and takes no prompts: leave out {options}."
        )
    window = configs.transformer.get("max_position_embeddings")
    if not isinstance(window, int) or window < 1:
        raise LocoError(f"{configs.name} does not say its window: set max_position_embeddings in its config.json.")
    own = TOKENIZER in published if checkpoint is None else (configs.home / TOKENIZER).is_file()
    tokenizer = "own" if own else "bert-base-uncased"
    trained = training_card(configs.folder)
    of_authors = checkpoint is None and configs.name.startswith(_AUTHORS)
    parameters: dict[str, Any] = {"config": "own", "tokenizer": tokenizer, "cut": "hard"}
    if configs.transformer.get("pad_to_window") is False:
        parameters["padding"] = "longest"
    if checkpoint is None:
        weights = next((file for file in WEIGHT_FILES if file in published), None)
        if weights is None:
            raise LocoError(f"{configs.name} holds none of {', '.join(WEIGHT_FILES)}. Take another model.")
        parameters |= {"hub": configs.name, "weights": weights}
    return _made(
        name=configs.folder.name if checkpoint else configs.name,
        family="m2bert",
        revision=revision,
        description=f"M2-BERT, window {window:,}, {'local checkpoint' if checkpoint else 'from the hub'}"
        + described(trained),
        licence="",
        url="" if checkpoint else f"https://huggingface.co/{configs.name}",
        trained_on_loco=of_authors if trained is None else trained.trained_on_loco,
        max_tokens=window,
        parameters=parameters,
        checkpoint=checkpoint,
        factory=_FACTORY,
        strategies=_STRATEGIES,
    )


def with_weights(card: ModelCard, checkpoint: str | None, init: str | None, seed: str | None) -> ModelCard:
    """A known card with weights of the user's (a file or a folder), or with random ones.

    Its name and revision say which; the config.json of a folder counts with them, since it is what they are read by.
    Raises LocoError for a contradiction, and for a checkpoint that is not there.
    """
    if checkpoint is not None and init is not None:
        raise LocoError("--checkpoint and --init exclude each other: leave out one.")
    if seed is not None and init is None:
        raise LocoError("--seed is for --init random: leave it out.")
    kept = {name: value for name, value in card.parameters.items() if name not in ("hub", "weights", "bundled")}
    if checkpoint is None:
        if init != "random":
            raise LocoError(f"--init {init} is nothing that weights can start from: the only one is random.")
        if "bundled" in card.parameters:
            raise LocoError(f"--init random draws the released shapes alone: take m2bert-2k instead of {card.name}.")
        number = int(seed) if seed and seed.isdecimal() else 0 if seed is None else -1
        if not 0 <= number <= _LARGEST_SEED:
            raise LocoError(f"--seed {seed} is no whole number from 0 to {_LARGEST_SEED}: choose another.")
        return _made(
            **card.model_dump()
            | {
                "name": f"{card.name} (random, seed {number})",
                "revision": f"random-{number}",
                "description": f"{card.description}; its weights drawn at random",
                "trained_on_loco": False,
                "untrained": True,
                "parameters": kept | {"init": "random", "seed": number},
            }
        )
    try:
        source = Path(checkpoint).expanduser()
        contents = hashed(weight_file(source))
        described = (source / CONFIG).is_file()
        if described:
            contents = hashlib.sha256(f"{contents} {hashed(source / CONFIG)}".encode()).hexdigest()
    except (OSError, RuntimeError) as error:  # not to be read, no name a file can have, or the home of nobody here
        raise LocoError(f"Cannot read the checkpoint {checkpoint[:200]}: {one_line(error)[:200]}.") from error
    trained = training_card(source)
    name = Path(os.path.abspath(source)).name  # noqa: PTH100  # a link's own, and one for "." too
    return _made(
        **card.model_dump()
        | {
            "name": f"{card.name} ({name}@{contents[:_DIGITS]})",
            "revision": f"sha256:{contents[:16]}",
            "description": f"{card.description}; weights of the user's",
            "url": "",
            "weights": None if described else card.weights,
            "parameters": kept,
            "checkpoint": checkpoint,
            "trained_on_loco": card.trained_on_loco if trained is None else trained.trained_on_loco,
        }
    )


def _made(**fields: Any) -> ModelCard:
    try:
        return ModelCard.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise LocoError(f"{fields['name']!r} makes no card ({first['loc'][0]}: {first['msg']}). Rename it.") from error
