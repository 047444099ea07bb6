"""What a trained model was made from: ``loco.json`` in its folder, which says so wherever the folder goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from loco.errors import LocoError
from loco.results.parts import Count, Name, Part, Sha256
from loco.tasks.data import ContentHashes, Split, Variant

TRAINING_CARD = "loco.json"

_LARGEST_BYTES = 1 << 20


class TrainedOn(Part):
    """A task's split that a model was trained on, or pretrained on as texts: how many of its queries, and by what
    contents.
    """

    task: Name
    variant: Variant
    split: Split
    queries: Count
    documents: Count
    content: ContentHashes


class ReadFrom(Part):
    """A corpus that a model was pretrained on: its share of the samples, and its files by their SHA-256 or commit."""

    name: Name
    weight: float
    files: dict[str, str]


class TrainingCard(Part):
    """What stands in ``loco.json``.

    ``trained_on_loco`` holds for the model itself and for whatever it started from. ``start`` names that as model and
    revision, ``start_card`` is its own card, where it has one. ``identity`` is the hash of all that decided the
    weights. ``shared_documents`` counts the documents trained on that stand in a test split's pool too.
    """

    schema_version: Literal[1]
    made_by: Literal["loco train", "loco pretrain"]
    trained_on_loco: bool
    trained_on: tuple[TrainedOn, ...] = ()
    corpora: tuple[ReadFrom, ...] = ()
    shared_documents: Count = 0
    start: Name
    start_card: TrainingCard | None = None
    settings: dict[str, bool | int | float | str | None]
    identity: Sha256
    steps: Count
    loss: float | None
    version: str
    command: str


def training_card(folder: Path) -> TrainingCard | None:
    """The card in a model's folder, or beside a file with its weights; None where there is none, or a JSON file of that
    name which does not say that loco made it.

    Raises LocoError for a card that cannot be read: what such a model has seen is not known.
    """
    path = (folder.parent if folder.is_file() else folder) / TRAINING_CARD
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    remedy = "It says what the model was trained on: get the folder again."
    if len(content) > _LARGEST_BYTES:
        raise LocoError(f"{path} is larger than any card that loco writes. {remedy}")
    if _of_others(content):
        return None
    try:
        return TrainingCard.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "json"
        raise LocoError(f"{path} is damaged ({where}: {problem['msg']}). {remedy}") from error


def _of_others(content: bytes) -> bool:
    """Whether a file is whole and of another tool."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return False
    ours = {"made_by", "trained_on_loco"}
    return not (isinstance(said, dict) and ours & said.keys())


def described(card: TrainingCard | None) -> str:
    """What a model's description says of its training, to stand behind it; nothing without a card."""
    if card is None:
        return ""
    if card.made_by == "loco pretrain" and not card.trained_on:
        return "; pretrained by loco"
    made = "pretrained" if card.made_by == "loco pretrain" else "trained"
    tasks = list(dict.fromkeys(trained.task for trained in card.trained_on))
    variants = sorted({trained.variant for trained in card.trained_on})
    named = ", ".join(tasks) if len(tasks) <= 3 else f"{len(tasks)} tasks"
    return f"; {made} by loco on {named} ({', '.join(variants)})"
