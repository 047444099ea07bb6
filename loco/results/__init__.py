"""Result files. Every kind of them describes itself, and is checked on write and on read."""

from __future__ import annotations

from loco.results.cluster import ClusterResult
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
from loco.results.needle import NeedleResult
from loco.results.retrieval import (
    Bootstrap,
    Bucket,
    Buckets,
    CostRecord,
    CutDocument,
    Measurement,
    Metric,
    PartRecord,
    PhaseRecord,
    RerankRecord,
    Result,
    RoleCoverage,
    TaskRecord,
    VectorRecord,
)
from loco.results.speed import SpeedResult

__all__ = [
    "Bootstrap",
    "Bucket",
    "Buckets",
    "ClusterResult",
    "CostRecord",
    "CutDocument",
    "Measurement",
    "Metric",
    "NeedleResult",
    "PartRecord",
    "PhaseRecord",
    "RerankRecord",
    "Result",
    "RoleCoverage",
    "SpeedResult",
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
