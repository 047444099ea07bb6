"""What a reader needs to know to believe a result, or to repeat it."""

from __future__ import annotations

from collections.abc import Iterator

from loco.models.registry import LATEST, model_cards
from loco.results import Measurement, Result
from loco.results.files import Record
from loco.submission.findings import Finding

_NEEDED = ("python", "loco-bench", "numpy")


def check_model(record: Record) -> Iterator[Finding]:
    """What a record says of its model, and what the model's own card says where there is one."""
    model = record.model
    if model.untrained:
        yield Finding(
            "error", "model", "is of untrained weights, drawn at random: they show speed, and are never ranked"
        )
    if isinstance(record, Result) and record.origin == "reported":
        return
    if not model.revision or model.revision == LATEST:
        yield Finding("error", "model", "names no revision of its model, so that nobody can tell which weights it had")
    missing = [name for name, said in (("licence", model.licence), ("url", model.url)) if not said]
    if missing:
        yield Finding("warning", "model", f"does not say the model's {' and '.join(missing)}")
    card = model_cards().get(model.name)
    if card is None:
        return
    own, said = card.identity.model_dump(), model.model_dump()
    names = ["trained_on_loco", "url"]
    if model.revision == card.revision:
        names += ["family", "parameters", "max_tokens", "weights"]
    other = [name for name in names if own[name] != said[name]]
    if other:
        yield Finding(
            "error",
            "model",
            f"says another {' and '.join(other)} than the card of '{card.name}' (loco models show {card.name}): submit "
            "the result as loco wrote it, or call another model by another name",
        )


def check_provenance(result: Result, measurement: Measurement) -> Iterator[Finding]:
    """Where the data came from, what was run, and with which versions."""
    data, environment = measurement.data.provenance, measurement.environment
    empty = {
        "measurement.command": measurement.command,
        "measurement.data.provenance.builder": data.builder,
        "measurement.data.provenance.source": data.source,
    }
    for name, said in empty.items():
        if not said.strip():
            yield Finding("error", "provenance", f"{name} is empty: submit the result as loco wrote it")
    absent = [name for name in _NEEDED if not environment.versions.get(name, "").strip()]
    if absent:
        yield Finding("error", "provenance", f"does not say the version of {', '.join(absent)}")
    if not data.source_sha256 and result.variant not in ("mini", "imported"):
        yield Finding("warning", "provenance", "has no hash of the files its task was built from")
    if environment.commit.endswith("+changes"):
        yield Finding(
            "warning",
            "provenance",
            "was measured with changes to loco that no commit has: say which, or measure without",
        )


def check_source(result: Result) -> Iterator[Finding]:
    """Who reported a figure."""
    if not result.source.strip():
        yield Finding("error", "provenance", "was reported by nobody: name the paper or page and its table in 'source'")
    else:
        yield Finding(
            "warning",
            "provenance",
            f"was reported and not measured: compare its figures with the source, {result.source}",
        )
