"""Models of the Hugging Face hub: which commit, which files, and where they lie on this machine.

All requests go through the hub's own client (huggingface_hub), whose cache the files stay in, so that HF_ENDPOINT,
HF_TOKEN, HF_HUB_OFFLINE, HF_HOME and proxies hold. A commit never changes: the names of its files are remembered beside
the client's cache, and what is there is taken without a request.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from loco.errors import LocoError
from loco.files import leads_outside, write_atomically
from loco.hub import COMMIT, explained, no_connection, patiently

_MAIN = "main"


def commit_of(repo: str) -> str:
    """The commit that a model's main branch points to now, or pointed to when it was last asked, without a connection.

    Raises LocoError where there is no such model, or no connection and nothing remembered.
    """
    with _one_line(repo) as endpoint:
        note = _folder(repo) / _MAIN
        obstacle = no_connection(endpoint)
        if not obstacle:
            commit, _ = _ask(repo, _MAIN)
            with suppress(LocoError):  # a cache that can only be read serves as well
                write_atomically(note, commit.encode())
            return commit
        remembered = note.read_text(encoding="ascii", errors="replace") if note.is_file() else ""
        if COMMIT.fullmatch(remembered):
            return remembered
        for name in ("modules.json", "config.json"):
            path = _cached(repo, name, _MAIN)
            if path is not None:
                return path.parent.name
        raise ConnectionError(obstacle)


def names_at(repo: str, commit: str) -> list[str]:
    """The names of the files that a model has at a commit, as far as can be told without a connection.

    Raises LocoError for what is no commit, and where the hub cannot be asked and the cache does not tell.
    """
    if not COMMIT.fullmatch(commit):
        raise LocoError(f"The model {repo} is pinned to '{commit}', which is no commit. Pin it to 40 hex digits.")
    with _one_line(repo) as endpoint:
        note = _note(repo, commit)
        if note.is_file():
            names = note.read_text(encoding="utf-8").splitlines()
        else:
            obstacle = no_connection(endpoint)
            names = _names_in_cache(repo, commit, obstacle) if obstacle else _ask(repo, commit)[1]
        return [name for name in names if not leads_outside(name)]


def fetched(repo: str, commit: str, names: Iterable[str]) -> Path:
    """The folder in which these files of a model lie, downloaded now at the latest. Raises LocoError otherwise."""
    from huggingface_hub import hf_hub_download

    with _one_line(repo) as endpoint, _bars_on_terminals_only():
        folder = Path()
        for name in names:
            path = _cached(repo, name, commit)
            if path is None:
                obstacle = no_connection(endpoint)
                if obstacle:
                    raise ConnectionError(f"{name} is not in the download cache, and {obstacle}")
                path = Path(patiently(lambda name=name: hf_hub_download(repo, name, revision=commit)))  # type: ignore[misc]
            folder = path.parents[len(PurePosixPath(name).parts) - 1]
        return folder


def _ask(repo: str, revision: str) -> tuple[str, list[str]]:
    """The commit of a revision and the names of its files, which are remembered."""
    from huggingface_hub import HfApi

    about = patiently(lambda: HfApi().model_info(repo, revision=revision))
    commit = about.sha
    if commit is None or not COMMIT.fullmatch(commit):
        raise ValueError("what answers is no hub: it states no commit")
    names = sorted(sibling.rfilename for sibling in about.siblings or ())
    with suppress(LocoError):  # a cache that can only be read serves as well
        write_atomically(_note(repo, commit), "".join(f"{name}\n" for name in names).encode())
    return commit, names


def _names_in_cache(repo: str, commit: str, obstacle: str) -> list[str]:
    """What the client's cache has of a commit, if it is plain from it what kind of checkpoint that is.

    The client notes that a file does not exist. A cache that knows nothing of modules.json may only lack it.
    """
    from huggingface_hub import try_to_load_from_cache

    config = _cached(repo, "config.json", commit) or _cached(repo, "modules.json", commit)
    if config is None or try_to_load_from_cache(repo, "modules.json", revision=commit) is None:
        raise ConnectionError(obstacle)
    folder = config.parent
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _cached(repo: str, name: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _folder(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "loco" / f"models--{repo.replace('/', '--')}"


def _note(repo: str, commit: str) -> Path:
    return _folder(repo) / "names" / commit


@contextmanager
def _one_line(repo: str) -> Iterator[str]:
    """The hub's address. Whatever the client and what it stands on raise becomes one line."""
    try:
        from huggingface_hub import constants
    except ValueError as error:  # the client parses its environment while it is imported
        raise LocoError(f"Cannot get the model {repo}: an HF_ variable is set wrongly ({error}).") from error
    try:
        yield constants.ENDPOINT
    except LocoError:
        raise
    except Exception as error:
        reason = explained(error, "model", f"{constants.ENDPOINT}/{repo}")
        raise LocoError(f"Cannot get the model {repo} from {constants.ENDPOINT}: {reason}.") from error


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    from huggingface_hub import utils

    silenced = not sys.stderr.isatty() and not utils.are_progress_bars_disabled()  # type: ignore[attr-defined]
    if silenced:
        utils.disable_progress_bars()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if silenced:
            utils.enable_progress_bars()  # type: ignore[attr-defined]
