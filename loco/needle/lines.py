"""Rows of JSON Lines files, gzipped or not, one at a time: a corpus need not fit into memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from pydantic import ValidationError

from loco.errors import LocoError
from loco.tasks.sources.files import SourceFile, progress_bar
from loco.tasks.sources.jsonl import Row, at, wrong_field

RowT = TypeVar("RowT", bound=Row)

_LONGEST_LINE = 50_000_000
_BOM = b"\xef\xbb\xbf"


def rows(file: SourceFile, kind: type[RowT]) -> Iterator[tuple[int, RowT]]:
    """The rows of a file with their line numbers; blank lines are passed over.

    Raises LocoError, naming the line, for one that is not such a row, and for a damaged file.
    """
    read, unpacked = 0, 0
    try:
        size = file.path.stat().st_size
        with (
            file.path.open("rb") as packed,
            progress_bar(file.path.name, size) as advance,
            _plain(packed, file) as lines,
        ):
            for number, line in enumerate(iter(partial(lines.readline, _LONGEST_LINE), b""), 1):
                unpacked += len(line)
                if len(line) == _LONGEST_LINE:
                    raise LocoError(f"{at(file, number)}: longer than {_LONGEST_LINE:,} bytes. {file.remedy}")
                content = line.removeprefix(_BOM) if number == 1 else line
                if content.strip():
                    yield number, _row(file, number, content, kind)
                advance(packed.tell() - read)
                read = packed.tell()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LocoError(f"{file.path} is a damaged gzip file ({error}). {file.remedy}") from error
    except OSError as error:
        raise LocoError(f"Cannot read {file.path}: {error.strerror or error}. {file.remedy}") from error
    if not unpacked:
        raise LocoError(f"{file.path} is empty. {file.remedy}")


def first_of(folder: Path, *names: str) -> Path | None:
    """The first of some files that a folder holds."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _plain(packed: IO[bytes], file: SourceFile) -> AbstractContextManager[IO[bytes]]:
    if file.path.suffix == ".gz":
        return gzip.open(packed)  # type: ignore[return-value]  # opened for reading, so binary
    return nullcontext(packed)


def _row(file: SourceFile, number: int, line: bytes, kind: type[RowT]) -> RowT:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        said = f"not JSON ({problem['msg']})" if problem["type"] == "json_invalid" else wrong_field(error)
        raise LocoError(f"{at(file, number)}: {said}. {file.remedy}") from error
