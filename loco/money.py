"""What a model behind a service costs: the till that every request goes through, and what will be asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from loco.errors import LocoError
from loco.models.card import ModelCard, Service

_MILLION = 1_000_000
_SECONDS_A_REQUEST = 1.0  # about, where no limit is felt; only for foretelling


class OverBudget(LocoError):  # noqa: N818
    """The next request would cost more than is left."""


@dataclass(frozen=True)
class Spending:
    """What was spent at a vendor's.

    ``requests`` are those that brought vectors, ``tokens`` what they read, by the vendor's count; ``tokens_estimated``
    of these were counted here, as the answers did not say. ``requests_lost`` brought nothing: they were refused, broke
    off or could not be read, and were sent again; of these, ``tokens_lost`` may be on the bill, by our estimate.
    """

    requests: int = 0
    tokens: int = 0
    tokens_estimated: int = 0
    requests_lost: int = 0
    tokens_lost: int = 0

    def __sub__(self, earlier: Spending) -> Spending:
        return Spending(
            self.requests - earlier.requests,
            self.tokens - earlier.tokens,
            self.tokens_estimated - earlier.tokens_estimated,
            self.requests_lost - earlier.requests_lost,
            self.tokens_lost - earlier.tokens_lost,
        )


class Payment:
    """One request on its way: whoever sends it says how it went. Saying nothing means that it was not sent."""

    def __init__(self) -> None:
        self.answered = False
        self.sent = False
        self.billed: int | None = 0

    def answer(self, billed: int | None) -> None:
        """It brought vectors; ``billed`` tokens by the vendor's count, None where the answer does not say."""
        self.answered, self.billed = True, billed

    def lose(self, billed: int | None) -> None:
        """It brought nothing; ``billed`` tokens may be on the bill all the same, None for all of them."""
        self.sent, self.billed = True, billed


class Till:
    """What a run may spend, and has spent. Threads share it.

    Requests under way count against the budget by their estimate, so that together they never exceed it, as far as
    estimates do not fall short of the vendor's count.
    """

    def __init__(self, card: ModelCard, budget: float | None) -> None:
        price = card.service.price if card.service is not None else None
        if budget is not None and price is None:
            raise LocoError(
                f"No price of model '{card.name}' is known, so that no budget can be kept: leave out --budget, or add "
                "a price to its card."
            )
        self._price = price.per_million_tokens if price is not None else None
        self._budget = budget
        self._access = threading.Lock()
        self._under_way = 0
        self._spent = Spending()

    @property
    def spent(self) -> Spending:
        """All so far."""
        with self._access:
            return self._spent

    @contextmanager
    def request(self, tokens: int) -> Iterator[Payment]:
        """Send a request of about ``tokens`` tokens inside the block. Raises OverBudget where it is not to be sent."""
        with self._access:
            self._check(tokens)
            self._under_way += tokens
        payment = Payment()
        try:
            yield payment
        finally:
            with self._access:
                self._under_way -= tokens
                self._spent = _counted(self._spent, payment, tokens)

    def _check(self, tokens: int) -> None:
        if self._budget is None or self._price is None:
            return
        spent = self._spent.tokens + self._spent.tokens_lost
        if (spent + self._under_way + tokens) * self._price > self._budget * _MILLION:
            under_way = f" and {shown(self._under_way * self._price / _MILLION)} under way" if self._under_way else ""
            raise OverBudget(
                f"Stopped before the budget of {shown(self._budget)} would be exceeded: "
                f"{shown(spent * self._price / _MILLION)} spent{under_way}, "
                f"about {shown(tokens * self._price / _MILLION)} for the next request. "
                "What was answered is kept: run the same command again to go on with a new budget."
            )


def _counted(spent: Spending, payment: Payment, estimate: int) -> Spending:
    billed = estimate if payment.billed is None else payment.billed
    if payment.answered:
        guessed = estimate if payment.billed is None else 0
        return replace(
            spent,
            requests=spent.requests + 1,
            tokens=spent.tokens + billed,
            tokens_estimated=spent.tokens_estimated + guessed,
        )
    if payment.sent:
        return replace(spent, requests_lost=spent.requests_lost + 1, tokens_lost=spent.tokens_lost + billed)
    return spent


@runtime_checkable
class Paid(Protocol):
    """A model that costs money."""

    till: Till


def dollars(tokens: int, service: Service) -> float | None:
    """What so many tokens cost; None where no price is known."""
    return None if service.price is None else tokens * service.price.per_million_tokens / _MILLION


def shown(sum_of_dollars: float | None) -> str:
    """A sum for people: cents, and what is below a cent with two digits."""
    if sum_of_dollars is None:
        return "unknown"
    if 0 < sum_of_dollars < 0.01:
        return f"${sum_of_dollars:.2g}" if sum_of_dollars >= 1e-4 else "under $0.0001"
    return f"${sum_of_dollars:,.2f}"


@dataclass(frozen=True)
class Plan:
    """What is still to be sent: requests, the inputs in them and their tokens, as estimated; and what the store has."""

    requests: int = 0
    inputs: int = 0
    tokens: int = 0
    inputs_stored: int = 0

    def __add__(self, other: Plan) -> Plan:
        return Plan(
            self.requests + other.requests,
            self.inputs + other.inputs,
            self.tokens + other.tokens,
            self.inputs_stored + other.inputs_stored,
        )

    def seconds(self, service: Service, concurrency: int) -> float:
        """About how long it will take: by the limits of a minute, or by a second a request where those are far."""
        limits = (
            (self.requests, service.requests_per_minute),
            (self.inputs, service.inputs_per_minute),
            (self.tokens, service.tokens_per_minute),
        )
        minutes = (
            max(amount / limit for amount, limit in limits if limit is not None)
            if any(limit for _, limit in limits)
            else 0.0
        )
        return max(60 * minutes, _SECONDS_A_REQUEST * self.requests / concurrency)
