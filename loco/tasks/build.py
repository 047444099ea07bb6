"""From a task, a variant and a split to the builder that can make it.

A builder is a module of :mod:`loco.tasks.builders` with the shape of :class:`Builder`; a new source is one more of
them in ``_BUILDERS``. The variant ``mini`` is generated and reads no source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loco.errors import LocoError
from loco.settings import data_folder
from loco.tasks.builders import courtlistener, legal_cases, longbench, qasper, release, scrolls, stackoverflow
from loco.tasks.card import TaskCard, task_card, task_cards
from loco.tasks.data import (
    AUDIT_FILE,
    VARIANTS,
    Manifest,
    Split,
    TaskData,
    Variant,
    check_file,
    read_manifest,
    split_named,
    task_folder,
    variant_named,
    write_task,
)
from loco.tasks.sources.hub import HubError


class Builder(Protocol):
    """What a builder module offers."""

    NAME: str
    VERSION: int

    def tasks(self, variant: Variant, split: Split) -> Sequence[str]:
        """The tasks it can make in a variant and split."""

    def wanted(self, task: str, split: Split) -> str:
        """The files it needs and how they lie in a folder, for people."""

    def holds(self, task: str, source: Path) -> bool:
        """Whether a file or folder looks like its layout for the task."""

    def build(self, card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
        """The task from a file or folder that it holds, or from the hub for None."""


# In order of preference: the official release comes before what stands in for it.
_BUILDERS: tuple[Builder, ...] = (release, scrolls, qasper, longbench, courtlistener, legal_cases, stackoverflow)

# What is downloaded only for a user who names the task.
_LARGE = {"stackoverflow": "about 35 GB"}


@dataclass(frozen=True)
class Outcome:
    """What became of one task of several: its manifest, or the problem in one line.

    ``kept`` says that the task stood there already, made by the same builder; ``stands`` that an earlier build is still
    there after a problem.
    """

    task: str
    variant: Variant
    manifest: Manifest | None = None
    problem: str = ""
    kept: bool = False
    stands: bool = False


def buildable(variant: Variant, split: Split = "test") -> list[str]:
    """The tasks that can be built in a variant, in the order of their cards."""
    return [name for name in task_cards() if variant == "mini" or _builders(name, variant, split)]


def build_data(
    task: str,
    variant: str = "release",
    *,
    split: str = "test",
    source: Path | str | None = None,
    out: Path | str | None = None,
    seed: int | None = None,
    sections: Sequence[str] | None = None,
) -> Manifest:
    """Build a task and write it to ``<out>/<variant>/<task>/``, by default below the user's data folder.

    ``source`` is a file or folder with the upstream data; without it they come from the hub. The split "train" is
    written beside test, as ``<task>.train``. ``seed`` is for the variant "mini", ``sections`` for legal_case_reports
    (:data:`loco.tasks.builders.legal_cases.SECTIONS`). Raises LocoError for everything a user can mend; an earlier
    build then stays as it was.
    """
    card, chosen, part = task_card(task), variant_named(variant), split_named(split)
    built = build_task(card, chosen, None if source is None else Path(source), split=part, seed=seed, sections=sections)
    data = data_folder(out)
    manifest = write_task(built, data)
    if part == "train":  # what an audit of the test split says of its overlap with train no longer holds
        (task_folder(data, chosen, task) / AUDIT_FILE).unlink(missing_ok=True)
    return manifest


def build_named(
    tasks: Sequence[str],
    variant: Variant,
    split: Split,
    source: Path | None,
    out: Path,
    seed: int | None = None,
    sections: Sequence[str] | None = None,
) -> Iterator[Outcome]:
    """Build some tasks, one after the other; what fails is told, and the others go on.

    Raises LocoError for a name nobody knows, before anything is built.
    """
    _check_seed(variant, seed)
    for task in dict.fromkeys(task_card(name).name for name in tasks):
        try:
            manifest = build_data(task, variant, split=split, source=source, out=out, seed=seed, sections=sections)
        except LocoError as error:
            stands = _folder_stands(task, variant, split, out)
            yield Outcome(task, variant, problem=str(error), stands=stands)
        else:
            yield Outcome(task, variant, manifest)


def build_everything(
    variant: Variant, split: Split, source: Path | None, out: Path, seed: int | None = None, *, force: bool = False
) -> Iterator[Outcome]:
    """Build every task that can be reached, one after the other.

    A task that stands there already, made by the same version of its builder, is kept unless ``force``; what is
    generated (mini) is made anew.
    """
    _check_seed(variant, seed)
    if not buildable(variant, split):
        raise LocoError(f"Nothing makes a {split} split of the variant '{variant}'. See: loco build-data --help")
    for task in task_cards():
        standing = None if force else _standing(task, variant, split, out)
        if standing is not None:
            yield Outcome(task, variant, standing, kept=True)
        elif variant == "paper" and source is None and task in _LARGE:
            problem = f"left out, since its download takes {_LARGE[task]}. Run: {_command(task, variant, split)}"
            yield Outcome(task, variant, problem=problem)
        else:
            yield from build_named([task], variant, split, source, out, seed)


def build_task(
    card: TaskCard,
    variant: Variant,
    source: Path | None = None,
    *,
    split: Split = "test",
    seed: int | None = None,
    sections: Sequence[str] | None = None,
) -> TaskData:
    """Build a task in memory by the first builder that can make it, with ``source`` the first that finds its files."""
    _check_seed(variant, seed)
    if variant == "mini":
        return _mini(card, split, source, seed)
    if sections is not None:
        return _legal_cases(card, variant, split, source, sections)
    builders = _builders(card.name, variant, split)
    if not builders:
        known = [name for name in VARIANTS if card.name in buildable(name, split)]
        raise LocoError(
            f"No builder makes the {split} split of {card.name} in the variant '{variant}'. It can be built as: "
            f"{', '.join(known)}. Run: {_command(card.name, known[0], split)}"
        )
    if source is None:
        return _from_hub(builders[0], card, variant, split)
    try:
        if not source.exists():
            raise LocoError(f"{source} does not exist. Instead, {_by_hand(builders, card, variant, split)}")
        for builder in builders:
            for place in _places(source):
                if builder.holds(card.name, place):
                    return builder.build(card, variant, split, place)
    except OSError as error:
        raise LocoError(f"Cannot read {source}: {error.strerror or error}.") from error
    raise LocoError(
        f"{source} holds no files of {card.name} ({variant}). Instead, {_by_hand(builders, card, variant, split)}"
    )


def _places(source: Path) -> list[Path]:
    """Where to look: the file or folder itself, then the folders in it."""
    folders = sorted(path for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    return [source, *(folder for folder in folders if not folder.name.startswith("."))]


def _check_seed(variant: Variant, seed: int | None) -> None:
    if seed is not None and variant != "mini":
        raise LocoError(f"A seed is for the variant 'mini', which is generated; '{variant}' is read from its source.")


def _standing(task: str, variant: Variant, split: Split, out: Path) -> Manifest | None:
    """The manifest of a task that need not be built again, None where it is missing, damaged or an older builder's."""
    try:
        manifest = read_manifest(out, variant, task, split)
        if manifest is None:
            return None
        for name in manifest.files:
            check_file(out, manifest, name)
    except LocoError:
        return None
    made = manifest.provenance
    current = (made.builder, made.builder_version) in {(builder.NAME, builder.VERSION) for builder in _BUILDERS}
    return manifest if current else None


