"""The form in which vectors are searched: whole, or made smaller where the model was trained for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from loco.errors import LocoError, unknown
from loco.models.card import ModelCard
from loco.models.runtime import DTYPES

Precision = Literal["float32", "int8", "binary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# What a card made for a model that nobody described says of the lengths its vectors can be cut to.
ANY_LENGTH = "any"


@dataclass(frozen=True)
class VectorForm:
    """``dim`` numbers of each vector (Matryoshka, arXiv 2205.13147; None: all), documents stored as ``precision``.

    ``dtype`` is the precision that the user wants the model to run in, "auto" where that is left to the device.
    """

    dim: int | None = None
    precision: Precision = "float32"
    dtype: str = "auto"

    @property
    def smaller(self) -> bool:
        """Whether vectors are changed after the model has made them."""
        return self.dim is not None or self.precision != "float32"

    @property
    def name(self) -> str:
        """As results record it, ``dim=256, int8``; empty for vectors as the model makes them by itself."""
        parts = {
            f"computed in {self.dtype}": self.dtype != "auto",
            f"dim={self.dim}": self.dim is not None,
            self.precision: self.precision != "float32",
        }
        return ", ".join(part for part, said in parts.items() if said)


def form_named(precision: str, dim: int | None, card: ModelCard, dtype: str = "auto") -> VectorForm:
    """The form a user asks for, where the model allows it.

    A card's ``matryoshka`` parameter lists the lengths its model was trained for ("64,128,256"), or their range
    ("32-1024"); a card made for a model that nobody described allows any. Raises LocoError for another length, for a
    model whose card names none, and for an unknown precision.
    """
    known = next((one for one in PRECISIONS if one == precision), None)
    if known is None:
        raise unknown("precision", precision, PRECISIONS, "loco eval --help")
    if dtype not in DTYPES:
        raise unknown("precision", dtype, DTYPES, "loco eval --help")
    if dim is not None:
        _check_length(dim, str(card.parameters.get("matryoshka", "")), card.name)
    return VectorForm(dim, known, dtype)


def _check_length(dim: int, allowed: str, model: str) -> None:
    if not allowed:
        raise LocoError(f"The card of '{model}' does not say that its vectors can be cut: leave out --dim.")
    low, dash, high = allowed.partition("-")
    if allowed == ANY_LENGTH:
        fits = dim >= 1
    elif dash:
        fits = int(low) <= dim <= int(high)
    else:
        fits = dim in [int(length) for length in allowed.split(",")]
    if not fits:
        raise LocoError(f"The vectors of '{model}' cannot be cut to {dim}. Lengths its authors name: {allowed}.")
