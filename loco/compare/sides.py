"""The sides of a comparison: a model under a strategy with a form of vectors, and its results by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.models.card import ModelIdentity
from loco.results import Measurement, Result, read_record, result_files
from loco.tasks.data import Split, Variant, variant_named

# What a rank within the first ten needs at least.
_LEAST_DEPTH = 10


@dataclass(frozen=True)
class Measured:
    """A measured result and where it stands."""

    path: Path
    result: Result
    measurement: Measurement


@dataclass(frozen=True)
class Side:
    """One model under one strategy with one form of vectors: a measured result for each of its tasks.

    ``label`` tells it from every other side of the same comparison.
    """

    label: str
    model: ModelIdentity
    variant: Variant
    split: Split
    tasks: Mapping[str, Measured]


@dataclass(frozen=True)
class Found:
    """The sides that can be compared, in the order in which they were named, and what a reader must know of others."""

    variant: Variant
    sides: tuple[Side, ...]
    notes: tuple[str, ...]


@dataclass
class _Group:
    """The results of one side while they are collected."""

    key: tuple[str, ...]
    argument: Path
    results: dict[str, tuple[Path, Result]]


def find_sides(paths: Sequence[Path], variant: str | None, tasks: Sequence[str]) -> Found:
    """The sides behind result files or folders of them, of one variant, restricted to ``tasks`` where any are named.

    Without a variant it is the one that every path has results of, "release" where there are several. A side named
    twice counts once. Raises LocoError where there is no such variant or task, where a side has two results of a task,
    and where results of two splits meet.
    """
    groups = _collected(paths)
    if not groups:
        where = ", ".join(map(str, paths))
        raise LocoError(f"No result of an evaluation in {where}. Write one with: loco eval --model bm25")
    chosen, notes = _variant(groups, paths, variant_named(variant) if variant is not None else None)
    groups = [group for group in groups if _first(group).variant == chosen]
    if tasks:
        known = {task for group in groups for task in group.results}
        unheard = [task for task in tasks if task not in known]
        if unheard:
            raise LocoError(
                f"No result of task '{unheard[0]}' ({chosen}) among these; there are: {', '.join(sorted(known))}."
            )
        for group in groups:
            group.results = {task: found for task, found in group.results.items() if task in tasks}
        groups = [group for group in groups if group.results]
    splits = {_first(group).split: group for group in groups}
    if len(splits) > 1:
        one, other = splits["test"], splits["train"]
        raise LocoError(
            f"{_where(one)} is of the test split and {_where(other)} of the train split: different queries, so not "
            "comparable. Name results of one split."
        )
    measured = []
    for group in groups:
        first = _first(group)
        if first.origin == "reported":
            notes.append(
                f"{first.model.name}, {_way(first)} is reported ({first.source}): no values by query, so nothing to "
                "compare query by query."
            )
        else:
            measured.append(group)
    sides = tuple(
        Side(label, _first(group).model, chosen, _first(group).split, _measured(group))
        for label, group in zip(_labels(measured), measured, strict=True)
    )
    return Found(chosen, sides, tuple(notes))


def check_comparable(task: str, sides: Sequence[Side]) -> None:
    """Raise a LocoError unless the sides' results of a task are of the same rows, and deep enough."""
    first = sides[0]
    one = first.tasks[task]
    for side in sides:
        other = side.tasks[task]
        ours, theirs = one.measurement.data.content, other.measurement.data.content
        parts = [name for name in ("queries", "documents", "qrels") if getattr(ours, name) != getattr(theirs, name)]
        if parts or one.measurement.per_query.keys() != other.measurement.per_query.keys():
            what = f"the content hashes of their {' and '.join(parts)}" if parts else "the ids of their queries"
            raise LocoError(
                f"{task} ({side.variant}): '{first.label}' and '{side.label}' were measured on different data: {what} "
                "differ, so their scores are not comparable. Measure both on one build."
            )
        if other.measurement.depth < _LEAST_DEPTH:
            raise LocoError(
                f"{other.path} ranks only {other.measurement.depth} documents a query, too few for nDCG@10: measure it "
                "again."
            )


