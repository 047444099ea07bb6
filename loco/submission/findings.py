"""What a check of a submission has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# An error blocks a submission, a warning is for the person who decides, a note is for information.
Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing to know, and what to do about it.

    ``about`` is the subject in a word ("figures", "run"); ``path`` the file below what was checked, or the row of the
    board that it is of. ``text`` may quote a stranger: whoever shows it makes it harmless.
    """

    level: Level
    about: str
    text: str
    path: str = ""


@dataclass(frozen=True)
class Row:
    """The retrieval results of one model, revision, strategy, vector form, variant and origin.

    ``tasks`` are those of the submission and what it is to stand beside, ``average`` their plain mean of nDCG@10.
    ``expected`` is how many tasks the variant has, None where nobody can tell.
    """

    model: str
    strategy: str
    variant: str
    origin: str
    tasks: tuple[str, ...]
    expected: int | None
    average: float

    @property
    def partial(self) -> bool:
        """Whether tasks are missing, so that the average is compared with no other."""
        return self.expected is not None and len(self.tasks) < self.expected


@dataclass(frozen=True)
class Report:
    """All findings, errors first. ``rescored`` counts the runs that were scored again, against built data."""

    checked: int
    unchanged: int
    rescored: int
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def blocked(self) -> bool:
        """Whether anything has to change before this can stand on the board."""
        return any(finding.level == "error" for finding in self.findings)
