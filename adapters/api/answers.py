"""Is an answer what was asked for? As many vectors as texts, each once, of the right length, finite."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import numpy as np

from loco.rank.ranking import Float32

from .failures import OtherModel, Unreadable
from .vendor import Answer

_VERSION = r"(?:-v\d+|-\d{3,8})?"  # what a vendor puts behind the name that was asked for


def vectors_of(answer: Answer, count: int, dim: int, model: str) -> Float32:
    """The vectors of an answer in the order of the request, shape (count, dim).

    Embeddings are lists of numbers, or float32 in base64. Raises OtherModel, or Unreadable.
    """
    told = answer.tokens
    if answer.model is not None and not re.fullmatch(re.escape(model.lower()) + _VERSION, answer.model.lower()):
        raise OtherModel(answer.model, told)
    places = [place for place, _ in answer.embeddings]
    if sorted(places) != list(range(count)):
        raise Unreadable(f"{len(places)} vectors for {count} texts, or some twice", told)
    vectors = np.empty((count, dim), dtype=np.float32)
    for place, embedding in answer.embeddings:
        vector = _vector(embedding, told)
        if vector.shape != (dim,):
            raise Unreadable(f"a vector of shape {vector.shape}, not ({dim},)", told)
        with np.errstate(over="ignore"):
            vectors[place] = vector
    if not np.isfinite(vectors).all():
        raise Unreadable("a vector with NaN or infinity", told)
    if not vectors.any(axis=1).all():
        raise Unreadable("a vector of zeros", told)
    return vectors


def _vector(embedding: Any, told: int | None) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
        vector = np.asarray(embedding)
    except (ValueError, TypeError, binascii.Error):  # ragged, or no base64
        raise Unreadable("something that is no vector", told) from None
    if vector.dtype.kind not in "fiu":
        raise Unreadable("something that is no vector", told)
    return vector
