"""What both BM25 models do with the texts of a task."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING

from loco.progress import tracked
from loco.rank.ranking import Coverage, TextCoverage

from .analyzer import TermIds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def analyzed(texts: Sequence[str], term_ids: TermIds, label: str) -> list[npt.NDArray[np.int32]]:
    """The term ids of each text, with a progress bar called ``label``."""
    return [term_ids(text) for text in tracked(texts, label)]


def whole(queries: Sequence[Sized], documents: Sequence[Sized]) -> Coverage:
    """The coverage of a model that sees every term; tokens are index terms."""
    return Coverage(_whole(queries), _whole(documents))


def _whole(texts: Sequence[Sized]) -> TextCoverage:
    terms = sum(map(len, texts))
    return TextCoverage(texts=len(texts), texts_cut=0, tokens=terms, tokens_seen=terms)
