"""What a comparison says, in words."""

from __future__ import annotations

from loco.compare.pairs import Pair, Tested


def verdict(pair: Pair) -> str:
    """Which side is better, by how much and how surely; then on how many tasks."""
    first, other = f"'{pair.first.label}'", f"'{pair.other.label}'"
    count = len(pair.tasks)
    where = f"on average over {count} tasks" if pair.average else f"on {pair.tasks[0].task}"
    if not any(row.wins or row.losses for row in pair.tasks):
        return f"{other} and {first} give every query the same nDCG@10 {where}."
    overall = pair.average or pair.tasks[0].tested
    if overall.verdict == "not distinguishable":
        says = (
            f"{other} and {first} are not distinguishable {where} ({_figures(overall)}): no proof that they are equal."
        )
    else:
        says = f"{other} is {overall.verdict} than {first} {where} ({_figures(overall)})."
    if pair.average is None:
        return says
    verdicts = [row.tested.verdict for row in pair.tasks]
    parts = [f"{name} on {verdicts.count(name)}" for name in ("better", "worse", "not distinguishable")]
    return f"{says} By task it is {', '.join(parts)} of {count} tasks."


def probability(p: float) -> str:
    """A p-value, as precisely as so many sign flips can tell."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _figures(tested: Tested) -> str:
    estimate = tested.difference
    interval = f"95 % interval {estimate.low:+.4f} to {estimate.high:+.4f}"
    return f"nDCG@10 {estimate.value:+.4f}, {interval}, corrected p {probability(tested.corrected)}"
