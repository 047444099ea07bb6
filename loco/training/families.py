"""What a family of models must offer to be trained. Families are found through entry points.

``loco.training``: callables without arguments that return a :class:`SentenceFamily`, named after the family that cards
name; one whose models can be pretrained is a :class:`MaskedFamily` too.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.runtime import Runtime

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

GROUP = "loco.training"
INSTALL = "pip install 'loco-bench[train]'"

Features = Literal["tiled", "fresh"]


@runtime_checkable
class SentenceFamily(Protocol):
    """A family whose encoders can be trained for retrieval."""

    def start(self, card: ModelCard, runtime: Runtime, seed: int) -> SentenceTransformer:
        """The model of a card on the CPU in single precision; it cuts, pads and pools as the family's adapter does.

        Its ``prompts`` hold what stands in front of a "query" and a "document". What the checkpoint lacks for embedding
        is drawn from ``seed``. Raises LocoError for a card or a checkpoint that it cannot be.
        """
        ...

    def save(self, model: SentenceTransformer, folder: Path) -> None:
        """Write a trained model into an empty folder, as one that ``loco eval --model FOLDER`` takes."""
        ...


@runtime_checkable
class MaskedFamily(Protocol):
    """A family whose encoders can be pretrained by predicting masked tokens."""

    def tokenizer(self, source: Path | None) -> PreTrainedTokenizerFast:
        """The tokenizer in a folder or a ``tokenizer.json``, or the family's own; with the special tokens of BERT.

        Raises LocoError where there is none.
        """
        ...

    def fresh(self, shape: Mapping[str, Any], words: int, seed: int) -> PreTrainedModel:
        """A model of ``shape`` (the family's own options) with a table of ``words`` words or a few more, from a seed.

        Raises LocoError for a shape that cannot be.
        """
        ...

    def pretrained(
        self, source: Path, window: int | None, features: Features, *, allow_pickle: bool
    ) -> PreTrainedModel:
        """The model in a checkpoint to go on pretraining, where ``window`` is longer with that window.

        ``features`` says how what belongs to positions begins there. Raises LocoError for what is no such checkpoint
        and for a window that cannot be made of the old one.
        """
        ...

    def window(self, model: PreTrainedModel) -> int:
        """How many tokens the model reads at once."""
        ...

    def save_masked(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
        """Write model and tokenizer into an empty folder, as one that :meth:`pretrained` takes."""
        ...


def family_named(name: str) -> object:
    """What a family offers for training. Raises LocoError where there is no such family, or a package is missing."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise LocoError(
            f"Models of the family {name} cannot be trained. Families that can: {', '.join(sorted(points))}."
        )
    check_installed()
    family: object = points[name].load()()
    return family


def sentence_family(name: str) -> SentenceFamily:
    """A family whose models can be trained for retrieval. Raises LocoError for any other."""
    family = family_named(name)
    if not isinstance(family, SentenceFamily):
        raise LocoError(f"Models of the family {name} cannot be trained for retrieval.")
    return family


def masked_family(name: str) -> MaskedFamily:
    """A family whose models can be pretrained. Raises LocoError for any other."""
    family = family_named(name)
    if not isinstance(family, MaskedFamily):
        raise LocoError(f"Models of the family {name} cannot be pretrained here.")
    return family


def check_installed() -> None:
    """Raise LocoError where a package that training needs is missing."""
    from importlib.util import find_spec

    for package in ("torch", "transformers", "sentence_transformers", "accelerate", "datasets"):
        if find_spec(package) is None:
            raise LocoError(f"Training needs {package}: install with {INSTALL}")
