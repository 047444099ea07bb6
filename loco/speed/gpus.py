"""The GPUs behind a model: waiting until they are done, and what they hold at most."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gpus:
    """Those of PyTorch's that hold something of a model, by number; none for a model elsewhere."""

    cuda: Any
    numbers: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """As their maker calls them."""
        return tuple(str(self.cuda.get_device_name(number)) for number in self.numbers)

    def synchronise(self) -> None:
        """Return when all that was started on them is done."""
        for number in self.numbers:
            self.cuda.synchronize(number)

    def forget_peak(self) -> None:
        """Count the peak from here on."""
        for number in self.numbers:
            self.cuda.reset_peak_memory_stats(number)

    def peak_bytes(self) -> int | None:
        """The most that tensors have taken on one of them; None without GPUs."""
        return max((int(self.cuda.max_memory_allocated(number)) for number in self.numbers), default=None)


def gpus_of(device: str) -> Gpus:
    """Where a model that is loaded on ``device`` ("cpu", "cuda", ...) lies.

    A device that PyTorch does not call "cuda" is not asked: it is done when the vectors are in main memory.
    """
    torch = sys.modules.get("torch")
    if device != "cuda" or torch is None:
        return Gpus(None, ())
    cuda: Any = torch.cuda
    return Gpus(cuda, tuple(number for number in range(cuda.device_count()) if cuda.memory_allocated(number)))
