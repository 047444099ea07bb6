"""Whole processes timed in turns, so that a drifting machine slows both sides alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence


def seconds(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Wall-clock seconds of one run of a command, its output thrown away."""
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    return time.perf_counter() - start


def compare(ours: Sequence[str], peer: Sequence[str], runs: int, environment: Mapping[str, str] | None = None) -> None:
    """Run both commands in turn, once to warm up and then ``runs`` times; print medians and the ratio of each pair."""
    seconds(ours, environment), seconds(peer, environment)
    pairs = [(seconds(ours, environment), seconds(peer, environment)) for _ in range(runs)]
    ratios = sorted(a / b for a, b in pairs)
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"ours {mine:.3f} s, peer {other:.3f} s")
    print(f"ratio ours/peer: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}, {runs} pairs")
