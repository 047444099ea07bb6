"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Under nohup Ctrl-C is ignored, and by whatever a test starts too; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and facts beside the checkout (or ``$LOCO_SHARED``); tests that need it skip without."""
    folder = Path(os.environ.get("LOCO_SHARED", CHECKOUT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"real data is missing: no folder {folder}; set LOCO_SHARED to where it lies")
    return folder
