"""Talking to the Hugging Face hub: whether it answers, patience with what passes, what went wrong as one line.

The hub's own client (huggingface_hub) is imported when it is needed: it takes as long to start as the rest of loco.
"""

from __future__ import annotations

import errno
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from loco.errors import one_line

COMMIT = re.compile("[0-9a-f]{40}")
"""The name of a commit, of which what it holds never changes."""

_ASK_AGAIN_SECONDS = 60.0
_TRIES = 6
_FIRST_WAIT_SECONDS = 1.0  # and twice as long before each further try: half a minute in all
_LONGEST_WAIT_SECONDS = 16.0
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
_OFFLINE = "HF_HUB_OFFLINE is set, and the download cache does not have it"

_asked: dict[str, tuple[float, str]] = {}  # endpoint -> (until when the answer holds, what stood in the way)

T = TypeVar("T")


def patiently(ask: Callable[[], T]) -> T:
    """What ``ask`` gives, tried again for a while where the hub or the way to it fails in passing."""
    import stamina

    logging.getLogger("stamina").addHandler(logging.NullHandler())  # a retry is no news unless somebody asks for it
    patient = stamina.RetryingCaller(
        attempts=_TRIES, timeout=None, wait_initial=_FIRST_WAIT_SECONDS, wait_max=_LONGEST_WAIT_SECONDS
    )
    return patient(passing, ask)


def passing(error: Exception) -> bool:
    """Whether it may be otherwise in a moment: the hub is busy, or a connection failed.

    Transport errors are known by name, as the library they come from depends on the client's version.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in _PASSING_STATUS
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return not kinds.isdisjoint({"TimeoutException", "NetworkError", "RemoteProtocolError", "ConnectionResetError"})


def no_connection(endpoint: str) -> str:
    """Why nothing answers at ``endpoint``, as one line without a full stop, or nothing if something does.

    The client itself repeats its first request for half a minute before it gives up, for every file anew. Asking
    beforehand answers at once where there is no network, within HF_HUB_ETAG_TIMEOUT (10 s) where packets vanish, and
    once a minute for all files. It asks twice if something was there and broke off or took too long.
    """
    from huggingface_hub import constants, get_session, is_offline_mode

    if is_offline_mode():
        return _OFFLINE
    until, obstacle = _asked.get(endpoint, (0.0, ""))
    if time.monotonic() < until:
        return obstacle
    for _ in range(2):
        try:
            get_session().head(endpoint, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except Exception as error:  # no name, no route, a proxy, a certificate, a malformed HF_ENDPOINT
            obstacle = explained(error, "hub", endpoint)
            if not passing(error) or type(error).__name__ == "ConnectError":
                break
        else:
            obstacle = ""
            break
    _asked[endpoint] = (time.monotonic() + _ASK_AGAIN_SECONDS, obstacle)
    return obstacle


def explained(error: BaseException, noun: str, page: str) -> str:
    """Why something of the hub could not be had, as one line without a full stop, with what can be done about it.

    ``error`` is whatever the client and what it stands on raise. ``noun`` is what was asked for ("dataset", "model")
    and ``page`` where people see it.
    """
    from huggingface_hub import errors

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return _OFFLINE
        if isinstance(cause, errors.GatedRepoError):
            return f"it needs permission. Ask for it at {page}, then log in with: hf auth login"
        if isinstance(cause, errors.RepositoryNotFoundError):
            return f"there is no such {noun}, or you have no access to it. If you do, log in with: hf auth login"
        if isinstance(cause, errors.HfHubHTTPError) and cause.response.status_code in (401, 403):
            return "your login has no access to it. Log in with: hf auth login"
        if isinstance(cause, errors.EntryNotFoundError) and not isinstance(cause, errors.LocalEntryNotFoundError):
            return "there is no such file in it"
        if isinstance(cause, errors.RevisionNotFoundError):
            return "it has no such commit or branch"
        if isinstance(cause, errors.HfHubHTTPError):
            return f"the answer was {cause.response.status_code} {cause.response.reason_phrase}"
        if isinstance(cause, ssl.SSLError):
            return f"its certificate is not trusted ({cause.reason}). Point SSL_CERT_FILE at your own authority's file"
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "the disk of the download cache is full. Free some space, or point HF_HOME at another disk"
        if isinstance(cause, OSError) and cause.filename and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"the download cache is not writable ({cause.filename}). Point HF_HOME at a folder that is"
    return one_line(causes[-1])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from, down to the first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
