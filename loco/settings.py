"""Where things live."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """The folder for everything loco keeps between runs: ``$LOCO_HOME``, else the user's data folder."""
    chosen = os.environ.get("LOCO_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("loco", appauthor=False))


def data_home() -> Path:
    """The folder of built tasks: ``<home>/data/<variant>/<task>/``."""
    return home() / "data"


def data_folder(chosen: Path | str | None) -> Path:
    """The folder of built tasks a user has chosen, :func:`data_home` for None."""
    return data_home() if chosen is None else Path(chosen)


def cache_folder(chosen: Path | str | None) -> Path:
    """The folder of the embedding store a user has chosen, ``<home>/embeddings`` for None."""
    return home() / "embeddings" if chosen is None else Path(chosen)


def go_offline() -> None:
    """Never ask the hub from here on, in this process and those it starts: as if HF_HUB_OFFLINE had been set."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # it has read the variable already, and reads it only once
        vars(constants)["HF_HUB_OFFLINE"] = True
