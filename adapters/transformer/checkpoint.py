"""From a card to a checkpoint in a folder that may be loaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from loco.errors import LocoError
from loco.files import leads_outside
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.tasks.sources.files import hashed
from loco.training.card import TRAINING_CARD

from .configs import METADATA, Configs, Module, read_configs, read_object
from .hub import fetched, names_at

# The weights that transformers and sentence-transformers look for, whole or in parts.
_SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
_PICKLE = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
_UNDIVIDED = ("model.safetensors", "pytorch_model.bin")
_TOKENIZER = re.compile(r"tokenizer\.json|vocab\.(txt|json)|.+\.(model|spm|codes|tiktoken)")
_TEXT = (".json", ".txt", ".model", ".jinja", ".py", ".codes", ".spm", ".tiktoken")
_CONFIGS = re.compile(r"(.*/)?(modules|config|adapter_config|tokenizer_config|sentence_\w+_config)\.json")
_SENTENCES = "config_sentence_transformers.json"


# What reads the configuration of a checkpoint in a folder, named as its user knows it.
Read = Callable[[str, Path], Configs]


class Source(Protocol):
    """Settings of a card that say where a checkpoint comes from: as :class:`.settings.Parameters` has them."""

    @property
    def hub(self) -> str | None:
        """A model of the hub, None for a folder."""
        ...

    @property
    def remote_code(self) -> bool | None:
        """Whether it runs on Python code of its own."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    ``contents`` is a string that changes with anything that is read of it. ``runs_code`` and ``pickled`` say that it
    is to be loaded with Python code of its own, or from a pickle: the user has agreed to that.
    """

    configs: Configs
    contents: str
    runs_code: bool
    pickled: bool


def obtain(card: ModelCard, parameters: Source, runtime: Runtime, read: Read = read_configs) -> Checkpoint:
    """The checkpoint of a card, downloaded now at the latest, its configuration read by ``read``.

    Raises LocoError where it cannot be had, is not whole, or would run code without the user's leave.
    """
    if card.checkpoint is not None:
        configs = local_configs(card.checkpoint, read)
        runs_code = _leave_to_run_code(configs, parameters, runtime)
        names, pickled = _wanted(configs.name, configs.modules, _names_in(configs), runtime)
        contents = contents_of(configs.folder, names)
    else:
        repo = parameters.hub or ""
        configs, published = hub_configs(repo, card.revision, read)
        runs_code = _leave_to_run_code(configs, parameters, runtime)
        names, pickled = _wanted(configs.name, configs.modules, published, runtime)
        fetched(repo, card.revision, names)
        contents = f"{repo}@{card.revision}"
    _check_parts(configs, names)
    return Checkpoint(configs, contents, runs_code, pickled)


def local_configs(path: str, read: Read = read_configs) -> Configs:
    """The configuration of the checkpoint in a folder, named as given. Raises LocoError where there is none."""
    try:
        folder = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  # with a link's name, not its target's
        found, exists = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError):  # no name a file can have, or the home of nobody here
        found, exists = False, False
    if not found:
        what = "is a file, not the folder of a checkpoint" if exists else "does not exist"
        raise LocoError(f"{path} {what}. Give the folder that holds config.json.")
    return read(path, folder)


def hub_configs(repo: str, commit: str, read: Read = read_configs) -> tuple[Configs, list[str]]:
    """The configuration of a model at a commit, downloaded now at the latest, and the names of all its files."""
    names = names_at(repo, commit)
    wanted = [name for name in names if _CONFIGS.fullmatch(name) or name in (_SENTENCES, METADATA)]
    if not wanted:
        raise LocoError(f"{repo} holds no config.json, so it is no transformer. Take another model.")
    trained = [TRAINING_CARD] if TRAINING_CARD in names else []
    return read(repo, fetched(repo, commit, [*wanted, *trained])), names


def local_contents(configs: Configs) -> str:
    """The SHA-256 of everything that is read of a checkpoint in a folder, in hexadecimal."""
    return contents_of(configs.folder, _wanted_of(configs.modules, _names_in(configs))[0])


def contents_of(folder: Path, names: Iterable[str]) -> str:
    """A SHA-256 over the names and contents of files, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(names):
        path = folder / name
        try:
            about = path.stat()
            digest.update(json.dumps([name, _hashed(path, about.st_size, about.st_mtime_ns)]).encode())
        except OSError as error:
            raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    return digest.hexdigest()