def _collected(paths: Sequence[Path]) -> list[_Group]:
    """The results by side, in the order in which they were named."""
    groups: list[_Group] = []
    taken: set[Path] = set()
    for argument in paths:
        here: dict[tuple[str, ...], _Group] = {}
        for file in result_files(argument):
            place = file.resolve()
            if place in taken:
                continue
            taken.add(place)
            result = read_record(file)
            if not isinstance(result, Result):
                if file == argument:
                    raise LocoError(f"{file} is not the result of an evaluation: nothing in it to compare.")
                continue
            key = _key(result)
            group = here.setdefault(key, _Group(key, argument, {}))
            if result.task in group.results:
                raise LocoError(
                    f"Two results are of {result.task} ({result.variant}) by {result.model.name}, {_way(result)}: "
                    f"{group.results[result.task][0]} and {file}. Name them, or their folders, one by one."
                )
            group.results[result.task] = file, result
        for group in here.values():
            # The files of one side may be named one by one, as a shell spells a pattern out.
            same = next((g for g in groups if g.key == group.key and not g.results.keys() & group.results.keys()), None)
            if same is None:
                groups.append(group)
            else:
                same.results.update(group.results)
    return groups


def _key(result: Result) -> tuple[str, ...]:
    """What all results of a side have in common."""
    way = (result.strategy, result.vector_form, result.variant, result.split, result.origin, result.source)
    return (result.model.model_dump_json(), *way)


def _variant(groups: Sequence[_Group], paths: Sequence[Path], asked: Variant | None) -> tuple[Variant, list[str]]:
    """The variant to compare in, and what to say of the choice."""
    by_path: dict[Path, set[Variant]] = {}
    for group in groups:
        for file, result in group.results.values():
            for path in paths:
                if file == path or path in file.parents:
                    by_path.setdefault(path, set()).add(result.variant)
    everywhere = set.intersection(*by_path.values())
    idle = [f"{path} adds no result of an evaluation." for path in dict.fromkeys(paths) if path not in by_path]
    if asked is not None:
        without = [path for path, variants in by_path.items() if asked not in variants]
        if without:
            there = ", ".join(sorted(by_path[without[0]]))
            raise LocoError(
                f"{without[0]} has no result of variant '{asked}', only of {there}: variants have different rows and "
                "are never compared with each other."
            )
        return asked, idle
    if not everywhere:
        said = "; ".join(f"{path}: {', '.join(sorted(variants))}" for path, variants in by_path.items())
        raise LocoError(
            f"There is no variant that all have results of ({said}): variants have different rows and are never "
            "compared with each other."
        )
    if len(everywhere) == 1:
        return everywhere.pop(), idle
    names = ", ".join(sorted(everywhere))
    if "release" not in everywhere:
        raise LocoError(f"There are results of several variants: {names}. Choose one with --variant.")
    rest = sorted(everywhere - {"release"})
    return "release", [*idle, f"Variant release; there are results of {' and '.join(rest)} too (--variant {rest[0]})."]


def _measured(group: _Group) -> dict[str, Measured]:
    return {
        task: Measured(path, result, result.measurement)
        for task, (path, result) in group.results.items()
        if result.measurement is not None
    }


def _labels(groups: Sequence[_Group]) -> list[str]:
    """A name for each side, as short as tells it from the others."""
    firsts = [_first(group) for group in groups]
    plain = [f"{result.model.name}, {_way(result)}" for result in firsts]
    revised = [f"{name}, revision {result.model.revision}" for name, result in zip(plain, firsts, strict=True)]
    placed = [f"{name}, in {group.argument}" for name, group in zip(plain, groups, strict=True)]
    labels = []
    for number, name in enumerate(plain):
        if plain.count(name) == 1:
            labels.append(name)
        elif revised.count(revised[number]) == 1:
            labels.append(revised[number])
        elif placed.count(placed[number]) == 1:
            labels.append(placed[number])
        else:
            labels.append(f"{name}, number {number + 1}")
    return labels


def _first(group: _Group) -> Result:
    return next(iter(group.results.values()))[1]


def _where(group: _Group) -> str:
    return str(next(iter(group.results.values()))[0])


def _way(result: Result) -> str:
    return f"{result.strategy}, {result.vector_form}" if result.vector_form else result.strategy
