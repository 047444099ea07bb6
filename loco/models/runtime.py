"""What a user decides about running a model that is no property of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loco.errors import LocoError

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Runtime:
    """How to run a model.

    - ``device``: "auto" takes a GPU where there is one; else a device by torch's name, several of them separated by
      commas ("cuda:0,cuda:1"), or "all" for every GPU.
    - ``dtype``: "auto" is half precision on GPUs (bfloat16 where the GPU has it) and float32 elsewhere; else float32,
      bfloat16 or float16. Pooling and scoring are float32 in any case.
    - ``trust_remote_code``: run Python code that comes with a checkpoint.
    - ``allow_pickle``: read weights stored as a pickle, which can run code.
    - ``batch_tokens``: padded tokens a batch holds at most; None leaves it to the encoder.
    - ``budget``: US dollars that may be spent on a model that costs money; None for any sum.
    - ``dry``: a model behind a service is only asked what it would be sent: it needs no key, and sends nothing.
    """

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    batch_tokens: int | None = None
    budget: float | None = None
    dry: bool = False

    def __post_init__(self) -> None:
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise LocoError(f"A batch of {self.batch_tokens} tokens holds nothing: batch_tokens must be at least 1.")
        if self.budget is not None and not 0 <= self.budget < math.inf:
            raise LocoError(f"A budget of {self.budget} is no sum of dollars: give one of 0 or more.")