@cache
def _hashed(path: Path, size: int, changed: int) -> str:
    """The SHA-256 of a file, computed once a process for as long as it stays as it is."""
    return hashed(path)


def _names_in(configs: Configs) -> list[str]:
    """The files directly in the folders of the modules, and beside modules.json."""
    folders = {"", *(module.path for module in configs.modules)}
    paths = (path for folder in folders for path in (configs.folder / folder).glob("*") if path.is_file())
    return sorted({path.relative_to(configs.folder).as_posix() for path in paths})


def _wanted_of(modules: Sequence[Module], names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The files that are read of a checkpoint, and those among them that are pickles: never both kinds of weights."""
    within: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if (
            not last.startswith(".") and last != TRAINING_CARD
        ):  # which tells where weights come from, and decides nothing
            within.setdefault(folder, []).append(last)
    weighted = {module.path for module in modules if module.weighted}
    # What stands behind the transformer is read by sentence-transformers, which knows of no weights in parts.
    undivided = {module.path for module in modules[1:] if module.weighted}
    wanted, pickles = [], []
    for folder in sorted({"", *(module.path for module in modules)}):
        here = within.get(folder, [])
        safe = [last for last in here if _SAFE.fullmatch(last)]
        unsafe = [last for last in here if _PICKLE.fullmatch(last)]
        if folder in undivided:
            safe, unsafe = [[last for last in some if last in _UNDIVIDED] for some in (safe, unsafe)]
        texts = [last for last in here if last.endswith((*_TEXT, METADATA)) and last not in (*safe, *unsafe)]
        weights = (safe or unsafe) if folder in weighted else []
        wanted += [str(PurePosixPath(folder, last)) for last in (*texts, *weights)]
        if not safe:
            pickles += [str(PurePosixPath(folder, last)) for last in weights]
    return wanted, pickles


def _wanted(name: str, modules: Sequence[Module], names: Sequence[str], runtime: Runtime) -> tuple[list[str], bool]:
    wanted, pickles = _wanted_of(modules, names)
    if pickles and not runtime.allow_pickle:
        raise LocoError(
            f"{name} holds its weights as a pickle ({pickles[0]}), which can run code: "
            "convert it to safetensors, or pass --allow-pickle if you trust it."
        )
    for module in modules:
        if module.weighted and not any(_is_weight(path) for path in wanted if _within(path, module)):
            where = f"{module.path}/" if module.path else ""
            raise LocoError(f"{name} lacks its weights, {where}model.safetensors. Download or save it again.")
    if not any(_TOKENIZER.fullmatch(PurePosixPath(path).name) for path in wanted if _within(path, modules[0])):
        raise LocoError(
            f"{name} lacks its tokenizer, tokenizer.json. Download it again, or save the tokenizer with it."
        )
    return wanted, bool(pickles)


def _within(path: str, module: Module) -> bool:
    return PurePosixPath(path).parent == PurePosixPath(module.path)


def _is_weight(path: str) -> bool:
    last = PurePosixPath(path).name
    return bool(_SAFE.fullmatch(last) or _PICKLE.fullmatch(last))


def _leave_to_run_code(configs: Configs, parameters: Source, runtime: Runtime) -> bool:
    """Whether code of the checkpoint's own is to be run. Raises LocoError where it is needed and not allowed."""
    reason = "as its card says" if parameters.remote_code else configs.code()
    if parameters.remote_code is False or not reason:
        return False
    if not runtime.trust_remote_code:
        raise LocoError(
            f"{configs.name} needs Python code of its own ({reason}): read it, then pass --trust-remote-code."
        )
    return True


def _check_parts(configs: Configs, names: Iterable[str]) -> None:
    """Raise LocoError if weights in parts are not all there, or lie elsewhere."""
    for index in (configs.folder / name for name in names if name.endswith(".index.json") and _is_weight(name)):
        parts = read_object(index).get("weight_map")
        for part in sorted(set(map(str, parts.values()))) if isinstance(parts, dict) else ():
            if leads_outside(part):
                raise LocoError(f"{index} names {part!r}, a path outside the checkpoint, so nothing of it is read.")
            if not (index.parent / part).is_file():
                raise LocoError(f"{configs.name} lacks a part of its weights, {part}. Download or save it again.")
