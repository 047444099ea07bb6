"""What the card of a cross-encoder says beside its name: ``ModelCard.parameters``, checked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from loco.errors import LocoError
from loco.models.card import ModelCard

from ..parameters import checked


class Parameters(BaseModel):
    """The settings of a cross-encoder.

    - ``hub``: a model of the Hugging Face hub, at the card's revision; None for a card that names a folder.
    - ``remote_code``: whether it runs on Python code of its own; None goes by its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hub: str | None = None
    remote_code: bool | None = None


def parameters_of(card: ModelCard) -> Parameters:
    """The settings on a card. Raises LocoError for one that is unknown or wrong."""
    parameters = checked(card, Parameters)
    if (parameters.hub is None) == (card.checkpoint is None):
        raise LocoError(f"The card of model '{card.name}' must name either a hub id or a checkpoint. Mend the card.")
    return parameters
