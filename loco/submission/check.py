"""A submission from its files to a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from loco.errors import LocoError
from loco.files import sha256_of
from loco.models.registry import model_cards
from loco.progress import tracked
from loco.results import Result, read_record, result_files, result_path, run_path
from loco.results.summary import average
from loco.submission.figures import check_figures, check_times
from loco.submission.findings import LEVELS, Finding, Report, Row
from loco.submission.history import Placed, check_duplicates, check_history
from loco.submission.known import check_data
from loco.submission.names import check_link, check_name, check_texts
from loco.submission.provenance import check_model, check_provenance, check_source
from loco.submission.runs import digest, judged, read_checked, rescore
from loco.submission.tree import Tree, walk
from loco.tasks.card import task_cards

_MOST_TEXTS = 20  # findings of one file's texts


def check_submission(path: Path, against: Path | None, data: Path) -> Report:
    """Check a result file, or all of a folder.

    ``against`` is the folder of results that these are to join: what stands there byte for byte is not checked again,
    and what it holds under the same name is what must not change. ``data`` is the folder of built tasks; runs of tasks
    that are built there with the same contents are scored again.

    Raises LocoError where there is nothing to check, or nothing to compare with.
    """
    tree = walk(path)
    base, unchanged = _base(against, tree)
    check = _Check(tree, data)
    files = [file for file in tree.results if file not in unchanged]
    for file in tracked(files, "Checking results"):
        check.take(file, whole=path.is_dir())
    kept = [placed for placed in base if placed.name not in {found.name for found in check.placed}]
    known = [*model_cards(), *(placed.result.model.name for placed in base)]
    findings = [
        *check.findings,
        *_check_names(check.names, known),
        *check_duplicates(check.placed, base, check.runs),
        *check_history(check.placed, base),
    ]
    rows = list(_rows(check.placed, kept))
    findings += [
        Finding(
            "warning",
            "tasks",
            f"partial, {len(row.tasks)} of {row.expected} tasks: shown as that, its average ranked with no other",
            f"{row.model}, {row.strategy} ({row.variant}, {row.origin})",
        )
        for row in rows
        if row.partial
    ]
    findings = sorted(dict.fromkeys(findings), key=lambda one: (LEVELS.index(one.level), one.path, one.about, one.text))
    return Report(len(files), len(tree.results) - len(files), check.rescored, tuple(rows), tuple(findings))


class _Check:
    """The files of a submission one by one, and what is kept of each for those that follow."""

    def __init__(self, tree: Tree, data: Path) -> None:
        self._tree, self._data = tree, data
        self.findings: list[Finding] = list(tree.findings)
        self.placed: list[Placed] = []
        self.runs: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.rescored = 0

    def take(self, file: Path, *, whole: bool) -> None:
        """Check a file. ``whole``: it stands in a folder, whose structure then has to be right."""
        name = self._tree.relative(file)
        try:
            record = read_record(file)
        except (LocoError, RecursionError) as error:
            text = str(error).replace(f"{file} is not a valid result: ", "").replace(str(file), file.name)
            self.findings.append(Finding("error", "schema", text.rstrip("."), name))
            return
        self.names.setdefault(record.model.name, name)
        found = [*islice(check_texts(record), _MOST_TEXTS), *check_link(record.model)]
        if any(finding.about == "schema" for finding in found):  # numbers that nothing can be worked out with
            self.findings += [replace(finding, path=name) for finding in found]
            return
        found += [*check_times(record), *check_model(record)]
        if isinstance(record, Result):
            self.placed.append(Placed(file, name, record))
            found += [*self._place(file, record)] if whole else []
            found += self._measured(file, name, record)
        self.findings += [replace(finding, path=name) for finding in found]

    def _place(self, file: Path, result: Result) -> Iterator[Finding]:
        right = result_path(result.model.name, result.strategy, result.variant, result.task, result.vector_form)
        if file.parts[-len(right.parts) :] != right.parts:
            yield Finding(
                "error", "files", f"is not where loco would write it, which is {right.as_posix()} below a folder"
            )

    def _measured(self, file: Path, name: str, result: Result) -> Iterator[Finding]:
        measurement = result.measurement
        if measurement is None:
            yield from check_source(result)
            return
        yield from check_data(result, measurement)
        yield from check_figures(result, measurement)
        yield from check_provenance(result, measurement)
        if run_path(file) not in self._tree.runs and run_path(file).is_file():
            return  # refused already
        run, found = read_checked(file, measurement)
        yield from found
        if run is None:
            return
        self.runs[name] = digest(run)
        task = judged(result, measurement, self._data)
        if task is None:
            yield Finding("note", "run", "was not scored again: its task is not built here with the same contents")
            return
        self.rescored += 1
        yield from rescore(result, measurement, run, task)


def _base(against: Path | None, tree: Tree) -> tuple[list[Placed], set[Path]]:
    """The results a submission is to join, and which of its own files are among them as they are."""
    if against is None:
        return [], set()
    if not against.is_dir():
        raise LocoError(f"No folder {against} of results to compare with.")
    base = []
    for file in tracked(list(result_files(against)), "Reading results"):
        try:
            record = read_record(file)
        except LocoError:
            continue  # not the submission's fault
        if isinstance(record, Result):
            base.append(Placed(file, file.relative_to(against).as_posix(), record))
    unchanged = {
        file
        for file in tree.results
        if _equal(file, against / tree.relative(file))
        and _equal(run_path(file), run_path(against / tree.relative(file)))
    }
    return base, unchanged


def _equal(one: Path, other: Path) -> bool:
    """Whether two files say the same, or are both missing."""
    if not one.is_file() or not other.is_file():
        return one.is_file() == other.is_file()
    return one.stat().st_size == other.stat().st_size and sha256_of(one) == sha256_of(other)


def _check_names(names: dict[str, str], known: Iterable[str]) -> Iterator[Finding]:
    """Each model's name once, against those that were there and those that come with it."""
    known = list(dict.fromkeys([*known, *names]))
    for name, path in names.items():
        for finding in check_name(name, known):
            yield replace(finding, path=path)


def _rows(new: Sequence[Placed], base: Sequence[Placed]) -> Iterator[Row]:
    """A row for each average that new results are part of."""
    groups: dict[tuple[str, ...], dict[str, Result]] = {}
    fresh = {_group(placed.result) for placed in new}
    for placed in (*base, *new):
        if _group(placed.result) in fresh:
            groups.setdefault(_group(placed.result), {})[placed.result.task] = placed.result
    for results in groups.values():
        first = next(iter(results.values()))
        way = f"{first.strategy}, {first.vector_form}" if first.vector_form else first.strategy
        expected = None if first.variant == "imported" else len(task_cards())
        mean = average(list(results.values()))
        yield Row(first.model.name, way, first.variant, first.origin, tuple(results), expected, mean)


def _group(result: Result) -> tuple[str, ...]:
    model = result.model
    way = (result.strategy, result.vector_form, result.variant, result.split, result.origin, result.source)
    return (model.name, model.revision, *way)
