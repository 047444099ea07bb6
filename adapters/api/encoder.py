"""A model behind a service as an encoder of loco: the same for every vendor."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loco.errors import BadText, LocoError, one_line
from loco.models.card import ModelCard, Service
from loco.models.protocols import EncoderTraits, Input, Role, Similarity, TokenizedText
from loco.models.runtime import Runtime
from loco.models.text_encoder import SpanCutter
from loco.money import Payment, Till
from loco.rank.ranking import Float32
from loco.tokens.reference import reference_tokenizer

from .answers import vectors_of
from .clock import Clock, SystemClock
from .estimate import Estimate
from .failures import OtherModel, Refused, Unanswered, Unreadable
from .keys import Key, key_for
from .limits import LOOK_UP, Limiter
from .patience import LONGEST_ASKED, TRIES, UNREADABLE_TRIES, backoff, passing
from .vendor import Vendor

TIMEOUT = 120.0
"""Seconds after which a request that nobody answers has failed."""

_CONCURRENCY = 8
# A request takes no more than this share of a minute's tokens, so that what is left of the minute fits another one.
_SHARE_OF_A_MINUTE = 40
_MOST_TOKENS = 100_000  # of a request where no limit is known: what breaks off is sent again
_LONGEST_MESSAGE = 300
_TOO_LONG = re.compile(
    r"too (long|many tokens)|(max\w*|limit|context|exceed).{0,60}(token|length|context)", re.IGNORECASE
)


class Parameters(BaseModel):
    """What a card says of a model behind a service.

    ``model`` is the vendor's name for it, ``dim`` the length of its vectors, asked for as such where ``ask_dim``.
    ``tokenizer`` is what texts are cut by: "estimate" (:mod:`.estimate`) or the vendor's own, where it comes with loco.
    ``overhead`` tokens are kept for what the vendor puts around a text. ``matryoshka``: as loco.encode.forms has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    dim: int = Field(ge=1)
    ask_dim: bool = False
    tokenizer: Literal["estimate", "bert-base-uncased"] = "estimate"
    overhead: int = Field(default=0, ge=0)
    similarity: Similarity = "cosine"
    unit_length: bool = False
    matryoshka: str | None = None
    url: str | None = None


Connect = Callable[[Service, Parameters, Key, float], Vendor]


def api_encoder(card: ModelCard, runtime: Runtime, package: str, connect: Connect) -> ApiEncoder:
    """The encoder of a card. ``connect`` makes the vendor's client, which is of ``package``.

    Nothing is sent. Raises LocoError for a card that is none, where the client is not installed, and where there is no
    key; a dry run needs neither of the latter.
    """
    if card.service is None or card.max_tokens is None:
        raise LocoError(f"The card of model '{card.name}' has no service, or no max_tokens. Mend the card.")
    try:
        parameters = Parameters.model_validate(card.parameters)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise LocoError(f"The card of model '{card.name}' has a wrong parameter '{place}'. Mend the card.") from None
    if runtime.dry:
        return ApiEncoder(card, card.service, parameters, runtime, None, Key(""))
    key = key_for(card.service)
    try:
        vendor = connect(card.service, parameters, key, TIMEOUT)
    except ModuleNotFoundError as error:
        raise LocoError(
            f"Model '{card.name}' needs {error.name or package}: install with pip install 'loco-bench[api]'"
        ) from error
    return ApiEncoder(card, card.service, parameters, runtime, vendor, key)


