"""Where a model runs, and in what precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from loco.errors import LocoError, one_line
from loco.models.runtime import Runtime

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@contextmanager
def fitting(name: str, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Raise a LocoError for a model that finds no memory on a device."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise LocoError(
            f"{name} does not fit into the memory of {device} in {dtype}. "
            "Choose another --device, or half precision with --dtype bfloat16."
        ) from error


def devices_of(runtime: Runtime) -> list[torch.device]:
    """The devices that a user has asked for, all of one kind. Raises LocoError for one that is not here."""
    if runtime.device == "auto":
        names = ["cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"]
    elif runtime.device == "all":
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if not names:
            raise LocoError("--device all means every GPU, and there is none here. Pass --device cpu.")
    else:
        names = [name.strip() for name in runtime.device.split(",")]
    devices = [_device(name) for name in names]
    if len({device.type for device in devices}) > 1:
        raise LocoError(
            f"--device {runtime.device} mixes kinds of devices, which compute differently. Choose one kind."
        )
    return devices


def dtype_of(runtime: Runtime, device: torch.device) -> torch.dtype:
    """The precision of the forward pass. Raises LocoError for one that is not offered."""
    if runtime.dtype != "auto":
        if runtime.dtype not in _DTYPES:
            raise LocoError(f"--dtype {runtime.dtype} is unknown. Choose auto, {', '.join(_DTYPES)}.")
        return _DTYPES[runtime.dtype]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which the device meta cannot
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error).partition(". ")[0]
        raise LocoError(
            f"There is no device '{name}' here ({reason}). Choose auto, cpu, cuda, cuda:N or all."
        ) from error
    return device
