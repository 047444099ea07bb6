"""Audit of a built task: what should make a reader of its scores careful. See docs/audit.md."""

from loco.tasks.audit.findings import Finding, findings
from loco.tasks.audit.overlap import built_overlap, overlap
from loco.tasks.audit.record import Audit, read_audit, write_audit
from loco.tasks.audit.run import audit, audit_built

__all__ = [
    "Audit",
    "Finding",
    "audit",
    "audit_built",
    "built_overlap",
    "findings",
    "overlap",
    "read_audit",
    "write_audit",
]
