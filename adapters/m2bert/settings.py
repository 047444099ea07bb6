"""What the card of an M2-BERT says beside its name: ``ModelCard.parameters``, checked."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from loco.errors import LocoError
from loco.models.card import ModelCard

from ..parameters import checked

Cut = Literal["hard", "keep-sep"]


class Parameters(BaseModel):
    """The settings of an M2-BERT.

    - ``hub``, ``weights``: a model of the Hugging Face hub at the card's revision, and the file of it that holds the
      weights. None where they come from the card's folder or file, or are drawn.
    - ``bundled``: the folder of this package that holds the model.
    - ``init``, ``seed``: "random" draws the weights, as the reference starts training, from this seed.
    - ``config``: the released 80M models' at the card's window, or what the checkpoint's config.json says.
    - ``tokenizer``: bert-base-uncased, which comes with loco, or the checkpoint's own.
    - ``cut``: what an input longer than the window loses. "hard" takes the first ids of the window, as the evaluation
      behind the paper's numbers did, so that the closing [SEP] goes; "keep-sep" gives up one more token of the text
      for it, as the models' pages on the hub do.
    - ``padding``: to the window, as pads are text like any other to the released models, and part of what they are;
      "longest" for one whose config.json does not pad to it, and which never sees a pad.
    - ``similarity``: fixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hub: str | None = None
    weights: str | None = None
    bundled: Literal["mini"] | None = None
    init: Literal["random"] | None = None
    seed: int | None = None
    config: Literal["released", "own"] = "released"
    tokenizer: Literal["bert-base-uncased", "own"] = "bert-base-uncased"
    cut: Cut = "hard"
    padding: Literal["window", "longest"] = "window"
    similarity: Literal["cosine"] = "cosine"

    @model_validator(mode="after")
    def _hang_together(self) -> Parameters:
        if (self.hub is None) != (self.weights is None):
            raise ValueError("hub and weights go together")
        if (self.init is None) != (self.seed is None):
            raise ValueError("init and seed go together")
        return self


def parameters_of(card: ModelCard) -> Parameters:
    """The settings on a card. Raises LocoError for one that is unknown or wrong."""
    parameters = checked(card, Parameters)
    sources = parameters.hub, parameters.bundled, parameters.init, card.checkpoint
    if sum(source is not None for source in sources) != 1:
        raise LocoError(
            f"The card of model '{card.name}' must name one of a hub id, a bundled model, a checkpoint and an init. "
            "Mend the card."
        )
    return parameters
