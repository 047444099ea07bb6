"""Seconds and peak memory of each phase of a run.

A model adapter marks its phases with :func:`phase`; whoever wants the figures opens a :func:`recording` around the
work. Without one, marking a phase costs nothing and records nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PhaseCost:
    """``seconds`` of wall-clock time, and the process's peak resident ``peak_bytes`` up to the end of the phase."""

    seconds: float
    peak_bytes: int


@dataclass
class _Recorder:
    phases: dict[str, PhaseCost]
    open: list[str]


_current: ContextVar[_Recorder | None] = ContextVar("phases", default=None)


@contextmanager
def recording() -> Iterator[dict[str, PhaseCost]]:
    """Collect the phases marked inside the block, in the order they began; a repeated phase adds up."""
    recorder = _Recorder({}, [])
    _reset_peak()
    token = _current.set(recorder)
    try:
        yield recorder.phases
    finally:
        _current.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark a block as the phase ``name`` of the current recording; a phase inside another is called "outer/inner"."""
    recorder = _current.get()
    if recorder is None:
        yield
        return
    recorder.open.append(name)
    path = "/".join(recorder.open)
    before = recorder.phases.setdefault(path, PhaseCost(0.0, 0)).seconds
    start = time.perf_counter()
    try:
        yield
    finally:
        recorder.phases[path] = PhaseCost(before + time.perf_counter() - start, peak_bytes())
        recorder.open.pop()


def peak_bytes() -> int:
    """The process's largest resident set since the recording began, or ever where the system cannot tell (not Linux).

    It includes what the process held before, such as imported libraries.
    """
    status = Path("/proc/self/status")
    try:
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows has no getrusage
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_peak() -> None:
    """Start the high-water mark anew, at what the process holds now: the peaks of earlier tasks do not count."""
    with suppress(OSError):  # not Linux, or not allowed: the mark then covers the whole process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
