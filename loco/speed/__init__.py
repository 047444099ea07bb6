"""How fast a model encodes: seconds for a text of so many tokens (Table 5 of arXiv 2402.07440)."""

from __future__ import annotations

from loco.speed.measure import Measured, measure_speed
from loco.speed.options import DEFAULT_REPEATS, DEFAULT_TOKENS, SpeedOptions, lengths_in

__all__ = ["DEFAULT_REPEATS", "DEFAULT_TOKENS", "Measured", "SpeedOptions", "lengths_in", "measure_speed"]
