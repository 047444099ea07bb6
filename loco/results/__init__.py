"""Result files. Every kind of them describes itself, and is checked on write and on read."""

from __future__ import annotations

from loco.results.files import (
    check_run,
    json_schema,
    read_record,
    read_result,
    record_path,
    result_files,
    result_path,
    run_path,
    write_record,
    write_result,
)
from loco.results.retrieval import (
    Bootstrap,
    Measurement,
    Metric,
    PhaseRecord,
    Result,
    RoleCoverage,
    TaskRecord,
    VectorRecord,
)

__all__ = [
    "Bootstrap",
    "Measurement",
    "Metric",
    "PhaseRecord",
    "Result",
    "RoleCoverage",
    "TaskRecord",
    "VectorRecord",
    "check_run",
    "json_schema",
    "read_record",
    "read_result",
    "record_path",
    "result_files",
    "result_path",
    "run_path",
    "write_record",
    "write_result",
]
