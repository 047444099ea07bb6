"""Files from the Hugging Face hub, through its own client: HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE hold."""

from __future__ import annotations

import errno
import ssl
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from loco.errors import LocoError
from loco.tasks.sources.files import SourceFile

_ASK_AGAIN_SECONDS = 60.0
_asked: dict[str, tuple[float, str]] = {}  # endpoint -> (until when the answer holds, what stood in the way)


class HubError(LocoError):
    """A file of the hub that could not be had: which, and why. Whoever knows another way to it adds that."""


def hub_file(repo: str, name: str, member: str = "", *, revision: str = "main") -> SourceFile:
    """The file ``name`` of the dataset ``repo`` at a branch, tag or commit, downloaded unless the cache has it.

    Without a connection the cached copy serves. Raises HubError for every other way to fail.
    """
    try:
        from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    except ValueError as error:  # the client parses its environment while it is imported
        raise HubError(f"Cannot get {name} of the dataset {repo}: an HF_ variable is set wrongly ({error}).") from error

    obstacle = _no_connection(constants.ENDPOINT)
    if obstacle:
        cached = try_to_load_from_cache(repo, name, repo_type="dataset", revision=revision)
        if not isinstance(cached, str):
            raise HubError(f"Cannot get {name} of the dataset {repo} from {constants.ENDPOINT}: {obstacle}.")
        path = Path(cached)
    else:
        try:
            path = Path(hf_hub_download(repo, name, repo_type="dataset", revision=revision))
        except Exception as error:  # whatever the client and what it stands on raise, the user needs one line
            reason = _reason(error, f"{constants.ENDPOINT}/datasets/{repo}")
            raise HubError(f"Cannot get {name} of the dataset {repo} from {constants.ENDPOINT}: {reason}.") from error
    commit = path.parents[len(PurePosixPath(name).parts) - 1].name  # <cache>/snapshots/<commit>/<name>
    remedy = f"Delete {path.resolve()} and run the command again to download it anew."
    return SourceFile(path, f"{repo} {name}", commit, remedy, member)


def _no_connection(endpoint: str) -> str:
    """Why nothing answers at ``endpoint``, or nothing if something does.

    The client itself repeats its first request for half a minute before it gives up, for every file anew. Asking
    beforehand answers at once where there is no network, within HF_HUB_ETAG_TIMEOUT (10 s) where packets vanish, and
    once for all files of a build.
    """
    from huggingface_hub import constants, get_session

    until, obstacle = _asked.get(endpoint, (0.0, ""))
    if time.monotonic() < until:
        return obstacle
    try:
        get_session().head(endpoint, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # no name, no route, a proxy, a certificate, a malformed HF_ENDPOINT
        obstacle = _reason(error, endpoint)
    else:
        obstacle = ""
    _asked[endpoint] = (time.monotonic() + _ASK_AGAIN_SECONDS, obstacle)
    return obstacle


def _reason(error: BaseException, page: str) -> str:
    from huggingface_hub import errors

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, and the download cache does not have it"
        if isinstance(cause, errors.GatedRepoError):
            return f"it needs permission. Ask for it at {page}, then log in with: hf auth login"
        if isinstance(cause, errors.RepositoryNotFoundError):
            return "there is no such dataset, or you have no access to it. If you do, log in with: hf auth login"
        if isinstance(cause, errors.HfHubHTTPError) and cause.response.status_code in (401, 403):
            return "your login has no access to it. Log in with: hf auth login"
        if isinstance(cause, errors.EntryNotFoundError) and not isinstance(cause, errors.LocalEntryNotFoundError):
            return "there is no such file in it"
        if isinstance(cause, errors.HfHubHTTPError):
            return f"the answer was {cause.response.status_code} {cause.response.reason_phrase}"
        if isinstance(cause, ssl.SSLError):
            return f"its certificate is not trusted ({cause.reason}). Point SSL_CERT_FILE at your own authority's file"
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "the disk of the download cache is full. Free some space, or point HF_HOME at another disk"
        if isinstance(cause, OSError) and cause.filename and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"the download cache is not writable ({cause.filename}). Point HF_HOME at a folder that is"
    last = causes[-1]
    return " ".join(str(last).split()).rstrip(".") or type(last).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from, down to the first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
