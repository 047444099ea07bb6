"""The result file: one model under one strategy on one task, with everything needed to believe or repeat it.

Checked on write and on read. ``docs/result.schema.json`` is generated from these classes.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from loco.environment import Environment
from loco.errors import LocoError
from loco.files import sha256_of, write_atomically
from loco.models.card import PLAIN, ModelIdentity
from loco.score.metrics import MEASURES, PRIMARY
from loco.tasks.card import task_cards
from loco.tasks.data import ContentHashes, Counts, Provenance, Split, Variant

LARGEST_FILE = 50_000_000
_ROUNDING = 1e-6

# What a stranger names things must not reach a terminal as a control sequence.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(_Part):
    """Mean over the queries, and the ends of its confidence interval (absent where others reported the mean alone)."""

    value: Share
    low: Share | None = None
    high: Share | None = None

    @model_validator(mode="after")
    def _interval_contains_the_mean(self) -> Metric:
        if self.low is None and self.high is None:
            return self
        if self.low is None or self.high is None:
            raise ValueError("an interval has two ends")
        if (
            self.low is not None
            and self.high is not None
            and not self.low - _ROUNDING <= self.value <= self.high + _ROUNDING
        ):
            raise ValueError(f"the interval {self.low} to {self.high} does not contain its mean {self.value}")
        return self


class Bootstrap(_Part):
    """How the intervals were made: percentile bootstrap over queries."""

    confidence: Share
    resamples: Count
    seed: int


class TaskRecord(_Part):
    """The rows that were evaluated."""

    provenance: Provenance
    counts: Counts
    content: ContentHashes


class RoleCoverage(_Part):
    """What the model saw of the texts of one role, in its own tokens (for BM25: index terms).

    ``texts_empty`` have no token at all: nothing is found by them, and they are not found.
    """

    texts: Count
    texts_cut: Count
    tokens: Count
    tokens_seen: Count
    texts_empty: Count = 0

    @model_validator(mode="after")
    def _parts_fit(self) -> RoleCoverage:
        if self.texts_cut + self.texts_empty > self.texts or self.tokens_seen > self.tokens:
            raise ValueError("more was cut or seen than there was")
        return self


class VectorRecord(_Part):
    """The vectors behind a ranking.

    ``fingerprint`` is a hash of the weights, the tokenizer and all else that decides a vector. ``bytes_per_document``
    is what a document takes in an index, on average. ``inputs_encoded`` and ``tokens_encoded`` are what the model read
    for this result and those measured together with it; ``inputs_reused`` stood in the embedding store already, and
    where there are any, the seconds say nothing about the model's speed. ``tokens_encoded`` is null for a model that
    tokenises where loco cannot see it.
    """

    fingerprint: Name
    dim: Annotated[int, Field(ge=1)]
    similarity: Literal["cosine", "dot"]
    device: Name
    padding: Literal["longest", "window"]
    bytes_per_document: Annotated[float, Field(ge=0)]
    inputs_encoded: Count
    tokens_encoded: Count | None
    inputs_reused: Count


class PhaseRecord(_Part):
    """Wall-clock seconds, and the process's peak memory up to the end of the phase."""

    seconds: Seconds
    peak_bytes: Count


class Measurement(_Part):
    """What only the run itself can know.

    ``identity`` is the hash of all that determines the ranking: equal identities need no second run. ``per_query`` is
    the primary measure by query id, over every query of the task. ``run_sha256`` is that of the TREC run beside the
    result. ``seconds`` is the wall-clock time from reading the task to the scores, without loading the model;
    ``command`` is what was typed, the user's home folder shortened to ``~``. ``queries`` and ``documents`` are null for
    a model that cuts texts where loco cannot see it, ``vectors`` for one that has none. ``together_with`` names the
    strategies measured in the same pass: seconds, phases and vectors' counts are those of the pass.
    """

    identity: Sha256
    run_sha256: Sha256
    data: TaskRecord
    depth: Count
    per_query: dict[str, Share] = Field(min_length=1)
    bootstrap: Bootstrap
    queries: RoleCoverage | None
    documents: RoleCoverage | None
    vectors: VectorRecord | None = None
    together_with: tuple[Name, ...] = ()
    phases: dict[str, PhaseRecord]
    seconds: Seconds
    dtype: str
    environment: Environment
    command: str
    finished_at: AwareDatetime


