"""Files from the Hugging Face hub, at the revisions and with the checksums of ``upstream.toml``.

All requests go through the hub's own client (huggingface_hub), so that HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and
proxies hold. Only the download itself is done here: the client begins it anew in every process, compares no checksum of
what comes over HTTP, and gives up at the first 5xx on the way (version 2.4.0).

Files are kept in the place the client has for that, ``$HF_HOME/assets/loco/<owner>--<dataset>/<commit>/``, each with
its SHA-256 beside it as ``sha256sum -c`` reads it. What is in the client's own cache is read there and not downloaded.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from loco.errors import LocoError
from loco.files import leads_outside, write_atomically
from loco.hub import COMMIT, explained, no_connection, passing, patiently
from loco.tasks.sources.files import SourceFile, hashed, progress_bar
from loco.tasks.sources.upstream import upstreams

_MAIN = "main"

_told: set[str] = set()  # the repos whose pinned commit turned out to be gone


class HubError(LocoError):
    """A file of the hub that could not be had: which, and why. Whoever knows another way to it adds that."""


def hub_file(repo: str, name: str, member: str = "", *, revision: str = "") -> SourceFile:
    """The file ``name`` of the dataset ``repo`` at a branch or commit, by default the one ``upstream.toml`` pins.

    A file that is not here yet is downloaded: from where an earlier attempt ended, over again for half a minute where
    the hub or the way to it fails in passing, and compared with the checksum that the hub states. If the hub does not
    have the pinned commit, the branch main is read instead; standard error and the file's label say so. At a branch and
    without a connection, the file is taken as it was last.

    Raises HubError for every way in which the file cannot be had, and for one that is not as ``upstream.toml`` says;
    LocoError for one that has changed on this machine since it was downloaded.
    """
    try:
        from huggingface_hub import constants
    except ValueError as error:  # the client parses its environment while it is imported
        raise HubError(f"Cannot get {name} of the dataset {repo}: an HF_ variable is set wrongly ({error}).") from error

    upstream = upstreams()[repo]
    asked = revision or upstream.revision
    try:
        path, commit = _obtained(repo, name, asked, constants.ENDPOINT)
        digest = hashed(path)
    except Exception as error:  # whatever the client and what it stands on raise, the user needs one line
        reason = explained(error, "dataset", f"{constants.ENDPOINT}/datasets/{repo}")
        raise HubError(f"Cannot get {name} of the dataset {repo} from {constants.ENDPOINT}: {reason}.") from error

    remedy = f"Delete {path.resolve()} and run the command again to download it anew."
    recorded = _recorded(path) if path == _place(repo, name, commit) else ""
    if recorded not in ("", digest):
        raise LocoError(
            f"{path} has changed since it was downloaded: its SHA-256 is {digest}, and was {recorded}. {remedy}"
        )
    pinned = upstream.sha256.get(name, digest)
    if digest != pinned:
        raise HubError(
            f"{name} of the dataset {repo} is not the file expected: its SHA-256 is {digest}, not {pinned}. {remedy}"
        )
    label = f"{repo} {name}"
    if COMMIT.fullmatch(asked) and commit != asked and name not in upstream.sha256:
        label += f" (of {_MAIN}, as the hub does not have the pinned commit {asked})"
    return SourceFile(path, label, commit, remedy, member, digest)


def hub_names(repo: str, commit: str) -> list[str]:
    """The names of all files that a dataset has at a commit, sorted; remembered, so that the hub is asked once.

    Raises HubError where it cannot be asked.
    """
    from huggingface_hub import HfApi, constants

    note = _folder(repo) / "names" / commit
    if note.is_file():
        return note.read_text(encoding="utf-8").splitlines()
    obstacle = no_connection(constants.ENDPOINT)
    if obstacle:
        raise HubError(f"Cannot list the files of the dataset {repo}: {obstacle}.")
    try:
        names = sorted(patiently(lambda: HfApi().list_repo_files(repo, revision=commit, repo_type="dataset")))
    except Exception as error:  # whatever the client and what it stands on raise, the user needs one line
        reason = explained(error, "dataset", f"{constants.ENDPOINT}/datasets/{repo}")
        raise HubError(f"Cannot list the files of the dataset {repo}: {reason}.") from error
    with suppress(LocoError):  # a cache that can only be read serves as well
        write_atomically(note, "".join(f"{name}\n" for name in names).encode())
    return names


def _obtained(repo: str, name: str, revision: str, endpoint: str) -> tuple[Path, str]:
    """Where the file lies, now at the latest, and of which commit it is."""
    if leads_outside(name):
        raise ValueError(f"{name!r} is a path outside the dataset")
    if COMMIT.fullmatch(revision):  # what a commit holds never changes: nobody need be asked
        path = _found(repo, name, revision)
        if path is not None:
            return path, revision
    note = _folder(repo) / "refs" / quote(revision, safe="")  # the commit that was read for it the last time
    obstacle = no_connection(endpoint)
    if obstacle:
        return _as_it_was(repo, name, revision, note, obstacle)
    commit, etag, size = _stated_or_main(repo, name, revision)
    path = _found(repo, name, commit) or _downloaded(repo, name, commit, etag, size)
    if commit != revision:
        with suppress(LocoError):  # a cache that can only be read serves as well
            write_atomically(note, commit.encode())
    return path, commit


def _as_it_was(repo: str, name: str, revision: str, note: Path, obstacle: str) -> tuple[Path, str]:
    """Without a connection: the file at the commit that ``revision`` was when we or the client last asked."""
    if note.is_file():
        commit = note.read_text(encoding="ascii", errors="replace")
        path = _found(repo, name, commit)
        if path is not None:
            return path, commit
    path = _in_clients_cache(repo, name, revision)
    if path is None:
        raise ConnectionError(obstacle)
    return path, path.parents[len(PurePosixPath(name).parts) - 1].name  # <cache>/snapshots/<commit>/<name>


def _folder(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "loco" / repo.replace("/", "--")


def _place(repo: str, name: str, commit: str) -> Path:
    return _folder(repo) / commit / name


def _found(repo: str, name: str, commit: str) -> Path | None:
    """The file in our place or in the client's cache."""
    path = _place(repo, name, commit)
    return path if path.is_file() else _in_clients_cache(repo, name, commit)


