"""A run on disk: where it keeps what it has done, what makes it the same run again, and how it ends.

Beside the folder ``OUT`` to be made stands ``OUT.training`` for as long as it is being made::

    run.json          what decides the weights: the same command goes on, another is refused
    checkpoint-N/     the newest state, whole: it appears in one rename
    training.jsonl    the loss, line by line

``OUT`` itself appears in one rename when training is done, and ``OUT.training`` goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loco.errors import LocoError
from loco.files import check_writable, clear_errors, replacing_folder, write_atomically
from loco.training.card import TRAINING_CARD, TrainingCard, training_card

RUN = "run.json"
CURVE = "training.jsonl"
TOKENIZER = "tokenizer.json"  # a vocabulary made for the run

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_SHOWN = 120
_LOCK = ".lock"
_MAKERS = ("loco train", "loco pretrain")


class TrainingInterrupted(Exception):  # noqa: N818
    """The user has stopped a run: what was done is in its checkpoint."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"stopped after step {step} of {steps}")
        self.step, self.steps = step, steps


@dataclass(frozen=True)
class Outcome:
    """What a run has left: the folder of the model, and its card; ``reused`` says that it stood there already."""

    folder: Path
    card: TrainingCard
    reused: bool = False


@dataclass(frozen=True)
class Work:
    """The folder of a run that is going on, and the hash of what makes it this run."""

    out: Path
    folder: Path
    identity: str

    @property
    def curve(self) -> Path:
        """The file with the losses."""
        return self.folder / CURVE

    def newest(self) -> Path | None:
        """The newest checkpoint, None before the first."""
        return max(_checkpoints(self.folder), key=_step, default=None)

    def step(self) -> int:
        """The step of the newest checkpoint, 0 before the first."""
        newest = self.newest()
        return 0 if newest is None else _step(newest)

    def keep_newest(self) -> None:
        """Delete all checkpoints but the newest, and what a kill has left of one that was being written."""
        newest = self.newest()
        for old in (*_checkpoints(self.folder), *self.folder.glob(".checkpoint-*")):
            if old != newest:
                shutil.rmtree(old, ignore_errors=True)

    def finish(self, save: Callable[[Path], None], card: TrainingCard) -> Outcome:
        """Write the model with ``save``, its card and its curve as ``out``, in one rename; the run's folder goes.

        Raises LocoError where something has been put there since the run began.
        """
        if os.path.lexists(self.out):
            raise LocoError(
                f"{self.out} was made by something else meanwhile and is left as it is. Move it away and run the"
                " command again: what was trained is kept."
            )
        with replacing_folder(self.out) as fresh:
            with said_plainly(self.out):
                save(fresh)
                shutil.copyfile(self.curve, fresh / CURVE)
            for file in filter(Path.is_file, fresh.rglob("*")):  # safetensors' are readable to their owner alone
                file.chmod(fresh.stat().st_mode & 0o666)
            write_atomically(fresh / TRAINING_CARD, (card.model_dump_json(indent=2) + "\n").encode())
        _discard(self.folder)
        return Outcome(self.out, card)


def finished(out: Path, identity: Mapping[str, Any]) -> TrainingCard | None:
    """The card of the same run where it has been finished already, None where nothing stands in its way.

    Raises LocoError where the place is taken by anything else.
    """
    if out.name == "..":
        raise LocoError(f"{out} is the name of no new folder. Choose another --out.")
    if not os.path.lexists(out):
        return None
    card = training_card(out) if out.is_dir() else None
    if card is None or card.identity != hash_of(identity):
        raise LocoError(f"{out} exists already, made by another command or from other data. Choose another --out.")
    return card


@contextmanager
def working(out: Path, identity: Mapping[str, Any]) -> Iterator[Work]:
    """The folder of a run, locked: a new one, or that of the same run when it was stopped.

    Raises LocoError where a run with other settings has been left there, one is under way, or it is no run's folder.
    """
    from filelock import FileLock, Timeout

    folder = out.with_name(f"{out.name}.training")
    _refuse_foreign(folder)
    check_writable(folder)
    work = Work(out, folder, hash_of(identity))
    if not leads():  # another process of the same training, on another GPU
        yield work
        return
    try:
        with FileLock(folder / _LOCK, timeout=0):
            _check_same(work, identity)
            work.keep_newest()
            try:
                yield work
            except BaseException:
                if work.newest() is None:  # nothing is lost
                    _discard(folder)
                raise
    except Timeout:
        raise LocoError(
            f"{folder} is being written by another process. Wait for it, or choose another --out."
        ) from None