class Result(_Part):
    """One row of evidence.

    ``origin`` is "measured" (with ``measurement``) or "reported" (with ``source``: who reported it, and where).
    ``vector_form`` says how vectors were made smaller before searching ("dim=128, int8"), empty where they were not.
    """

    schema_version: Literal[1]
    origin: Literal["measured", "reported"]
    source: str = Field(default="", max_length=2000)
    model: ModelIdentity
    strategy: Name
    vector_form: str = Field(default="", max_length=200, pattern=PLAIN)
    task: Name
    variant: Variant
    split: Split
    metrics: dict[str, Metric]
    measurement: Measurement | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> Result:
        unheard = set(self.metrics) - set(MEASURES)
        if unheard:
            raise ValueError(f"no such measure: {', '.join(sorted(unheard))}; there are: {', '.join(MEASURES)}")
        if self.variant != "imported" and self.task not in task_cards():
            raise ValueError(f"no such task: {self.task}; there are: {', '.join(task_cards())}")
        if PRIMARY not in self.metrics:
            raise ValueError(f"the metrics lack {PRIMARY}")
        if self.origin == "reported":
            if not self.source or self.measurement is not None:
                raise ValueError("a reported result has a source and no measurement")
            return self
        if self.measurement is None or self.source:
            raise ValueError("a measured result has a measurement and no source")
        if set(self.metrics) != set(MEASURES) or any(metric.low is None for metric in self.metrics.values()):
            raise ValueError("a measured result has every measure, each with its interval")
        per_query = self.measurement.per_query
        if len(per_query) != self.measurement.data.counts.queries:
            raise ValueError(f"{len(per_query)} per-query values for {self.measurement.data.counts.queries} queries")
        mean = math.fsum(per_query.values()) / len(per_query)
        stated = self.metrics[PRIMARY].value
        if abs(mean - stated) > _ROUNDING:
            raise ValueError(f"the per-query values average {mean:.6f}, but {PRIMARY} says {stated:.6f}")
        return self


def result_path(model: str, strategy: str, variant: str, task: str, vector_form: str = "") -> Path:
    """Where a result belongs below a folder of results."""
    way = f"{strategy}, {vector_form}" if vector_form else strategy
    return Path(_slug(model), _slug(way), variant, f"{_slug(task)}.json")


def json_schema() -> dict[str, object]:
    """The JSON Schema of a result file."""
    schema = Result.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "loco result"}


def write_result(result: Result, run: bytes | None, folder: Path) -> Path:
    """Write a result below ``folder``, and its gzipped TREC run beside it; returns the result's path.

    The run comes first: where a result stands, its run stands too.
    """
    path = folder / result_path(result.model.name, result.strategy, result.variant, result.task, result.vector_form)
    content = result.model_dump_json(indent=2) + "\n"
    Result.model_validate_json(content)
    if run is not None:
        write_atomically(run_path(path), run)
    write_atomically(path, content.encode())
    return path


def run_path(result_path: Path) -> Path:
    """The TREC run file beside a result file."""
    return result_path.with_name(f"{result_path.stem}.run.gz")


def read_result(path: Path | str) -> Result:
    """Read and check a result file. A LocoError says what is wrong with it in one line."""
    path = Path(path)
    try:
        if not path.is_file():
            raise LocoError(f"{path} is not a file.")
        if path.stat().st_size > LARGEST_FILE:
            raise LocoError(f"{path} is larger than {LARGEST_FILE:,} bytes: not a result file.")
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise LocoError(f"{path} is not a valid result: {where}: {_one_line(first['msg'])}{more}.") from error


def check_run(path: Path, result: Result) -> None:
    """Raise a LocoError where the TREC run beside a measured result at ``path`` is missing or another one's."""
    run = run_path(path)
    if result.measurement is None:
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
