"""The curves that the LoCoV1 paper prints, as data (``table15.toml``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from loco.files import read_toml
from loco.needle.haystacks import POSITIONS


class PublishedCurve(BaseModel):
    """A model's nDCG@10, in percent, by the position of the gold passage among 39 others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ndcg: tuple[float, ...] = Field(min_length=POSITIONS, max_length=POSITIONS)


class Published(BaseModel):
    """All of them, and where they stand in print."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    model: tuple[PublishedCurve, ...]


@cache
def published() -> Published:
    """What the paper prints."""
    return Published.model_validate(read_toml(Path(__file__).with_name("table15.toml")))
