"""What a vendor's module has to offer: one request, sent once."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from loco.models.protocols import Role


@dataclass(frozen=True)
class Answer:
    """What came back: an embedding for each place in the request, as the client hands it over, the model that made
    them, and the tokens on the bill; None for what an answer does not say.
    """

    embeddings: Sequence[tuple[int, Any]]
    model: str | None
    tokens: int | None


class Vendor(Protocol):
    """A vendor's own client, its retries switched off. Threads share it."""

    def embed(self, texts: Sequence[str], role: Role) -> Answer:
        """Send the texts in one request, once.

        Raises one of :mod:`.failures`; anything else that is raised means that the answer could not be read.
        """
        ...

    def close(self) -> None:
        """Let the connections go."""
        ...


def seconds_to_wait(headers: Mapping[str, str] | None) -> float | None:
    """What a ``Retry-After`` asks for, in seconds: a number or a date. None where there is none that can be read."""
    said = next((value for name, value in (headers or {}).items() if name.lower() == "retry-after"), None)
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None  # NaN is not equal to itself
