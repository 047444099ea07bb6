"""No more requests, inputs and tokens in a minute than a vendor allows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from loco.errors import LocoError
from loco.models.card import Service

from .clock import Clock

WINDOW = 61.0
"""Seconds over which is counted: one more than a vendor's minute, since one request takes longer to get there than
another."""

LOOK_UP = 0.5
"""Seconds after which whoever waits looks up whether there is still a reason to."""
_LEAST = 0.001


@dataclass
class Sent:
    """A request that was let through: when, and what it counts for."""

    at: float
    inputs: int
    tokens: int


class Limiter:
    """A sliding window over the last minute: what was sent in it never exceeds a limit. Threads share it.

    Requests go in the order in which they come: a large one is not overtaken for ever by small ones.
    """

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service, self._clock = service, clock
        self._turn = threading.Lock()
        self._access = threading.Lock()
        self._sent: deque[Sent] = deque()
        self._closed_until = clock.now()

    def enter(self, inputs: int, tokens: int, go_on: Callable[[], None]) -> Sent:
        """Wait until a request of so many inputs and tokens may be sent, and count it.

        ``go_on`` is called every half a second of waiting and raises where nobody wants to wait any longer. The tokens
        of what is returned may be corrected once the vendor has said how many there were. Raises LocoError for a
        request that is larger than what a whole minute allows.
        """
        self._check(inputs, tokens)
        with self._turn:
            while True:
                go_on()
                with self._access:
                    now = self._clock.now()
                    wait = max(self._closed_until - now, self._until_free(inputs, tokens, now))
                    if wait <= 0:
                        self._sent.append(Sent(now, inputs, tokens))
                        return self._sent[-1]
                self._clock.sleep(min(max(wait, _LEAST), LOOK_UP))

    def close(self, seconds: float) -> None:
        """Let nothing through for so long: the vendor has asked for it."""
        with self._access:
            self._closed_until = max(self._closed_until, self._clock.now() + seconds)

    def _check(self, inputs: int, tokens: int) -> None:
        for amount, limit, noun in (
            (inputs, self._service.inputs_per_minute, "inputs"),
            (tokens, self._service.tokens_per_minute, "tokens"),
        ):
            if limit is not None and amount > limit:
                raise LocoError(
                    f"A request of {amount:,} {noun} can never be sent: {self._service.vendor} takes {limit:,} in a "
                    "minute. Choose a smaller size, as in --strategy 'chunk(512)'."
                )

    def _until_free(self, inputs: int, tokens: int, now: float) -> float:
        """Seconds until there is room, 0 or less where there is."""
        while self._sent and self._sent[0].at + WINDOW <= now:
            self._sent.popleft()
        service = self._service
        over = [
            len(self._sent) + 1 - (service.requests_per_minute or len(self._sent) + 1),
            _over(sum(one.inputs for one in self._sent) + inputs, service.inputs_per_minute),
            _over(sum(one.tokens for one in self._sent) + tokens, service.tokens_per_minute),
        ]
        for one in self._sent:
            if max(over) <= 0:
                break
            over = [over[0] - 1, over[1] - one.inputs, over[2] - one.tokens]
            free = one.at + WINDOW - now
            if max(over) <= 0:
                return free
        return 0.0


def _over(amount: int, limit: int | None) -> int:
    return 0 if limit is None else amount - limit
