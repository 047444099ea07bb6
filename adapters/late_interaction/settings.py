"""What the card of a late interaction model says beside its name: ``ModelCard.parameters``, checked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from loco.errors import LocoError
from loco.models.card import ModelCard

from ..parameters import checked


class LateParameters(BaseModel):
    """The settings of a late interaction model. All else is the checkpoint's own: prompts, expansion, what counts.

    - ``hub``: a model of the Hugging Face hub, at the card's revision; None for a card that names a folder.
    - ``query_tokens``, ``document_tokens``: the window of a role, prompt and special tokens included. The card's
      ``max_tokens`` is the wider one.
    - ``remote_code``: whether it runs on Python code of its own; None goes by its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hub: str | None = None
    query_tokens: int = Field(ge=1)
    document_tokens: int = Field(ge=1)
    remote_code: bool | None = None


def late_parameters_of(card: ModelCard) -> LateParameters:
    """The settings on a card. Raises LocoError for one that is unknown or wrong."""
    parameters = checked(card, LateParameters)
    if (parameters.hub is None) == (card.checkpoint is None):
        raise LocoError(f"The card of model '{card.name}' must name either a hub id or a checkpoint. Mend the card.")
    return parameters
