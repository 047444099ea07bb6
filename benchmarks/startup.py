"""`loco --help` against `python -c "import typer"`: promised at most 3 times as long."""

from __future__ import annotations

import sys
from pathlib import Path

from timing import compare

print('loco --help against python -c "import typer"')
compare(
    [str(Path(sys.executable).with_name("loco")), "--help"],
    [sys.executable, "-c", "import typer"],
    runs=15,
)
