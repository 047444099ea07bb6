"""Model cards: what a model is, as data."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ModelCard(BaseModel):
    """One model, identified by everything that changes its numbers.

    ``factory`` names the adapter as ``module:attribute``: a callable that takes the card and returns the model.
    ``revision`` changes whenever the same card would rank differently. ``strategies`` are the ways this model meets a
    text longer than its window, the first one being the default. ``parameters`` are passed to the adapter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    family: str
    factory: str = Field(pattern=r"^[\w.]+:\w+$")
    description: str
    revision: str
    licence: str
    url: str
    strategies: tuple[str, ...] = Field(min_length=1)
    trained_on_loco: bool
    parameters: dict[str, float | int | str | bool] = {}


def read_model_cards(path: Path) -> Iterable[ModelCard]:
    """The ``[[model]]`` rows of a TOML file."""
    return [ModelCard.model_validate(row) for row in tomllib.loads(path.read_text(encoding="utf-8"))["model"]]
