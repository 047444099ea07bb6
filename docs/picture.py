"""The README's picture of the board: `make picture`. It needs a chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from loco.errors import LocoError
from loco.files import write_atomically
from loco.sites import site_maker

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1280, 940


def picture(results: Path, target: Path) -> None:
    """Draw the overview of a folder of results as the PNG file ``target``, in light colours."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise LocoError(f"A browser is needed: one of {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        site = site_maker().build(results, folder / "site", None).folder
        drawn = folder / "board.png"
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--hide-scrollbars", f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{HEIGHT}"),
                *(f"--screenshot={drawn}", (site / "index.html").as_uri()),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
        write_atomically(target, drawn.read_bytes())


if __name__ == "__main__":
    picture(Path(sys.argv[1]), Path(sys.argv[2]))
