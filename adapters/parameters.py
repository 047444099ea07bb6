"""What cards say to the adapters of a family: ``ModelCard.parameters``, checked."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from loco.errors import LocoError
from loco.models.card import ModelCard

Kind = TypeVar("Kind", bound=BaseModel)


def checked(card: ModelCard, kind: type[Kind]) -> Kind:
    """The settings on a card, as those of a family. Raises LocoError for one that is unknown or wrong."""
    try:
        return kind.model_validate(card.parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "parameters"
        reason = first["msg"].removeprefix("Value error, ")
        raise LocoError(f"The card of model '{card.name}' is wrong at '{where}': {reason}. Mend the card.") from error
