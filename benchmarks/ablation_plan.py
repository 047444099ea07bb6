"""What an ablation compares: arms, and the stages that their models are made in, read from TOML files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from loco.errors import LocoError, one_line
from loco.files import read_toml
from loco.results.parts import Name, Part
from loco.training.families import Features
from loco.training.options import Finetuning, Pretraining

SHARED = "shared.toml"

Setting = bool | int | float | str
Settings = dict[str, Setting]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Measure = Literal["nDCG@10", "accuracy"]


Kind = TypeVar("Kind", bound=Part)
Options = TypeVar("Options", Pretraining, Finetuning)


class Stage(Part):
    """One run of ``loco pretrain`` or ``loco train``. ``start`` is the stage whose model it goes on from; without one,
    a model is pretrained from random weights. ``settings`` are those that differ from the ones all such runs share.
    """

    do: Literal["pretrain", "train"]
    start: Name | None = None
    window: int | None = None
    features: Features = "tiled"
    teacher: Name | None = None
    settings: Settings = Field(default_factory=dict)


class Arm(Part):
    """One side of a comparison: its name, the stage that makes its model, and what the paper has for its like, in %."""

    name: Name
    model: Name
    paper: float | None = None


class Data(Part):
    """``tasks`` of mini that are trained and tested on; the ``train`` seeds of their train splits, and the one whose
    texts no model is trained on (``held_out``); how many words a vocabulary made of the train texts has.
    """

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    train: Annotated[tuple[Seed, ...], Field(min_length=1)]
    held_out: Seed
    vocabulary: int


class Shared(Part):
    """What all tables share: data, the model's shape, settings of every run, and stages that several build upon."""

    data: Data
    shape: Settings
    pretrain: Settings
    train: Settings
    stages: dict[Name, Stage] = Field(default_factory=dict)


class _File(Part):
    title: str
    source: str
    measure: Measure
    equal: str
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    stages: dict[Name, Stage] = Field(default_factory=dict)


class Table(Part):
    """A comparison: its arms, the stages by name, what is ``measure``d, and what is held ``equal`` between the arms."""

    name: Name
    title: str
    source: str
    measure: Measure
    equal: str
    arms: tuple[Arm, ...]
    shared: Shared
    stages: dict[Name, Stage]

    def pretraining(self, stage: Stage, seed: int) -> Pretraining:
        """The settings of a stage that pretrains. Raises LocoError for one that there is not."""
        return _made(Pretraining, {**self.shared.pretrain, **stage.settings, "seed": seed})

    def finetuning(self, stage: Stage, seed: int) -> Finetuning:
        """The settings of a stage that trains for retrieval. Raises LocoError for one that there is not."""
        return _made(Finetuning, {**self.shared.train, **stage.settings, "seed": seed})

    def chain(self, model: str) -> Iterator[str]:
        """The stages behind a model, in the order they run in, each once: teachers before those who learn of them."""
        seen: dict[str, None] = {}

        def visit(name: str, below: tuple[str, ...]) -> None:
            if name in below:
                raise LocoError(f"{self.name}: the stage '{name}' starts from itself. Name another start.")
            stage = self.stages.get(name)
            if stage is None:
                raise LocoError(f"{self.name}: there is no stage '{name}'. There are: {', '.join(self.stages)}.")
            for earlier in (stage.teacher, stage.start):
                if earlier is not None:
                    visit(earlier, (*below, name))
            seen.setdefault(name)

        visit(model, ())
        return iter(seen)

    def line(self, model: str) -> Iterator[str]:
        """The stages that a model itself has been through, the last one first."""
        name: str | None = model
        while name is not None:
            yield name
            name = self.stages[name].start


def tables(folder: Path) -> list[str]:
    """The names of the tables in a folder."""
    return sorted(path.stem for path in folder.glob("*.toml") if path.name != SHARED)


def table(folder: Path, name: str) -> Table:
    """A table of a folder with TOML files, checked. Raises LocoError for a name that is none, and for what is wrong."""
    known = tables(folder)
    if name not in known:
        raise LocoError(f"There is no table '{name}'. There are: {', '.join(known) or f'none in {folder}'}.")
    shared, own = _read(Shared, folder / SHARED), _read(_File, folder / f"{name}.toml")
    twice = sorted(shared.stages.keys() & own.stages.keys())
    if twice:
        raise LocoError(f"{name}: the stage '{twice[0]}' stands in {SHARED} too. Give it another name.")
    made = Table(
        name=name,
        title=own.title,
        source=own.source,
        measure=own.measure,
        equal=own.equal,
        arms=own.arms,
        shared=shared,
        stages={**shared.stages, **own.stages},
    )
    _check(made)
    return made


def _read(kind: type[Kind], path: Path) -> Kind:
    try:
        return kind.model_validate(read_toml(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise LocoError(f"{path}: {where}: {problem['msg']}.") from error
    except (OSError, ValueError) as error:
        raise LocoError(f"Cannot read {path}: {one_line(error)}.") from error


def _made(kind: type[Options], said: Mapping[str, Setting]) -> Options:
    what = kind.__name__.lower()
    strange = sorted(said.keys() - {field.name for field in fields(kind)})
    if strange:
        raise LocoError(f"There is no setting '{strange[0]}' of {what}. Correct its name.")
    try:
        return kind(**said)  # type: ignore[arg-type]  # what they are is checked there
    except TypeError as error:
        raise LocoError(f"These are no settings of {what}: {one_line(error)}.") from error


def _check(made: Table) -> None:
    if len({arm.name for arm in made.arms}) < len(made.arms):
        raise LocoError(f"{made.name}: two arms have the same name. Give each its own.")
    for arm in made.arms:
        for name in made.chain(arm.model):
            stage = made.stages[name]
            if stage.do == "pretrain":
                made.pretraining(stage, 0)
            elif stage.start is None:
                raise LocoError(f"{made.name}: the stage '{name}' trains nothing: name its start.")
            elif made.finetuning(stage, 0).loss == "prototype" and stage.teacher is None:
                raise LocoError(f"{made.name}: the stage '{name}' learns from a teacher: name one.")
            if stage.teacher is not None and made.stages[stage.teacher].do != "train":
                raise LocoError(f"{made.name}: '{stage.teacher}' has no vectors to teach: name a stage that trains.")
        wanted = "train" if made.measure == "nDCG@10" else "pretrain"
        if made.stages[arm.model].do != wanted:
            raise LocoError(f"{made.name}: {made.measure} is of a model of loco {wanted}, which '{arm.model}' is not.")
    windows = {made.stages[arm.model].window for arm in made.arms}
    if made.measure == "accuracy" and (len(windows) > 1 or None in windows):
        raise LocoError(f"{made.name}: accuracy is compared at one window: give the last stage of each arm the same.")
