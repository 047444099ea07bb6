"""What a result was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

# What can change a number, by import name; only what a run has imported is recorded.
_DISTRIBUTIONS = {
    "numpy": "numpy",
    "scipy": "scipy",
    "pyarrow": "pyarrow",
    "pytrec_eval": "pytrec-eval-terrier",
    "bm25s": "bm25s",
    "nltk": "nltk",
    "regex": "regex",
    "rank_bm25": "rank-bm25",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "tokenizers": "tokenizers",
    "transformers": "transformers",
    "umap": "umap-learn",
    "sentence_transformers": "sentence-transformers",
}


class Environment(BaseModel):
    """Versions, commit and hardware. ``commit`` is empty outside a git checkout; ``memory_bytes`` 0 where unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: dict[str, str]
    commit: str
    platform: str
    processor: str
    cores: int
    memory_bytes: int


def recorded(command: str) -> str:
    """A command as a result records it: the user's home folder as ``~``, bytes that are no text with an escape."""
    return command.replace(str(Path.home()), "~").encode("utf-8", "backslashreplace").decode("utf-8")


def environment() -> Environment:
    """The environment of the running process. Neither host nor user name is part of it."""
    versions = {"python": platform.python_version(), "loco-bench": _version("loco-bench")}
    versions.update((name, _version(name)) for module, name in _DISTRIBUTIONS.items() if module in sys.modules)
    return Environment(
        versions=versions,
        commit=_commit(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=_memory(),
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


@cache
def _commit() -> str:  # two processes of git, and what is imported does not change
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return ""
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=normal", "--", "loco", "adapters")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}+changes" if changed else commit


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
