"""OpenAI, and whoever speaks its protocol, through the openai client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loco.errors import one_line
from loco.models.card import ModelCard, Service
from loco.models.protocols import Role
from loco.models.runtime import Runtime

from .encoder import ApiEncoder, Parameters, api_encoder
from .failures import Refused, Unanswered
from .keys import Key
from .vendor import Answer, seconds_to_wait

_NO_CREDIT = 402


class OpenAI:
    """The embeddings endpoint. Queries and documents are the same to it."""

    def __init__(self, service: Service, parameters: Parameters, key: Key, timeout: float) -> None:
        import openai

        self._errors = openai
        # The client's own settings from the environment must not send a key elsewhere than the card says.
        self._client = openai.OpenAI(api_key=key.reveal(), base_url=service.url, max_retries=0, timeout=timeout)
        self._asked: dict[str, Any] = {"model": parameters.model}
        if parameters.ask_dim:
            self._asked["dimensions"] = parameters.dim

    def embed(self, texts: Sequence[str], role: Role) -> Answer:
        """One request, sent once."""
        try:
            response = self._client.embeddings.create(input=list(texts), **self._asked)
        except self._errors.APITimeoutError as error:
            raise Unanswered("it did not answer in time", _reached(error)) from None
        except self._errors.APIConnectionError as error:
            raise Unanswered(f"the connection failed ({one_line(error.__cause__ or error)})", _reached(error)) from None
        except self._errors.APIStatusError as error:
            status = _NO_CREDIT if error.code == "insufficient_quota" else error.status_code
            raise Refused(status, _message(error), seconds_to_wait(error.response.headers)) from None
        usage = getattr(response, "usage", None)
        return Answer(
            embeddings=[(one.index, one.embedding) for one in response.data],
            model=getattr(response, "model", None) or None,
            tokens=getattr(usage, "total_tokens", None),
        )

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()


def _reached(error: BaseException) -> bool:
    """Whether the request may have got there: not if there never was a connection."""
    return type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout", "PoolTimeout")


def _message(error: Any) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or error.message)


def openai_encoder(card: ModelCard, runtime: Runtime) -> ApiEncoder:
    """The encoder of a card of OpenAI's, or of a vendor that speaks its protocol. Raises as api_encoder does."""
    return api_encoder(card, runtime, "openai", OpenAI)