def _in_clients_cache(repo: str, name: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repo, name, repo_type="dataset", revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def _record(path: Path) -> Path:
    """Where the SHA-256 of a downloaded file stands."""
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str:
    """The SHA-256 that a file had when it was downloaded, nothing where somebody has removed that."""
    record = _record(path)
    return record.read_text(encoding="ascii", errors="replace").partition(" ")[0] if record.is_file() else ""


# --- downloading


def _stated_or_main(repo: str, name: str, revision: str) -> tuple[str, str, int]:
    """What the hub states of a file, at main where ``revision`` is the pinned commit and the hub does not have it."""
    from huggingface_hub import errors

    try:
        return _stated(repo, name, revision)
    except errors.RevisionNotFoundError:
        if revision != upstreams()[repo].revision or not COMMIT.fullmatch(revision):
            raise
    if repo not in _told:
        _told.add(repo)
        print(f"The hub does not have the pinned commit {revision} of {repo}: taking {_MAIN}.", file=sys.stderr)
    return _stated(repo, name, _MAIN)


def _stated(repo: str, name: str, revision: str) -> tuple[str, str, int]:
    """What the hub says of a file: its commit, etag and size in bytes."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, name, repo_type="dataset", revision=revision)
    about = patiently(lambda: get_hf_file_metadata(url))
    commit, etag, size = about.commit_hash, about.etag, about.size
    if commit is None or not COMMIT.fullmatch(commit) or etag is None or size is None:
        raise ValueError("what answers is no hub: it states no commit, checksum or size")
    return commit, etag, size


def _downloaded(repo: str, name: str, commit: str, etag: str, size: int) -> Path:
    """Download a file of ``size`` bytes and check it, with one new start where it comes damaged."""
    from filelock import FileLock
    from huggingface_hub import hf_hub_url

    path = _place(repo, name, commit)
    part = path.with_name(f"{path.name}.part")
    url = hf_hub_url(repo, name, repo_type="dataset", revision=commit)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        if path.is_file():  # another process was faster
            return path
        for _ in range(2):
            part.touch()
            while part.stat().st_size < size:
                patiently(lambda: _continue(url, part, size))
            digest = hashed(part)
            checksum = _checksum(part, etag, digest)
            if checksum == etag and part.stat().st_size == size:
                write_atomically(_record(path), f"{digest}  {path.name}\n".encode())
                part.replace(path)
                return path
            part.unlink()
    raise ValueError(f"it came damaged twice, the last time with the checksum {checksum} where the hub states {etag}")


def _continue(url: str, part: Path, size: int) -> None:
    """Download more of a file, to its end if nothing happens; ends well if at least some came before it did."""
    from huggingface_hub import constants, get_session, get_token, hf_raise_for_status

    before = part.stat().st_size
    token = get_token()
    headers = {
        "Accept-Encoding": "identity",
        **({"Authorization": f"Bearer {token}"} if token else {}),
        **({"Range": f"bytes={before}-"} if before else {}),
    }
    broken: Exception = ConnectionResetError(f"no more than {before:,} of {size:,} bytes came")
    try:
        with get_session().stream(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
        ) as answer:
            hf_raise_for_status(answer)
            resumed = answer.status_code == 206  # a server without ranges sends all of it
            label = f"downloading {part.stem}"
            with part.open("ab" if resumed else "wb") as out, progress_bar(label, size, out.tell()) as advance:
                for block in answer.iter_raw():
                    advance(out.write(block))
                    out.flush()  # a kill loses nothing that came
    except Exception as error:
        if not passing(error):
            raise
        broken = error
    if part.stat().st_size <= before:
        raise broken


def _checksum(path: Path, etag: str, sha256: str) -> str:
    """What the hub would state as the etag of these bytes; an etag of a kind that is not the hub's is taken for right.

    The hub states the SHA-256 of a large file, and of a small one Git's name for it, a SHA-1.
    """
    if len(etag) == 64:
        return sha256
    if len(etag) == 40:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return etag
