"""Cards for models at any address that speaks OpenAI's protocol: ``openai:MODEL@URL?window=N&dim=N``."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from loco.errors import LocoError
from loco.models.card import ModelCard, Service

PREFIX = "openai:"
KEY = "OPENAI_COMPATIBLE_API_KEY"  # not OPENAI_API_KEY, which is nobody else's business

_NAME = re.compile(r"openai:(?P<model>[^@\s]+)@(?P<url>https?://[^@?#\s]+)\?(?P<settings>[\w=&]+)")
_SETTINGS = ("window", "dim")
_LARGEST = 10**7
_INPUTS = 32  # at once: what servers take without being asked to take more


def compatible_card(name: str) -> ModelCard:
    """The card of a model named by its address. Raises LocoError for a name that says too little or too much."""
    match = _NAME.fullmatch(name)
    said = parse_qsl(match["settings"]) if match else []
    numbers = {key: int(value) for key, value in said if re.fullmatch(r"\d{1,8}", value, re.ASCII)}
    known = sorted(numbers) == sorted(_SETTINGS) and len(said) == len(_SETTINGS)
    if match is None or not known or not all(1 <= number <= _LARGEST for number in numbers.values()):
        raise LocoError(
            "A model at an address of your own is named openai:MODEL@URL?window=N&dim=N, with its window in tokens and "
            "the length of its vectors, as in 'openai:bge-m3@http://localhost:8000/v1?window=8192&dim=1024'. A key "
            f"goes into {KEY}."
        )
    model, url = match["model"], match["url"]
    return ModelCard(
        name=name,
        family="api",
        revision="as served",
        description="At an address that speaks OpenAI's protocol; what it was trained on is not known to loco",
        licence="not stated",
        url=url,
        trained_on_loco=False,
        max_tokens=numbers["window"],
        parameters={"model": model, "url": url, "dim": numbers["dim"]},
        factory="loco_adapters.api.openai:openai_encoder",
        strategies=("truncate", "chunk", "chunk-max"),
        service=Service(
            vendor=f"The server at {url}",
            key=KEY,
            key_optional=True,
            url=url,
            inputs=_INPUTS,
            tokens=_INPUTS * numbers["window"],
        ),
    )
