"""How long the documents of a task are: a histogram over a logarithmic axis, by variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from loco.figures.drawing import escaped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WIDTH, _LEFT, _RIGHT = 760, 136, 16
_HIGH, _BETWEEN, _TOP, _BOTTOM = 84, 30, 26, 40
_A_DECADE = 12  # bins in a factor of ten: each is a fifth longer than the one before


@dataclass(frozen=True)
class Spread:
    """The ``lengths`` in characters, shape (documents,), of the documents of a ``variant``."""

    variant: str
    lengths: NDArray[np.int64]

    @property
    def told(self) -> str:
        """It in words."""
        import numpy as np

        first, median, third = np.quantile(self.lengths, [0.25, 0.5, 0.75])
        return (
            f"{self.variant}: {len(self.lengths):,} documents, median {median:,.0f} characters, middle half "
            f"{first:,.0f} to {third:,.0f}, shortest {self.lengths.min():,}, longest {self.lengths.max():,}."
        )


def histogram(spreads: Sequence[Spread]) -> Markup:
    """The figure; every variant has a row of its own, scaled to its fullest bin. There is at least one spread."""
    import numpy as np

    low = min(math.floor(_A_DECADE * math.log10(max(int(one.lengths.min()), 1))) for one in spreads)
    high = max(math.floor(_A_DECADE * math.log10(max(int(one.lengths.max()), 1))) + 1 for one in spreads)
    around = max(_A_DECADE - (high - low), 0)  # a factor of ten at least, so that there are round numbers on the axis
    low, high = max(low - around // 2, 0), high + (around + 1) // 2
    wide = (_WIDTH - _LEFT - _RIGHT) / (high - low)
    bottom = _TOP + len(spreads) * (_HIGH + _BETWEEN) - _BETWEEN
    drawn = list(_axis(low, high, wide, bottom))
    for place, one in enumerate(spreads):
        base = _TOP + place * (_HIGH + _BETWEEN) + _HIGH
        bins = np.floor(_A_DECADE * np.log10(np.maximum(one.lengths, 1)) + 1e-9).astype(int) - low
        counts = np.bincount(np.clip(bins, 0, high - low - 1), minlength=high - low)
        drawn.append(f'<text x="4" y="{base - 4}">{escaped(one.variant)}</text>')
        drawn.append(f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" y2="{base}"/>')
        for number, count in enumerate(counts.tolist()):
            if count:
                tall = max(_HIGH * count / counts.max(), 1.5)
                start, end = (f"{10 ** ((low + number + end) / _A_DECADE):,.0f}" for end in (0, 1))
                told = f"{count:,} of {start} to {end} characters"
                drawn.append(
                    f'<rect class="dot-1" x="{_LEFT + number * wide + 0.5:.1f}" y="{base - tall:.1f}" '
                    f'width="{wide - 1:.1f}" height="{tall:.1f}"><title>{told}</title></rect>'
                )
        median = _LEFT + (_A_DECADE * math.log10(max(float(np.median(one.lengths)), 1)) - low) * wide
        drawn.append(f'<line class="median" x1="{median:.1f}" y1="{base - _HIGH}" x2="{median:.1f}" y2="{base + 4}"/>')
    told = " ".join(one.told for one in spreads)
    height = bottom + _BOTTOM
    return Markup(  # noqa: S704 (every text in it went through escaped)
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escaped(told)}">' + "".join(drawn) + "</svg>"
    )


def _axis(low: int, high: int, wide: float, bottom: float) -> list[str]:
    drawn = []
    for decade in range(low // _A_DECADE, high // _A_DECADE + 1):
        for digit in (1, 2, 5):
            place = _A_DECADE * (decade + math.log10(digit))
            if low <= place <= high:
                x = _LEFT + (place - low) * wide
                drawn.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{bottom + 5}"/>')
                written = f"{digit * 10**decade:,}"
                drawn.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{bottom + 20}">{written}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn.append(
        f'<text class="label" text-anchor="middle" x="{middle:.0f}" y="{bottom + 37}">characters in a document</text>'
    )
    return drawn
