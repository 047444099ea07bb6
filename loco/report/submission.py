"""What a check of a submission has found, for a terminal and for a pull request."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from loco.report.tables import counted
from loco.submission.findings import LEVELS, Finding, Level, Report

_WIDTH = 110
_INDENT = "    "
_LONGEST = 700  # characters of a finding
_SHOWN_PATHS = 2
_MOST = 100  # findings of a level, for a summary that a person reads and a comment that a site takes
_HEADINGS: dict[Level, str] = {"error": "Errors, which block", "warning": "Warnings, to decide on", "note": "Notes"}


def as_text(report: Report) -> str:
    """A report for a terminal. What strangers wrote cannot steer it."""
    parts = [_verdict(report), *("\n".join(lines) for _, lines in _blocks(report))]
    return "\n\n".join(parts) + "\n"


def as_markdown(report: Report) -> str:
    """A report for a comment on a pull request.

    What strangers wrote stands in fenced blocks, where neither HTML nor links nor mentions mean anything; no line of
    it begins with less than four blanks, so that none ends its block.
    """
    parts = [f"# Submission: {'blocked' if report.blocked else 'fine'}", _verdict(report)]
    for heading, lines in _blocks(report):
        parts += [f"## {heading}", "\n".join(["```text", *(f"{_INDENT}{line}" for line in lines[1:]), "```"])]
    return "\n\n".join(parts) + "\n"


def _verdict(report: Report) -> str:
    found = ", ".join(counted(len(_grouped(report, level)), level) for level in LEVELS)
    unchanged = f", {report.unchanged:,} more as they were" if report.unchanged else ""
    state = "Something has to change first" if report.blocked else "Nothing blocks it"
    return (
        f"{state}: {found}. {counted(report.checked, 'result')} checked{unchanged}; "
        f"{counted(report.rescored, 'run')} scored again from the data."
    )


def _blocks(report: Report) -> Iterator[tuple[str, list[str]]]:
    """A heading and the lines below it, the heading being the first of them."""
    if report.rows:
        yield "Results", ["Results, with those they join", *_table(report)]
    for level in LEVELS:
        groups = _grouped(report, level)
        if groups:
            heading = f"{_HEADINGS[level]} ({len(groups):,})"
            lines = [line for finding, paths in groups[:_MOST] for line in _lines(finding, paths)]
            more = [f"and {len(groups) - _MOST:,} more"] if len(groups) > _MOST else []
            yield heading, [heading, *lines, *more]


def _table(report: Report) -> list[str]:
    rows = [("Model", "Strategy", "Variant", "Origin", "Tasks", "nDCG@10")]
    for row in report.rows[:_MOST]:
        tasks = f"{len(row.tasks)} of {row.expected}" if row.expected else f"{len(row.tasks)}"
        words = [_plain(word, 60) for word in (row.model, row.strategy, row.variant, row.origin)]
        rows.append((words[0], words[1], words[2], words[3], tasks, f"{row.average:.4f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _grouped(report: Report, level: Level) -> list[tuple[Finding, list[str]]]:
    """The findings of a level, each with its files: what several have in common is said once."""
    groups: dict[tuple[str, str], tuple[Finding, list[str]]] = {}
    for finding in report.findings:
        if finding.level == level:
            groups.setdefault((finding.about, finding.text), (finding, []))[1].append(finding.path)
    return list(groups.values())


def _lines(finding: Finding, paths: Sequence[str]) -> list[str]:
    named = ", ".join(_plain(path, 200) for path in paths[:_SHOWN_PATHS] if path)
    more = f" and {len(paths) - _SHOWN_PATHS:,} more" if len(paths) > _SHOWN_PATHS else ""
    text = _plain(finding.text, _LONGEST)
    told = textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)
    return [f"{finding.about}: {named}{more}" if named else finding.about, *told]


def _plain(text: str, longest: int) -> str:
    """A text without what could steer a terminal or hide in a page, cut where it is long."""
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:longest])
    return f"{shown} ..." if len(text) > longest else shown