def _folder_stands(task: str, variant: Variant, split: Split, out: Path) -> bool:
    try:
        return read_manifest(out, variant, task, split) is not None
    except LocoError:
        return False


def _mini(card: TaskCard, split: Split, source: Path | None, seed: int | None) -> TaskData:
    from loco.tasks.builders import mini

    if source is not None:
        raise LocoError("The variant 'mini' is generated and reads no files. Leave out --from.")
    return mini.build(card, split) if seed is None else mini.build(card, split, seed)


def _legal_cases(
    card: TaskCard, variant: Variant, split: Split, source: Path | None, sections: Sequence[str]
) -> TaskData:
    if card.name not in legal_cases.tasks(variant, split) or source is None:
        raise LocoError("Sections are for legal_case_reports --variant paper --from PATH: they make up its queries.")
    return legal_cases.build_with(card, variant, split, source, sections)


def _from_hub(builder: Builder, card: TaskCard, variant: Variant, split: Split) -> TaskData:
    try:
        return builder.build(card, variant, split, None)
    except HubError as error:
        raise LocoError(f"{error} Without the hub, {_by_hand([builder], card, variant, split)}") from error


def _by_hand(builders: Sequence[Builder], card: TaskCard, variant: Variant, split: Split) -> str:
    files = "; or ".join(builder.wanted(card.name, split) for builder in builders)
    return f"put into a folder DIR: {files}. Then run: {_command(card.name, variant, split)} --from DIR"


def _command(task: str, variant: Variant, split: Split) -> str:
    return f"loco build-data {task} --variant {variant}" + (f" --split {split}" if split != "test" else "")


def _builders(task: str, variant: Variant, split: Split) -> list[Builder]:
    return [builder for builder in _BUILDERS if task in builder.tasks(variant, split)]
