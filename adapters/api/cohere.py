"""Cohere, through the cohere client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loco.errors import one_line
from loco.models.card import ModelCard, Service
from loco.models.protocols import Role
from loco.models.runtime import Runtime

from .encoder import ApiEncoder, Parameters, api_encoder
from .failures import Refused, Unanswered, Unreadable
from .keys import Key
from .vendor import Answer, seconds_to_wait

_INPUT_TYPES: dict[Role, str] = {"query": "search_query", "document": "search_document"}


class Cohere:
    """The embed endpoint, version 2. Its answers have neither indices nor the model's name: order is all there is."""

    def __init__(self, service: Service, parameters: Parameters, key: Key, timeout: float) -> None:
        import cohere
        import httpx
        from cohere.core.api_error import ApiError

        self._api_error, self._http = ApiError, httpx
        self._http_client = httpx.Client(timeout=timeout, follow_redirects=False)
        self._client = cohere.ClientV2(
            api_key=key.reveal(),
            base_url=service.url,
            timeout=timeout,
            max_retries=0,
            client_name="loco-bench",
            httpx_client=self._http_client,
        )
        # Cutting is loco's: what is too long is refused, not cut where nobody sees it.
        self._asked: dict[str, Any] = {
            "model": parameters.model,
            "embedding_types": ["float"],
            "truncate": "NONE",
        }
        if parameters.ask_dim:
            self._asked["output_dimension"] = parameters.dim

    def embed(self, texts: Sequence[str], role: Role) -> Answer:
        """One request, sent once."""
        try:
            response = self._client.embed(texts=list(texts), input_type=_INPUT_TYPES[role], **self._asked)
        except self._http.TimeoutException as error:
            raise Unanswered("it did not answer in time", not isinstance(error, self._http.ConnectTimeout)) from None
        except self._http.TransportError as error:
            reached = not isinstance(error, self._http.ConnectError)
            raise Unanswered(f"the connection failed ({one_line(error)})", reached) from None
        except self._api_error as error:
            status = error.status_code or 0
            if status < 400:
                raise Unreadable("something that is no JSON") from None
            raise Refused(status, _message(error.body), seconds_to_wait(error.headers)) from None
        embeddings = response.embeddings.float_ or []
        return Answer(embeddings=list(enumerate(embeddings)), model=None, tokens=_billed(response))

    def close(self) -> None:
        """Let the connections go."""
        self._http_client.close()


def _message(body: Any) -> str:
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or body)


def _billed(response: Any) -> int | None:
    units = getattr(getattr(response, "meta", None), "billed_units", None)
    tokens = getattr(units, "input_tokens", None)
    return None if tokens is None else int(tokens)


def cohere_encoder(card: ModelCard, runtime: Runtime) -> ApiEncoder:
    """The encoder of a card of Cohere's. Raises as api_encoder does."""
    return api_encoder(card, runtime, "cohere", Cohere)
