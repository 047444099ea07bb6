"""Which revision of each hub dataset is read, and the checksums known beforehand, as data (``upstream.toml``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from loco.files import read_toml


class Upstream(BaseModel):
    """One dataset of the hub: its commit or branch, and the SHA-256 in hexadecimal of the files where it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str
    revision: str
    sha256: dict[str, str] = {}


@cache
def upstreams() -> dict[str, Upstream]:
    """All hub datasets that tasks are built from, by repo."""
    rows = read_toml(Path(__file__).with_name("upstream.toml"))["upstream"]
    return {row["repo"]: Upstream.model_validate(row) for row in rows}
