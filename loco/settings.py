"""Where things live."""

from __future__ import annotations

import os
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
