"""Needle results as figures: curves over the position, or a map of position and length."""

from __future__ import annotations

from collections.abc import Sequence

from loco.errors import LocoError
from loco.figures import Curve, curves, heat_map
from loco.needle.haystacks import DISTRACTORS, POSITIONS
from loco.needle.published import published
from loco.results.needle import NeedleResult

_MEASURE = "nDCG@10"


def needle_svg(results: Sequence[NeedleResult]) -> str:
    """The figure of some results as an SVG document.

    Results without lengths are curves over the position, with their intervals, chance, and the paper's curves, dashed.
    One with lengths is a map; LocoError for several, as a map shows one.
    """
    if not any(result.haystacks.lengths for result in results):
        return _curves(results)
    if len(results) > 1:
        raise LocoError("A map of position and length shows one result: leave out --plot, or name one --strategy.")
    return _map(results[0])


def _curves(results: Sequence[NeedleResult]) -> str:
    papers = all(_is_the_papers(result) for result in results)
    drawn = []
    for result in results:
        cells = result.cells
        drawn.append(
            Curve(
                f"{result.model.name}, {result.strategy}",
                [cell.position if papers else cell.depth for cell in cells],
                [cell.ndcg.value for cell in cells],
                [cell.ndcg.low or 0.0 for cell in cells],
                [cell.ndcg.high or 0.0 for cell in cells],
            )
        )
    for chance in sorted({result.chance for result in results}):
        ends = [0, POSITIONS - 1] if papers else [0, 1]
        drawn.append(Curve(f"chance ({chance:.3f})", ends, [chance, chance], dashed=True))
    for curve in published().model:
        places = [place if papers else place / (POSITIONS - 1) for place in range(POSITIONS)]
        drawn.append(
            Curve(
                f"{curve.name.rpartition('/')[2]} (paper)", places, [value / 100 for value in curve.ndcg], dashed=True
            )
        )
    label = (
        f"Passages before the gold passage, of {DISTRACTORS}" if papers else "Share of passages before the gold passage"
    )
    return curves(drawn, f"Needle in a haystack: {_source(results[0])}", label, _MEASURE)


def _map(result: NeedleResult) -> str:
    made = result.haystacks
    values: list[list[float | None]] = [
        [cell.ndcg.value for cell in result.cells if cell.length == length] for length in made.lengths
    ]
    return heat_map(
        values,
        [f"{short_length(length)} tokens" for length in made.lengths],
        [f"{cell.depth:.0%}" for cell in result.cells[: made.positions]],
        f"{result.model.name}, {result.strategy}: {_source(result)}",
        "Share of passages before the gold passage",
        "Length",
    )


def short_length(tokens: int) -> str:
    """A number of tokens as it is typed: 4k for 4,096."""
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else f"{tokens:,}"


def _is_the_papers(result: NeedleResult) -> bool:
    return (result.haystacks.positions, result.haystacks.distractors) == (POSITIONS, DISTRACTORS)


def _source(result: NeedleResult) -> str:
    return f"{result.haystacks.queries:,} queries of {result.haystacks.source}, {_MEASURE}"
