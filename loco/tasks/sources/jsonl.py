"""JSON Lines, one object a line, from files that may be anything."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from loco.errors import LocoError
from loco.tasks.sources.files import SourceFile, opened

SURROGATES = "lone surrogates replaced"

_BOM = b"\xef\xbb\xbf"
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Row(BaseModel):
    """One line of a file. A subclass declares the fields it needs; others may stand there too."""

    model_config = ConfigDict(frozen=True, strict=True)


RowT = TypeVar("RowT", bound=Row)


def read_rows(file: SourceFile, kind: type[RowT], unique: Sequence[str], notes: Counter[str]) -> list[tuple[int, RowT]]:
    """The rows of a JSON Lines file with their line numbers, read line by line.

    No two rows share a value in any of the fields ``unique``. Half a surrogate pair, which JSON can escape but UTF-8
    and parquet cannot hold, becomes U+FFFD and is counted in ``notes``. Blank lines and a byte order mark are
    passed over.

    Raises LocoError, naming the line, for what is not UTF-8, not JSON, not an object, has a field missing or of
    another type, or repeats an id; and for a file without rows.
    """
    rows: list[tuple[int, RowT]] = []
    seen: dict[tuple[str, str], int] = {}
    with opened(file) as lines:
        for number, line in enumerate(lines, 1):
            content = line.removeprefix(_BOM) if number == 1 else line
            if not content.strip():
                continue
            row = _row(file, number, content, kind, notes)
            for field in unique:
                value = getattr(row, field)
                earlier = seen.setdefault((field, value), number)
                if earlier != number:
                    raise LocoError(
                        f"{at(file, number)}: the {field} {short(value)} stands on line {earlier} already; "
                        f"ids must be unique. {file.remedy}"
                    )
            rows.append((number, row))
    if not rows:
        raise LocoError(f"{file} is empty. {file.remedy}")
    return rows


def at(file: SourceFile, number: int) -> str:
    """How an error names a line."""
    return f"{file}, line {number}"


def short(identifier: str) -> str:
    """An id as an error shows it: quoted, on one line, and not endless."""
    return repr(identifier if len(identifier) <= 100 else identifier[:97] + "...")


def wrong_field(error: ValidationError) -> str:
    """What is wrong with a row that is not as its :class:`Row` declares, to stand in an error."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"]))
    if not field:
        return "not an object of fields"
    if problem["type"] == "missing":
        return f"the field '{field}' is missing"
    return f"the field '{field}' {problem['msg'].removeprefix('Input ')}"


def repaired(text: str, notes: Counter[str]) -> str:
    """``text`` with U+FFFD for half surrogate pairs, which JSON can escape but UTF-8 cannot hold."""
    whole, count = _SURROGATE.subn("\ufffd", text)
    if count:
        notes[SURROGATES] += count
    return whole


def _row(file: SourceFile, number: int, line: bytes, kind: type[RowT], notes: Counter[str]) -> RowT:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1})"
    except json.JSONDecodeError as error:
        cut = "" if line.endswith(b"\n") else "; the file ends there, so it is probably cut off"
        problem = f"not JSON ({error.msg}, column {error.colno}){cut}"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        problem = f"not usable JSON ({error})"
    else:
        if not isinstance(value, dict):
            problem = "not a JSON object"
        else:
            if _ESCAPED_SURROGATE.search(line):
                value = _all_repaired(value, notes)
            try:
                return kind.model_validate(value)
            except ValidationError as error:
                problem = wrong_field(error)
    raise LocoError(f"{at(file, number)}: {problem}. {file.remedy}")


def _all_repaired(row: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
    """A row with its strings and those in its lists repaired."""

    def whole(value: Any) -> Any:
        return repaired(value, notes) if isinstance(value, str) else value

    return {
        key: [whole(item) for item in value] if isinstance(value, list) else whole(value) for key, value in row.items()
    }
