"""The form in which vectors are searched: whole, or made smaller where the model was trained for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from loco.errors import LocoError, unknown
from loco.models.card import ModelCard

Precision = Literal["float32", "int8", "binary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# What a card made for a model that nobody described says of the lengths its vectors can be cut to.
ANY_LENGTH = "any"


@dataclass(frozen=True)
class VectorForm:
    """``dim`` numbers of each vector (Matryoshka, arXiv 2205.13147; None: all), documents stored as ``precision``."""

    dim: int | None = None
    precision: Precision = "float32"

    @property
    def name(self) -> str:
        """As results record it, ``dim=256, int8``; empty for vectors as the model makes them."""
        parts = [f"dim={self.dim}"] if self.dim is not None else []
        return ", ".join(parts + ([self.precision] if self.precision != "float32" else []))


def form_named(precision: str, dim: int | None, card: ModelCard) -> VectorForm:
    """The form a user asks for, where the model allows it.

    A card's ``matryoshka`` parameter lists the lengths its model was trained for ("64,128,256"), or their range
    ("32-1024"). Raises LocoError for another length, and for a model whose card names none.
    """
    known = next((one for one in PRECISIONS if one == precision), None)
    if known is None:
        raise unknown("precision", precision, PRECISIONS, "loco eval --help")
    form = VectorForm(dim, known)
    if dim is not None:
        _check_length(dim, str(card.parameters.get("matryoshka", "")), card.name)
    return form


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
