"""Result files from strangers: whether they can be believed, and shown without harm."""

from __future__ import annotations

from loco.submission.check import check_submission
from loco.submission.findings import Finding, Report, Row

__all__ = ["Finding", "Report", "Row", "check_submission"]
