"""Model cards: what a model is, as data."""

from __future__ import annotations

import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from loco.files import read_toml

# Without control characters: these end up on terminals and in file names.
PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*$"


class ModelIdentity(BaseModel):
    """Everything about a model that changes its numbers, and what a reader needs to know where it comes from.

    ``revision`` changes whenever the same name would rank differently; ``parameters`` are the adapter's settings.
    ``max_tokens`` is the window, prompt and special tokens included, ``weights`` the number of trained weights; None
    where there is no such thing or it is not known. ``trained_on_loco`` is None where the source of a reported result
    does not say. ``untrained`` says that the weights were drawn at random, for tests and measurements of speed: its
    scores are never ranked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200, pattern=PLAIN)
    family: str = Field(max_length=200, pattern=PLAIN)
    revision: str = Field(max_length=200, pattern=PLAIN)
    description: str = Field(max_length=2000)
    licence: str = Field(max_length=200)
    url: str = Field(max_length=2000)
    trained_on_loco: bool | None
    untrained: bool = False
    max_tokens: int | None = Field(default=None, ge=1)
    weights: int | None = Field(default=None, ge=1)
    parameters: dict[str, bool | int | float | str] = {}


class Price(BaseModel):
    """What a vendor asks for, in US dollars; ``source`` said so, read on the day ``as_of``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    per_million_tokens: float = Field(gt=0)
    as_of: datetime.date
    source: str = Field(min_length=1, max_length=2000, pattern=PLAIN)


class Service(BaseModel):
    """Where a model answers over a network, what it takes at once and in a minute, and what it costs.

    ``key`` names the environment variable with the user's key; ``url`` is where requests go. ``inputs`` and ``tokens``
    bound a request, ``*_per_minute`` the requests of a minute; None where no bound is known. ``price`` is None where
    none is known, or nothing is paid. None of it changes a vector, so none of it is part of a model's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vendor: str = Field(min_length=1, max_length=100, pattern=PLAIN)
    key: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    key_optional: bool = False
    url: str = Field(pattern=r"^https?://[^\s@]+$", max_length=2000)
    inputs: int = Field(ge=1)
    tokens: int = Field(ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    inputs_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    price: Price | None = None


class ModelCard(ModelIdentity):
    """A model loco can run.

    ``factory`` names the adapter as ``module:attribute``: a callable that takes the card and a
    :class:`loco.models.runtime.Runtime` and returns the model (:mod:`loco.models.protocols`).
    ``strategies`` are the ways this model meets a text longer than its window, the first one being the default.
    ``checkpoint`` is the folder on this machine that a model is loaded from, None for one from elsewhere: its
    contents stand in ``revision``, and where they lie concerns nobody else. ``service`` is None for a model that runs
    on this machine. ``reranks`` is true of one that only reorders what another has found
    (:class:`loco.models.protocols.Reranker`).
    """

    factory: str = Field(pattern=r"^[\w.]+:\w+$")
    strategies: tuple[str, ...] = Field(min_length=1)
    checkpoint: str | None = None
    service: Service | None = None
    reranks: bool = False

    @property
    def identity(self) -> ModelIdentity:
        """The part of the card that goes into a result."""
        return ModelIdentity.model_validate(self.model_dump(include=set(ModelIdentity.model_fields)))


def read_model_cards(path: Path) -> list[ModelCard]:
    """The ``[[model]]`` rows of a TOML file."""
    return [ModelCard.model_validate(row) for row in read_toml(path)["model"]]
