"""``export.json``: what an exported folder says of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from loco.tasks.card import TaskCard
from loco.tasks.data import ContentHashes, Provenance, Split, Variant

EXPORT_FILE = "export.json"


class Export(BaseModel):
    """Which task an export holds, and in ``files`` the SHA-256 of each of its files by path within the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    format: str
    task: str
    variant: Variant
    split: Split
    provenance: Provenance
    card: TaskCard
    content: ContentHashes
    files: dict[str, str]