class ApiEncoder:
    """An encoder (:class:`loco.models.protocols.Encoder`) that sends texts to a vendor.

    A request is tried again as :mod:`.patience` has it, within the vendor's limits (:mod:`.limits`) and the user's
    budget (``till``). Without a ``vendor`` it only tells what it would be sent.
    """

    def __init__(
        self,
        card: ModelCard,
        service: Service,
        parameters: Parameters,
        runtime: Runtime,
        vendor: Vendor | None,
        key: Key,
        clock: Clock | None = None,
    ) -> None:
        self.card = card
        self.till = Till(card, runtime.budget)
        self._service, self._parameters, self._vendor, self._key = service, parameters, vendor, key
        self._clock = clock or SystemClock()
        self._limiter = Limiter(service, self._clock)
        self._cutter = SpanCutter(Estimate() if parameters.tokenizer == "estimate" else reference_tokenizer())
        # What the vendor puts around a text; a tokenizer's own special tokens are part of that.
        self._cutter.special_tokens = max(parameters.overhead, self._cutter.special_tokens)
        if vendor is not None:
            weakref.finalize(self, vendor.close)
        self._interrupts = 0
        self._access = threading.Lock()
        decisive = {"vendor": service.vendor, "revision": card.revision} | parameters.model_dump()
        self.traits = EncoderTraits(
            fingerprint=hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest(),
            dim=parameters.dim,
            max_tokens=card.max_tokens,
            similarity=parameters.similarity,
            device="api",
            unit_length=parameters.unit_length,
            batch_tokens=min(runtime.batch_tokens or _MOST_TOKENS, _tokens_at_once(service)),
            batch_inputs=min(service.inputs, service.inputs_per_minute or service.inputs),
            concurrency=_CONCURRENCY,
        )

    def overhead(self, role: Role) -> int:
        """How many tokens of the window are kept for what the vendor puts around a text."""
        return self._cutter.special_tokens

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Sequence[TokenizedText]:
        """The texts with the spans of their tokens. Raises BadText for a text that cannot be sent."""
        for place, text in enumerate(texts):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise BadText(place, "holds a lone surrogate, which is not valid text") from None
        return self._cutter.tokenize(texts, role, limit)

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """For each input its vector, shape (1, dim): from one request, or several where one does not take them all.

        Raises LocoError where the vendor has none to give, or the budget does not allow it; BadText for an input that
        it finds too long.
        """
        before = self._interrupts

        def go_on() -> None:
            if self._interrupts != before:
                raise LocoError(f"Gave up waiting for {self._service.vendor}. Run the command again to go on.")

        found: dict[int, Float32] = {}
        for places in self._requests(inputs):
            vectors = self._embedded(inputs, places, go_on)
            found.update(zip(places, vectors[:, None, :], strict=True))
        return [found[place] for place in range(len(inputs))]

    def interrupt(self) -> None:
        """Have calls under way give up waiting; a request that was sent is still answered."""
        with self._access:
            self._interrupts += 1

    def _requests(self, inputs: Sequence[Input]) -> Iterator[list[int]]:
        """The places of the inputs by request: one role each, and no more than the vendor takes."""
        for role in dict.fromkeys(one.role for one in inputs):
            places: list[int] = []
            tokens = 0
            for place, one in enumerate(inputs):
                if one.role != role:
                    continue
                full = len(places) == self.traits.batch_inputs or tokens + one.tokens > self._service.tokens
                if places and full:
                    yield places
                    places, tokens = [], 0
                places.append(place)
                tokens += one.tokens
            yield places

    def _embedded(self, inputs: Sequence[Input], places: Sequence[int], go_on: Callable[[], None]) -> Float32:
        """What the vendor makes of the inputs at some places, shape (places, dim)."""
        some = [inputs[place] for place in places]
        tokens = sum(one.tokens for one in some)
        failure, unreadable = "", 0
        for failures in range(1, TRIES + 1):
            with self.till.request(tokens) as payment:
                sent = self._limiter.enter(len(some), tokens, go_on)
                came = self._sent_once(some, payment)
                if payment.billed is not None and payment.answered:
                    sent.tokens = payment.billed
            if isinstance(came, OtherModel):
                raise LocoError(
                    f"{self._service.vendor} was asked for '{self._parameters.model}' and answered with "
                    f"'{self._plain(came.model)}'. Nothing of that answer was kept; see what the vendor says of the "
                    "model."
                )
            if isinstance(came, Refused) and not passing(came.status):
                raise self._refusal(came, inputs, places)
            if not isinstance(came, Refused | Unanswered | Unreadable):
                return came
            unreadable += isinstance(came, Unreadable)
            if unreadable == UNREADABLE_TRIES:
                raise LocoError(
                    f"{self._service.vendor} sent no usable vectors {unreadable} times; the last time "
                    f"{self._told(came)}. What was answered well is kept; check the model's card."
                )
            failure, asked = self._told(came), came.retry_after if isinstance(came, Refused) else None
            if asked is not None and asked > LONGEST_ASKED:
                raise LocoError(
                    f"{self._service.vendor} asks to come back in {asked / 60:,.0f} minutes: {failure}. What was "
                    "answered is kept: run the same command again then."
                )
            if asked is not None:
                self._limiter.close(asked)
            elif failures < TRIES:
                self._wait(backoff(failures), go_on)
        raise LocoError(
            f"{self._service.vendor} gave no vectors {TRIES} times in a row; the last time {failure}. What was "
            "answered is kept: run the same command again to go on."
        )

    def _sent_once(
        self, some: Sequence[Input], payment: Payment
    ) -> Float32 | Refused | Unanswered | Unreadable | OtherModel:
        """The vectors of one request, or why there are none. What a client raises ends here: it may hold the key."""
        if self._vendor is None:
            raise RuntimeError("a dry run sends nothing")
        payment.lose(None)  # until something is known of it, it may be on the bill
        try:
            answer = self._vendor.embed([str(one.content) for one in some], some[0].role)
            vectors = vectors_of(answer, len(some), self._parameters.dim, self._parameters.model)
            payment.answer(answer.tokens)
        except Refused as refused:
            payment.lose(0)
            return refused
        except Unanswered as unanswered:
            payment.lose(None if unanswered.reached else 0)
            return unanswered
        except (Unreadable, OtherModel) as useless:
            payment.lose(useless.tokens)
            return useless
        except Exception as error:  # of the client, for an answer that is none: each has kinds of its own
            return Unreadable(f"{type(error).__name__}: {self._plain(one_line(error))}")
        return vectors

    def _refusal(self, refused: Refused, inputs: Sequence[Input], places: Sequence[int]) -> LocoError:
        """The error for a request that it is no use to send again."""
        vendor, model = self._service.vendor, self._parameters.model
        said = self._plain(refused.message)
        if refused.status in (401, 403):  # what it says may hold a part of the key
            return LocoError(
                f"{vendor} does not accept the key in {self._service.key} for '{model}' (status {refused.status}): it "
                "is wrong or expired, or may not use this model. What was answered is kept: set another key and run "
                "the same command again."
            )
        if refused.status == 402:
            return LocoError(
                f"{vendor} says that there is no credit left: {said}. What was answered is kept: add some and run the "
                "same command again."
            )
        if refused.status == 404:
            return LocoError(f"{vendor} has no model '{model}' at {self._service.url} (status 404): {said}.")
        if refused.status in (400, 413, 422) and _TOO_LONG.search(refused.message):
            longest = max(places, key=lambda place: inputs[place].tokens)
            others = f" (or one of {len(places) - 1} shorter ones in the same request)" if len(places) > 1 else ""
            return BadText(
                longest,
                f"with about {inputs[longest].tokens:,} tokens{others} is too long for {vendor}, which says: {said}. "
                "What was answered is kept; choose a smaller size, as in --strategy "
                f"'truncate({max(inputs[longest].tokens * 3 // 4, 1)})'",
            )
        return LocoError(f"{vendor} refused a request for '{model}' (status {refused.status}): {said}.")

    def _told(self, failure: Refused | Unanswered | Unreadable) -> str:
        if isinstance(failure, Refused):
            return f"it answered {failure.status} ({self._plain(failure.message)})"
        if isinstance(failure, Unanswered):
            return self._plain(failure.message)
        return f"it sent {self._plain(failure.reason)}"

    def _plain(self, text: str) -> str:
        """A vendor's words for a line of ours: printable, not endless, and without the key."""
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()).rstrip(".")
        hidden = self._key.hidden_in(line)
        return hidden if len(hidden) <= _LONGEST_MESSAGE else hidden[: _LONGEST_MESSAGE - 3] + "..."

    def _wait(self, seconds: float, go_on: Callable[[], None]) -> None:
        end = self._clock.now() + seconds
        while (left := end - self._clock.now()) > 0:
            go_on()
            self._clock.sleep(min(left, LOOK_UP))


def _tokens_at_once(service: Service) -> int:
    if service.tokens_per_minute is None:
        return min(service.tokens, _MOST_TOKENS)
    share = service.tokens_per_minute // _SHARE_OF_A_MINUTE
    # Fewer requests with more in them, where only few are allowed in a minute.
    needed = -(-service.tokens_per_minute // service.requests_per_minute) if service.requests_per_minute else 1
    return max(1, min(service.tokens, max(share, needed)))
