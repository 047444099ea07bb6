"""What the card of a transformer says beside its name: ``ModelCard.parameters``, checked."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import Role, Similarity

from ..parameters import checked

PoolingMode = Literal["cls", "mean", "last"]


class Parameters(BaseModel):
    """The settings of a transformer.

    - ``hub``: a model of the Hugging Face hub, at the card's revision; None for a card that names a folder.
    - ``pooling``: how token vectors become one; None takes what the checkpoint says.
    - ``normalise``: whether vectors are brought to length 1 at the end, also where the checkpoint does not.
    - ``query_prompt``, ``document_prompt``: what stands in front of each text.
    - ``similarity``: what vectors are compared by.
    - ``padding``: see :class:`loco.models.protocols.EncoderTraits`.
    - ``remote_code``: whether it runs on Python code of its own; None goes by its files, False takes transformers'
      own class for it.
    - ``matryoshka``: the dimensions its vectors may be cut to; with ``matryoshka_layer_norm`` they are brought to
      mean 0 and variance 1 before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hub: str | None = None
    pooling: PoolingMode | None = None
    normalise: bool = False
    query_prompt: str = ""
    document_prompt: str = ""
    similarity: Similarity = "cosine"
    padding: Literal["longest", "window"] = "longest"
    remote_code: bool | None = None
    matryoshka: str = ""
    matryoshka_layer_norm: bool = False

    @property
    def prompts(self) -> dict[Role, str]:
        """The prompt of each role."""
        return {"query": self.query_prompt, "document": self.document_prompt}


def parameters_of(card: ModelCard) -> Parameters:
    """The settings on a card. Raises LocoError for one that is unknown or wrong."""
    parameters = checked(card, Parameters)
    if (parameters.hub is None) == (card.checkpoint is None):
        raise LocoError(f"The card of model '{card.name}' must name either a hub id or a checkpoint. Mend the card.")
    return parameters
