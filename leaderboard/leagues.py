"""What sets rows apart that are never ranked in one list, in words and as badges."""

from __future__ import annotations

from .board import Entry, League
from .texts import visible

_TRAINING = {
    "zero-shot": "zero-shot",
    "trained": "trained on LoCo",
    "unknown": "training not known",
    "untrained": "untrained weights",
}


def badges(entry: Entry) -> list[tuple[str, str]]:
    """Class and text of the badges of a row."""
    found = [(entry.origin, entry.origin)]
    if entry.training != "zero-shot":
        found.append((entry.training, _TRAINING[entry.training]))
    if entry.equivalent:
        found.append(("equivalent", "equivalent rows"))
    if entry.differs:
        found.append(("differs", "printed average differs"))
    if len(entry.cells) < len(entry.tasks):
        found.append(("partial", "partial" if entry.cells else "average only"))
    return found


def title(league: League) -> str:
    """A league in words."""
    parts = [league.variant, league.origin, _TRAINING[league.training]]
    if league.stands_in:
        parts.append("equivalent rows")
    if league.benchmark != "LoCoV1":
        parts.append(visible(league.benchmark, 60))
    if league.data:
        parts.append(f"other contents {visible(league.data, 20)}")
    return ", ".join(parts)
