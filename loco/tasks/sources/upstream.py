"""Which revision of each hub dataset is read, and the checksums known beforehand, as data (``upstream.toml``)."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Upstream(BaseModel):
    """One dataset of the hub: its commit or branch, and the SHA-256 in hexadecimal of the files where it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str
    revision: str
    sha256: dict[str, str] = {}


@cache
def upstreams() -> dict[str, Upstream]:
    """All hub datasets that tasks are built from, by repo."""
    rows = tomllib.loads(Path(__file__).with_name("upstream.toml").read_text(encoding="utf-8"))["upstream"]
    return {row["repo"]: Upstream.model_validate(row) for row in rows}
