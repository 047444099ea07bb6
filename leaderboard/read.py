"""A folder of result files to a board. What cannot stand there is refused with a line, and the rest is built."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from loco.compare.statistics import Estimate, means
from loco.errors import LocoError
from loco.models.card import ModelIdentity
from loco.progress import tracked
from loco.reported import FILE, Average, Reported, averages, read_reported
from loco.results import NeedleResult, Result, SpeedResult, check_run, read_record
from loco.results.summary import equivalent
from loco.score.bootstrap import CONFIDENCE
from loco.score.metrics import PRIMARY
from loco.score.resampling import millionths
from loco.submission.names import check_texts, skeleton
from loco.submission.tree import LONELY, STRANGER, Tree, walk
from loco.tasks.card import task_cards

from .board import Board, Entry, Filed, Printed

_LARGEST_TOML = 1_000_000
_TRAINING = {True: "trained", False: "zero-shot", None: "unknown"}
_BENCHMARK = "LoCoV1"
_SLUG = 80  # characters of a name in an address
_ID = 200  # of an entry's id, which is the name of a file
_REVISION = 12  # characters of a revision in a name


def read_board(root: Path) -> Board:
    """What the result files below a folder come to.

    Links are not followed, and files that are too large, too deep, oddly named, invalid, misleading or without the run
    that they were scored from are not believed: each is a line of ``Board.refused``. Other files are passed over.
    Averages that were reported alone come from each ``reported.toml`` there. Raises LocoError where there is no folder,
    or nothing in it.
    """
    if not root.is_dir():
        raise LocoError(f"No folder {root} of results. Write results with: loco eval --model bm25 --out FOLDER")
    tree = walk(root.resolve())
    reading = _Reading(tree)
    for file in tracked(tree.results, "Reading results"):
        reading.take(file)
    believed = _reported(tree.root, reading.refused)
    reported = {folder: averages(one) for folder, one in believed.items()}
    reading.take_masks_off(average.model for some in reported.values() for average in some)
    entries = _with_reported(_entries(reading.filed, reading.refused), reported)
    return Board(
        root=tree.root,
        entries=tuple(_measured_averages(_named(entries))),
        needles=tuple(reading.needles),
        speeds=tuple(reading.speeds),
        reported=tuple(believed.values()),
        refused=tuple(reading.refused),
    )


@dataclass
class _Reading:
    """The files one by one: what each holds, or why it is refused."""

    tree: Tree
    filed: list[Filed] = field(default_factory=list)
    needles: list[tuple[str, NeedleResult]] = field(default_factory=list)
    speeds: list[tuple[str, SpeedResult]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._odd = {
            finding.path: finding.text
            for finding in self.tree.findings
            if finding.text not in (STRANGER, LONELY) and not Path(finding.path).name.startswith(".")
        }
        self.refused += [f"{path or 'The folder of results'}: {text}." for path, text in self._odd.items()]

    def take(self, file: Path) -> None:
        name = self.tree.relative(file)
        if any(name == odd or name.startswith(f"{odd}/") for odd in self._odd):
            return
        try:
            record = read_record(file)
            _check_shown(record)
            check_run(file, record)
        except (LocoError, RecursionError) as error:
            text = str(error).replace(f"{file} is not a valid result: ", "").replace(f"{file.parent}/", "")
            self.refused.append(f"{name}: {text.rstrip('.')}.")
            return
        if isinstance(record, Result):
            self.filed.append(Filed(name, record))
        elif isinstance(record, NeedleResult):
            self.needles.append((name, record))
        elif isinstance(record, SpeedResult):
            self.speeds.append((name, record))

    def take_masks_off(self, others: Iterable[str]) -> None:
        """Refuse the files of models whose names look like those of others: one in plain ASCII is the true one."""
        true = {
            skeleton(name): name for name in (*others, *(model.name for _, model in self._models())) if name.isascii()
        }
        masks = {
            path: f"{path}: the model is called {model.name!a}, which looks like '{true[skeleton(model.name)]}'."
            for path, model in self._models()
            if not model.name.isascii() and skeleton(model.name) in true
        }
        self.refused += masks.values()
        self.filed = [one for one in self.filed if one.path not in masks]
        self.needles = [one for one in self.needles if one[0] not in masks]
        self.speeds = [one for one in self.speeds if one[0] not in masks]

    def _models(self) -> Iterator[tuple[str, ModelIdentity]]:
        yield from ((one.path, one.result.model) for one in self.filed)
        yield from ((path, needle.model) for path, needle in self.needles)
        yield from ((path, speed.model) for path, speed in self.speeds)


def _check_shown(record: BaseModel) -> None:
    """Raise a LocoError for texts that steer what shows them, numbers that are none, and intervals that mislead."""
    for finding in check_texts(record):
        raise LocoError(finding.text)
    made = record.measurement if isinstance(record, Result) else record
    intervals = getattr(made, "bootstrap", None)
    if intervals is not None and intervals.confidence != CONFIDENCE:
        raise LocoError(f"its intervals are of {intervals.confidence:.4g}, and those here are of {CONFIDENCE}")


def _entries(filed: Iterable[Filed], refused: list[str]) -> list[Entry]:
    """Results of one model, under one strategy on one variant, as a row."""
    groups: dict[tuple[object, ...], dict[str, Filed]] = {}
    for one in filed:
        group = groups.setdefault(_together(one.result), {})
        other = group.setdefault(one.result.task, one)
        if other is not one:
            refused.append(
                f"{one.path}: {other.path} has the same model, revision, strategy and task already. Remove one of "
                "them, or give the model another revision."
            )
    usual = _usual_data(groups.values())
    return [_entry(group, usual) for group in groups.values()]


def _together(result: Result) -> tuple[object, ...]:
    """What results have in common that stand in one row."""
    model = result.model
    settings = tuple(sorted((name, str(value)) for name, value in model.parameters.items()))
    who = (model.name, model.revision, model.max_tokens, model.trained_on_loco, model.untrained, settings)
    return (*who, _way(result), result.variant, result.split, result.origin)


def _way(result: Result) -> str:
    return f"{result.strategy}, {result.vector_form}" if result.vector_form else result.strategy


def _contents(result: Result) -> str:
    """What the rows say that a result was measured on; empty for a reported one."""
    if result.measurement is None:
        return ""
    content = result.measurement.data.content
    return f"{content.queries} {content.documents} {content.qrels}"


def _usual_data(groups: Iterable[Mapping[str, Filed]]) -> dict[tuple[str, str, str], str]:
    """For each task of a variant the contents that most results are of: those are comparable with each other."""
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for group in groups:
        for task, one in group.items():
            if contents := _contents(one.result):
                counts.setdefault((one.result.variant, one.result.split, task), Counter())[contents] += 1
    return {key: max(sorted(counter), key=lambda contents: counter[contents]) for key, counter in counts.items()}


def _entry(group: Mapping[str, Filed], usual: Mapping[tuple[str, str, str], str]) -> Entry:
    cells = {task: group[task] for task in _in_order(group)}
    first = next(iter(cells.values())).result
    imported = first.variant == "imported"
    tasks = tuple(cells) if imported else tuple(task_cards())
    other = {
        task: contents
        for task, one in cells.items()
        if (contents := _contents(one.result)) and contents != usual[first.variant, first.split, task]
    }
    return Entry(
        id="",
        model=first.model,
        way=_way(first),
        variant=first.variant,
        split=first.split,
        origin=first.origin,
        training="untrained" if first.model.untrained else _TRAINING[first.model.trained_on_loco],
        cells=cells,
        tasks=tasks,
        average=_plain_average(cells, tasks),
        equivalent="; ".join(dict.fromkeys(filter(None, (equivalent(one.result) for one in cells.values())))),
        sources=tuple(dict.fromkeys(filter(None, (one.result.source for one in cells.values())))),
        benchmark=", ".join(map(_listed, tasks)) if imported else _BENCHMARK,
        data=_short_hash(repr(sorted(other.items()))) if other else "",
    )


def _listed(task: str) -> str:
    """A task's name in a list of them; a stranger's that could pass for two stands in quotes."""
    return repr(task) if any(sign in task for sign in ",'\"") else task


def _plain_average(cells: Mapping[str, Filed], tasks: Sequence[str]) -> float | None:
    if any(task not in cells for task in tasks):
        return None
    return sum(cells[task].result.metrics[PRIMARY].value for task in tasks) / len(tasks)


def _reported(root: Path, refused: list[str]) -> dict[str, Reported]:
    """What each ``reported.toml`` says, by the folder it is in, relative to the root."""
    found = {}
    for file in sorted((*root.glob(FILE), *root.glob(f"*/{FILE}"))):
        name = file.relative_to(root).as_posix()
        try:
            read = _read_toml(file)
            averages(read)  # a model that cannot be one shows only here
            found[name.removesuffix(FILE)] = read
        except (LocoError, RecursionError, ValidationError) as error:
            text = str(error)
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                text = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
            refused.append(f"{name}: {text.replace(f'Cannot read {file}: ', '').rstrip('.')}.")
    return found


def _read_toml(file: Path) -> Reported:
    if file.resolve() != file or not file.is_file() or file.stat().st_size > _LARGEST_TOML:
        raise LocoError(f"not a plain file of at most {_LARGEST_TOML:,} bytes")
    reported = read_reported(file)
    _check_shown(reported)
    return reported


def _with_reported(entries: Sequence[Entry], reported: Mapping[str, Sequence[Average]]) -> list[Entry]:
    """The entries with what is printed of them, and one more for each average that was reported alone."""
    by_key: dict[tuple[str, ...], list[tuple[str, Average]]] = {}
    alone = []
    for folder, some in sorted(reported.items()):
        for average in some:
            if average.computed is None:
                alone.append(_alone(average))
            else:
                key = (average.model, average.strategy, average.variant)
                by_key.setdefault(key, []).append((folder, average))
    told = []
    for entry in entries:
        known = by_key.get((entry.model.name, entry.way, entry.variant), []) if entry.origin == "reported" else []
        own = [average for folder, average in known if _is_of(entry, folder, average)]
        told.append(_told(entry, min(own, key=lambda average: len(average.tasks))) if own else entry)
    return [*told, *alone]


def _is_of(entry: Entry, folder: str, average: Average) -> bool:
    """Whether the cells of an entry are those of an average, or some of them."""
    return set(entry.cells) <= set(average.tasks) and all(one.path.startswith(folder) for one in entry.cells.values())


def _told(entry: Entry, average: Average) -> Entry:
    tasks = _in_order(average.tasks)
    return replace(
        entry,
        tasks=tasks,
        benchmark=average.benchmark,
        average=_plain_average(entry.cells, tasks),
        printed=_printed(average),
        remarks=average.remarks,
    )


def _alone(average: Average) -> Entry:
    return Entry(
        id="",
        model=average.identity,
        way=average.strategy,
        variant=average.variant,
        split="test",
        origin="reported",
        training=_TRAINING[average.trained_on_loco],
        cells={},
        tasks=_in_order(average.tasks),
        average=None,
        sources=tuple(source for source, _ in average.printed),
        printed=_printed(average),
        remarks=average.remarks,
        benchmark=average.benchmark,
    )


def _printed(average: Average) -> tuple[Printed, ...]:
    return tuple(
        Printed(source, percent, (source, percent) in average.differing) for source, percent in average.printed
    )


def _measured_averages(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, the averages of complete measured ones with their intervals.

    They are those of ``loco compare --rank``. Rows with equally many queries in each task have the same draws.
    """
    alike: dict[tuple[tuple[str, int], ...], list[Entry]] = {}
    values = {entry.id: _values(entry) for entry in entries if entry.average is not None}
    for entry in entries:
        if tasks := values.get(entry.id):
            alike.setdefault(tuple((task, len(queries)) for task, queries in tasks.items()), []).append(entry)
    estimates: dict[str, Estimate] = {}
    for tasks_and_queries, members in tracked(list(alike.items()), "Resampling"):
        columns = {task: millionths([values[entry.id][task] for entry in members]).T for task, _ in tasks_and_queries}
        estimates.update(zip((entry.id for entry in members), means(columns), strict=True))
    return [replace(entry, average=estimates.get(entry.id, entry.average)) for entry in entries]


