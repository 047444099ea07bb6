"""Copies of a model, one a device or one a core, of which each batch takes whichever is free."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from typing import Generic, TypeVar

import torch

from loco.rank.ranking import Float32

Model = TypeVar("Model", bound=torch.nn.Module)

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Replicas(Generic[Model]):
    """A model on the CPU, brought to each of some devices.

    With ``core_each``, a single CPU computes a batch on each core, all with the same weights; else all its cores share
    a batch. ``count`` is how many batches can be computed at once.
    """

    def __init__(self, model: Model, devices: Sequence[torch.device], core_each: bool) -> None:
        alone = devices[0].type == "cpu" and len(devices) == 1
        self._cores = torch.get_num_threads() if alone and core_each else 1
        self._free: SimpleQueue[tuple[Model, torch.device]] = SimpleQueue()
        for place, device in enumerate(devices):
            own = (model if place == len(devices) - 1 else copy.deepcopy(model)).to(device)
            for _ in range(self._cores):
                self._free.put((own, device))
        self.count = len(devices) * self._cores

    def compute(self, forward: Callable[[Model, torch.device], Float32]) -> Float32:
        """What ``forward`` makes with a copy that is free, on its device.

        Raises MemoryError where memory runs out there. What a failed pass has allocated hangs on the exception, so the
        cache is emptied only after that is gone.
        """
        model, device = self._free.get()
        try:
            with _one_core_of(self._cores) if self._cores > 1 else nullcontext():
                computed = _unless_memory_ends(forward, model, device)
        finally:
            self._free.put((model, device))
        if computed is None:
            if device.type != "cpu":
                torch.get_device_module(device).empty_cache()
            raise MemoryError(f"a batch does not fit on {device}")
        return computed


def _unless_memory_ends(
    forward: Callable[[Model, torch.device], Float32], model: Model, device: torch.device
) -> Float32 | None:
    try:
        with torch.inference_mode():
            return forward(model, device)
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _NO_MEMORY)):
            raise
        return None


@contextmanager
def _one_core_of(cores: int) -> Iterator[None]:
    """Have this thread compute by itself: PyTorch keeps the number of threads for each thread that calls it."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(cores)