@contextmanager
def flushing_subnormals() -> Iterator[None]:
    """Take numbers below 1.2e-38 for 0 while training: processors need some hundred times as long for them.

    An M2-BERT of 12 layers spends two thirds of a step on a CPU in them. Threads inherit the setting as they start, so
    this is for before the first computation of a process; those that have started keep what they have.
    """
    import torch

    before = not torch.tensor(1e-39).mul(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process is the one that writes, of those that train together."""
    return os.environ.get("RANK", "0") == "0"


def hash_of(identity: Mapping[str, Any]) -> str:
    """A SHA-256 over what makes a run this run."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Turn what libraries raise where a disk is full into the OSError that it was."""
    try:
        yield
    except (LocoError, MemoryError, OSError):
        raise
    except Exception as error:
        said = str(error)
        full = any(sign in said for sign in ("No space left", "os error 28", "File too large", "os error 27"))
        cut = any(sign in said for sign in ("PytorchStreamWriter", "inline_container", "unexpected pos"))
        if full or (cut and "write" in said) or "unexpected pos" in said:
            raise LocoError(
                f"Cannot write {path}: the disk is full, or the file larger than the system allows. Free some space and"
                " run the command again; what stood there is untouched."
            ) from error
        raise


def _check_same(work: Work, identity: Mapping[str, Any]) -> None:
    """Raise LocoError where another run has left something to go on from; note whose folder it is."""
    path = work.folder / RUN
    mine = json.loads(json.dumps(identity, sort_keys=True, default=str))
    theirs: Any = None
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RecursionError) as error:
        raise LocoError(f"{path} is damaged. Remove the folder {path.parent} to begin anew.") from error
    if theirs is not None and not (isinstance(theirs, dict) and theirs.get("made by") in _MAKERS):
        raise LocoError(f"{path} is of no run of loco's, so {path.parent} is left as it is. Choose another --out.")
    if theirs != mine and work.newest() is None:
        for name in (RUN, CURVE, TOKENIZER):  # of a run that was killed before its first checkpoint
            (work.folder / name).unlink(missing_ok=True)
        write_atomically(path, (json.dumps(mine, indent=2, sort_keys=True) + "\n").encode())
        return
    if theirs != mine:
        raise LocoError(
            f"{path.parent} holds a run that was stopped, and {_difference(theirs, mine)}. Run its own command to go"
            " on, choose another --out, or remove that folder."
        )


def _refuse_foreign(folder: Path) -> None:
    """Raise LocoError for a folder with anything in it that is not a run's: it would go with the run."""
    with clear_errors(folder):
        if not folder.is_dir() or (folder / RUN).exists():
            return
        names = sorted(path.name for path in folder.iterdir())
    strange = [name for name in names if name != _LOCK and not name.startswith(f".{RUN}.")]
    if strange:
        raise LocoError(
            f"{folder} is where the run would be kept, and holds something else ({strange[0][:_SHOWN]!r}). Choose"
            " another --out."
        )


def _discard(folder: Path) -> None:
    """Delete what a run has written, and its folder if nothing else is in it."""
    for checkpoint in (*_checkpoints(folder), *folder.glob(".checkpoint-*")):
        shutil.rmtree(checkpoint, ignore_errors=True)
    names = (RUN, CURVE, TOKENIZER)
    halves = (half for name in names for half in folder.glob(f".{name}.*"))  # of files that a kill cut off
    for file in (*(folder / name for name in names), *halves, folder / _LOCK):
        with suppress(OSError):
            file.unlink()
    with suppress(OSError):
        folder.rmdir()


def _difference(theirs: Any, mine: Any, where: str = "") -> str:
    """The first thing in which two runs differ."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in sorted({*theirs, *mine}):
            if theirs.get(key) != mine.get(key):
                return _difference(theirs.get(key), mine.get(key), f"{where}.{key}" if where else str(key))
    return f"its {where or 'settings'} was {str(theirs)[:_SHOWN]}, not {str(mine)[:_SHOWN]}"


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]


def _step(checkpoint: Path) -> int:
    found = _CHECKPOINT.fullmatch(checkpoint.name)
    return int(found[1]) if found else 0
