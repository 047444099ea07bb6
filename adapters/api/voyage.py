"""Voyage AI, through the voyageai client."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

from loco.errors import one_line
from loco.models.card import ModelCard, Service
from loco.models.protocols import Role
from loco.models.runtime import Runtime

from .encoder import ApiEncoder, Parameters, api_encoder
from .failures import Refused, Unanswered, Unreadable
from .keys import Key
from .vendor import Answer, seconds_to_wait

_last = threading.local()  # the headers of the thread's last answer: the client drops those of most errors


class Voyage:
    """The embeddings endpoint.

    ``voyageai.Client.embed`` forgets the indices of an answer; ``voyageai.Embedding``, which it calls, has them, and
    tries nothing again.
    """

    def __init__(self, service: Service, parameters: Parameters, key: Key, timeout: float) -> None:
        import voyageai

        self._client = cast(Any, voyageai)
        self._errors = voyageai.error
        self._sessions: list[Any] = []
        self._client.requestssession = self._session  # the client's own would repeat failed connections
        self._key = key
        self._asked: dict[str, Any] = {
            "model": parameters.model,
            "base_url": service.url,
            "request_timeout": timeout,
            "truncation": False,  # cutting is loco's: what is too long is refused
        }
        if parameters.ask_dim:
            self._asked["output_dimension"] = parameters.dim

    def embed(self, texts: Sequence[str], role: Role) -> Answer:
        """One request, sent once."""
        _last.headers = None
        try:
            response = self._client.Embedding.create(
                api_key=self._key.reveal(), input=list(texts), input_type=role, **self._asked
            )
        except self._errors.Timeout as error:
            raise Unanswered("it did not answer in time", "ConnectTimeout" not in repr(error.__cause__)) from None
        except self._errors.APIConnectionError as error:
            reached = "NewConnectionError" not in repr(error.__cause__)
            raise Unanswered(f"the connection failed ({one_line(error)})", reached) from None
        except self._errors.VoyageError as error:
            if (error.http_status or 0) < 400:
                raise Unreadable("something that is no JSON") from None
            raise Refused(error.http_status, _message(error), seconds_to_wait(_headers())) from None
        return Answer(
            embeddings=[(one["index"], one["embedding"]) for one in response["data"]],
            model=response.get("model"),
            tokens=(response.get("usage") or {}).get("total_tokens"),
        )

    def close(self) -> None:
        """Let the connections go."""
        while self._sessions:
            self._sessions.pop().close()

    def _session(self) -> Any:
        """A session without retries that remembers headers; the client asks for one in each thread."""
        import requests

        session = requests.Session()
        session.hooks["response"].append(_remember)
        self._sessions.append(session)
        return session


def _remember(response: Any, **_: Any) -> None:
    _last.headers = response.headers


def _headers() -> Mapping[str, str] | None:
    headers: Mapping[str, str] | None = getattr(_last, "headers", None)
    return headers


def _message(error: Any) -> str:
    body = error.json_body
    said = body.get("detail") if isinstance(body, dict) else None
    return str(said or error.http_body or error)


def voyage_encoder(card: ModelCard, runtime: Runtime) -> ApiEncoder:
    """The encoder of a card of Voyage AI's. Raises as api_encoder does."""
    return api_encoder(card, runtime, "voyageai", Voyage)
