"""Result files: where they lie, written whole, checked on write and on read.

``docs/result.schema.json`` is generated from their classes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError
from pydantic.json_schema import models_json_schema

from loco.errors import LocoError
from loco.files import sha256_of, write_atomically
from loco.results.cluster import ClusterResult
from loco.results.needle import NeedleResult
from loco.results.retrieval import Result
from loco.results.speed import SpeedResult

LARGEST_FILE = 50_000_000

# Every kind of result file, by what stands in its field ``kind``; the first files did not say, and were of retrieval.
Record = Result | NeedleResult | SpeedResult | ClusterResult
_KINDS: dict[str, type[Record]] = {
    "retrieval": Result,
    "needle": NeedleResult,
    "speed": SpeedResult,
    "cluster": ClusterResult,
}


class _Kind(BaseModel):
    kind: str = Field(default="retrieval", max_length=40)


def result_path(model: str, strategy: str, variant: str, task: str, vector_form: str = "") -> Path:
    """Where the result of an evaluation belongs below a folder of results."""
    way = f"{strategy}, {vector_form}" if vector_form else strategy
    return record_path(model, way, variant, task)


def record_path(model: str, strategy: str, kind: str, name: str) -> Path:
    """Where a result belongs below a folder of results: by model, strategy, and what was measured."""
    return Path(_slug(model), _slug(strategy), _slug(kind), f"{_slug(name)}.json")


def json_schema() -> dict[str, object]:
    """The JSON Schema of a result file."""
    _, schema = models_json_schema([(model, "validation") for model in _KINDS.values()], title="loco result")
    kinds = [{"$ref": f"#/$defs/{model.__name__}"} for model in _KINDS.values()]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "oneOf": kinds}


def write_result(result: Result, run: bytes | None, folder: Path) -> Path:
    """Write a result below ``folder``, and its gzipped TREC run beside it; returns the result's path.

    The run comes first: where a result stands, its run stands too.
    """
    place = result_path(result.model.name, result.strategy, result.variant, result.task, result.vector_form)
    if run is not None:
        write_atomically(run_path(folder / place), run)
    return write_record(result, folder / place)


def write_record(record: Record, path: Path) -> Path:
    """Write a result file of any kind, checked once more as a reader would; returns its path."""
    content = record.model_dump_json(indent=2) + "\n"
    type(record).model_validate_json(content)
    write_atomically(path, content.encode())
    return path


def run_path(result_path: Path) -> Path:
    """The TREC run file beside a result file."""
    return result_path.with_name(f"{result_path.stem}.run.gz")


def read_result(path: Path | str) -> Result:
    """Read and check the result of an evaluation. A LocoError says what is wrong with it in one line."""
    record = read_record(path)
    if not isinstance(record, Result):
        raise LocoError(f"{path} is a result of kind '{record.kind}', and one of an evaluation is needed.")
    return record


def read_record(path: Path | str) -> Record:
    """Read and check a result file of any kind. A LocoError says what is wrong with it in one line."""
    path = Path(path)
    try:
        if not path.is_file():
            raise LocoError(f"{path} is not a file.")
        if path.stat().st_size > LARGEST_FILE:
            raise LocoError(f"{path} is larger than {LARGEST_FILE:,} bytes: not a result file.")
        content = path.read_bytes()
        kind = _Kind.model_validate_json(content).kind
        if kind not in _KINDS:
            raise LocoError(f"{path} is not a valid result: kind: there is none called {kind!r:.60}.")
        return _KINDS[kind].model_validate_json(content)
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise LocoError(f"{path} is not a valid result: {where}: {_one_line(first['msg'])}{more}.") from error


def check_run(path: Path, result: Record) -> None:
    """Raise a LocoError where the TREC run beside a measured result at ``path`` is missing or another one's."""
    run = run_path(path)
    if not isinstance(result, Result) or result.measurement is None:
        return
    if not run.is_file():
        raise LocoError(f"{path} has no run beside it: {run.name} is missing.")
    if sha256_of(run) != result.measurement.run_sha256:
        raise LocoError(f"{run} is not the run that {path.name} was scored from.")


def result_files(path: Path) -> Iterator[Path]:
    """The result files at ``path``: itself, or every ``*.json`` below it, sorted."""
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*.json") if file.is_file() and not file.name.startswith("."))
    elif path.exists():
        yield path
    else:
        raise LocoError(f"No file or folder {path}. Write results with: loco eval --model bm25")


def _slug(name: str) -> str:
    """A name as one path component, no two names as the same one.

    A slash becomes two underscores; where anything else but letters, digits, dot, dash and underscore had to go, a
    hash of the name is added.
    """
    plain = name.replace("/", "__")
    safe = re.sub(r"[^\w.-]+", "-", plain, flags=re.ASCII).strip(".-")
    if safe == plain and "__" not in name:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def _one_line(message: str) -> str:
    return " ".join(message.removeprefix("Value error, ").split())