def _values(entry: Entry) -> dict[str, list[float]]:
    """nDCG@10 by task, queries in the order of their ids; empty where a task was not measured."""
    values = {}
    for task in entry.tasks:
        measurement = entry.cells[task].result.measurement
        if measurement is None:
            return {}
        values[task] = [measurement.per_query[query] for query in sorted(measurement.per_query)]
    return values


def _named(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their ids, in the order of these: by what they are of alone, whatever the files are called."""
    names = _ids({entry.model.name: _slug(entry.model.name) for entry in entries})
    revisions: dict[str, set[str]] = {}
    for entry in entries:
        revisions.setdefault(entry.model.name, set()).add(entry.model.revision)
    keyed = {}
    for entry in entries:
        name, revision = entry.model.name, entry.model.revision
        shown = f"{name} ({revision[:_REVISION] or 'no revision'})" if len(revisions[name]) > 1 else name
        keyed[_key(entry)] = replace(entry, model_id=names[name], name=shown)
    ids = _ids({key: "-".join(_words(entry))[:_ID].strip("-") for key, entry in keyed.items()})
    named = _told_apart(list(keyed.items()))
    return sorted((replace(entry, id=ids[key]) for key, entry in named), key=lambda entry: entry.id)


def _told_apart(entries: Sequence[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """The entries by their keys; those that would look the same say what they were set to, or are numbered."""
    alike: dict[tuple[object, ...], list[tuple[str, Entry]]] = {}
    for key, entry in sorted(entries, key=lambda one: one[0]):
        alike.setdefault((entry.label, entry.league), []).append((key, entry))
    named = []
    for some in alike.values():
        settings = [_settings(entry.model) for _, entry in some]
        shared = set.intersection(*map(set, settings))
        for number, ((key, entry), own) in enumerate(zip(some, settings, strict=True), start=1):
            if len(some) > 1:
                said = ", ".join(one for one in own if one not in shared)
                plain = len({tuple(other) for other in settings}) == len(some) and len(said) <= _SLUG
                entry = replace(entry, name=f"{entry.name} ({said if said and plain else f'no. {number}'})")
            named.append((key, entry))
    return named


def _settings(model: ModelIdentity) -> list[str]:
    window = [] if model.max_tokens is None else [f"window={model.max_tokens}"]
    return [*window, *(f"{name}={value}" for name, value in sorted(model.parameters.items()))]


def _words(entry: Entry) -> list[str]:
    split = [] if entry.split == "test" else [entry.split]
    benchmark = [] if entry.benchmark == _BENCHMARK or entry.variant == "imported" else [_slug(entry.benchmark)]
    return [entry.model_id, _slug(entry.way), entry.variant, entry.origin, *benchmark, *split]


def _key(entry: Entry) -> str:
    """All that tells an entry from others."""
    identity = entry.model.model_dump_json(exclude={"description", "licence", "url", "weights", "family"})
    alone = "" if entry.cells else "; ".join(entry.sources)
    return f"{identity} {entry.way} {entry.variant} {entry.split} {entry.origin} {entry.benchmark} {alone}"


def _ids(slugs: Mapping[str, str]) -> dict[str, str]:
    """An id for each key: its slug, and a hash of the key where others have the same. No two keys have one id."""
    counts = Counter(slugs.values())
    taken = {slug for slug, count in counts.items() if count == 1}
    ids = {}
    for key, slug in sorted(slugs.items()):
        ids[key] = slug
        if counts[slug] > 1:
            short = f"{slug}-{_short_hash(key)}"  # which whoever chooses names can make to be another's
            ids[key] = f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:32]}" if short in taken else short
            taken.add(ids[key])
    return ids


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower(), flags=re.ASCII).strip("-")[:_SLUG].strip("-") or "x"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _in_order(tasks: Iterable[str]) -> tuple[str, ...]:
    order = {name: place for place, name in enumerate(task_cards())}
    return tuple(sorted(tasks, key=lambda task: (order.get(task, len(order)), task)))
