"""A result beside others: the same one twice, and one that has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.results import Result, run_path
from loco.submission.findings import Finding
from loco.submission.runs import digest, most_lines
from loco.trec import read_run

MOVED = 0.001

Key = tuple[str, ...]


@dataclass(frozen=True)
class Placed:
    """A retrieval result, its file, and what findings call that file."""

    path: Path
    name: str
    result: Result

    @property
    def key(self) -> Key:
        """What there can be one result of."""
        result = self.result
        way = (result.strategy, result.vector_form, result.variant, result.split, result.task)
        return (result.origin, result.source, result.model.name, *way)


def check_duplicates(new: Sequence[Placed], base: Sequence[Placed], runs: Mapping[str, str]) -> Iterator[Finding]:
    """Results that stand twice, or under two names. ``runs`` has the digests of their runs, by name.

    What has the key of a new result in ``base`` is replaced by it, and no duplicate.
    """
    keys = {placed.key for placed in new}
    there = [placed for placed in base if placed.key not in keys]
    by_key: dict[Key, Placed] = {}
    by_identity = {_identity(placed): placed for placed in there if placed.result.measurement}
    by_run = {_run(placed): placed for placed in there if placed.result.measurement}
    by_values = {_values(placed): placed for placed in there if placed.result.measurement}
    for placed in new:
        first = by_key.setdefault(placed.key, placed)
        if first is not placed:
            yield Finding(
                "error",
                "duplicate",
                f"is a second result of the same model, strategy, variant and task as {first.name}: keep one",
                placed.name,
            )
            continue
        if placed.result.measurement is None:
            continue
        same = by_identity.setdefault(_identity(placed), placed)
        if same is not placed:
            yield Finding(
                "error", "duplicate", f"has the identity of {same.name}: one of the two is not its own", placed.name
            )
        same = by_run.setdefault(_run(placed), placed)
        if same.result.model.name != placed.result.model.name:
            yield Finding(
                "error",
                "duplicate",
                f"has the run of {same.name}, which is of another model, '{same.result.model.name}'",
                placed.name,
            )
            continue
        same = by_values.setdefault(_values(placed), placed)
        if same.result.model.name != placed.result.model.name and _ranks_alike(placed, same, runs):
            yield Finding(
                "error",
                "duplicate",
                f"gives every document the score that '{same.result.model.name}' gives it in {same.name}: the same "
                "model under another name. Keep one of the two",
                placed.name,
            )


def check_history(new: Sequence[Placed], base: Sequence[Placed]) -> Iterator[Finding]:
    """Results that say something else than those which they replace, of the same revision of a model."""
    before = {placed.key: placed for placed in base}
    for placed in new:
        old = before.get(placed.key)
        if old is None:
            continue
        said, says = old.result, placed.result
        if said.model.revision != says.model.revision:
            yield Finding(
                "note",
                "history",
                f"replaces {old.name}: revision {says.model.revision!r:.60} instead of {said.model.revision!r:.60}",
                placed.name,
            )
            continue
        moved = [
            f"{name} from {metric.value:.4f} to {says.metrics[name].value:.4f}"
            for name, metric in said.metrics.items()
            if name in says.metrics and abs(metric.value - says.metrics[name].value) > MOVED + 1e-9
        ]
        if moved:
            earlier, now = said.measurement, says.measurement
            data = earlier is not None and now is not None and earlier.data.content != now.data.content
            why = "It was measured on other data, too. " if data else ""
            yield Finding(
                "error",
                "history",
                f"moves {'; '.join(moved)} against {old.name}, and the model's revision is the same. {why}Give a model "
                "that ranks otherwise a revision of its own, or have the old result withdrawn first",
                placed.name,
            )
        if said.model.trained_on_loco != says.model.trained_on_loco:
            yield Finding(
                "error",
                "history",
                f"changes trained_on_loco from {said.model.trained_on_loco} to {says.model.trained_on_loco} for a "
                f"revision that stands in {old.name}",
                placed.name,
            )
        elif not moved:
            yield Finding("note", "history", f"says the same as {old.name}, to {MOVED}", placed.name)


def _identity(placed: Placed) -> str:
    return placed.result.measurement.identity if placed.result.measurement else ""


def _run(placed: Placed) -> str:
    return placed.result.measurement.run_sha256 if placed.result.measurement else ""


def _values(placed: Placed) -> tuple[object, ...]:
    """What two results of one ranking have in common, in a form that costs little to compare."""
    measurement = placed.result.measurement
    if measurement is None:
        return ()
    values = hash(frozenset(measurement.per_query.items()))
    return (placed.result.task, placed.result.variant, measurement.data.content.qrels, values)


def _ranks_alike(placed: Placed, other: Placed, runs: Mapping[str, str]) -> bool:
    one, two = runs.get(placed.name), runs.get(other.name)
    if two is None and other.result.measurement is not None:
        try:
            two = digest(read_run(run_path(other.path), most=most_lines(other.result.measurement)))
        except LocoError:
            return False
    return one is not None and one == two
