"""Audit of a built task: what should make a reader of its scores careful. See docs/audit.md."""

from loco.tasks.audit.findings import Finding, findings
from loco.tasks.audit.record import Audit, read_audit, write_audit
from loco.tasks.audit.run import audit, audit_built, overlap

__all__ = ["Audit", "Finding", "audit", "audit_built", "findings", "overlap", "read_audit", "write_audit"]
