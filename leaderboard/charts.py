"""The page of charts: what an average costs, scores by document length, needles. Each figure has its table beside it.

A figure holds one variant and one list of tasks, and speeds of one machine: nothing is drawn side by side that nobody
could compare. Every figure that cannot be drawn is a sentence, with the command that would change that.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import by_length, costs, needles
from .board import Board
from .site import Page, Renderer


def pages(board: Board, renderer: Renderer) -> Iterator[Page]:
    """The page of charts."""
    sections = [
        costs.by_weights(board),
        costs.by_speed(board),
        costs.by_price(board),
        by_length.section(board),
        needles.curves(board),
        needles.maps(board),
    ]
    yield renderer.page("charts.html", "charts.html", "Charts", sections=sections, variants=board.variants)
