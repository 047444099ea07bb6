"""``python -m loco``."""

from loco.cli import main

main()
