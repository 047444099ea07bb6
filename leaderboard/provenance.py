"""Where the figures of one row come from: data, surroundings, seconds and memory, cost, what was typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loco.environment import Environment
from loco.results import Bootstrap, Measurement
from loco.results.summary import equivalent

from .board import Entry
from .evidence import measurements
from .figures import count, part, seconds, size
from .tables import Cell, Heading, Table, headings, nothing, number, text
from .texts import Piece, pieces, visible

_HASH = 12  # signs of a hash that are shown; all of it stands in the file


@dataclass(frozen=True)
class Fact:
    """A name and what it is."""

    name: str
    pieces: Sequence[Piece]

    @classmethod
    def of(cls, name: str, value: str) -> Fact:
        """A fact that may hold addresses."""
        return cls(visible(name, 100), pieces(value))


@dataclass(frozen=True)
class Shared:
    """What several tasks of a row have in common; ``tasks`` is empty where all do."""

    tasks: str
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Command:
    """What was typed, and for which tasks; ``tasks`` is empty where it was for all."""

    tasks: str
    text: str


@dataclass(frozen=True)
class Provenance:
    """Everything of a row but its figures."""

    data: Table
    notes: Sequence[str]
    runs: Table
    phases: Table
    parts: Table | None
    reranked: Table | None
    paid: Table | None
    surroundings: Sequence[Shared]
    commands: Sequence[Command]
    intervals: str


def provenance(entry: Entry) -> Provenance | None:
    """Of a row that was measured; None for any other."""
    found = dict(measurements(entry))
    if not found:
        return None
    return Provenance(
        data=_data(found),
        notes=list(dict.fromkeys(visible(note) for cell in entry.cells.values() if (note := equivalent(cell.result)))),
        runs=_runs(found),
        phases=_phases(found),
        parts=_parts(found),
        reranked=_reranked(found),
        paid=_paid(found),
        surroundings=[
            Shared(tasks, _surroundings(one))
            for one, tasks in _together(found, lambda m: m.environment.model_dump_json())
        ],
        commands=[Command(tasks, visible(one.command, 10_000)) for one, tasks in _together(found, lambda m: m.command)],
        intervals="; ".join(dict.fromkeys(_intervals(one.bootstrap) for one in found.values())),
    )


def _data(found: Mapping[str, Measurement]) -> Table:
    rows = []
    for task, one in found.items():
        made, content = one.data.provenance, one.data.content
        left_out = ", ".join(f"{amount:,} {reason}" for reason, amount in made.dropped.items())
        licences = ", ".join(f"{amount:,} {licence}" for licence, amount in made.licences.items())
        files = ", ".join(f"{name} {_short(value)}" for name, value in made.source_sha256.items())
        rows.append(
            [
                text(task),
                text(f"{made.builder} {made.builder_version}"),
                text(made.source, files, kind="text"),
                text(_short(made.source_revision), made.source_revision),
                *(_hash(value) for value in (content.queries, content.documents, content.qrels)),
                text(left_out or "nothing"),
                text(licences or "see the task"),
            ]
        )
    names = ("Task", "Builder", "Source", "Revision", "Queries", "Documents", "Judgements", "Left out", "Licences")
    return Table("The rows that were ranked; hashes are SHA-256 of their contents", headings(*names), rows)


def _runs(found: Mapping[str, Measurement]) -> Table:
    rows = []
    for task, one in found.items():
        vectors = one.vectors
        rows.append(
            [
                text(task),
                text(one.finished_at.strftime("%Y-%m-%d"), one.finished_at.isoformat()),
                text(vectors.device) if vectors else nothing("no vectors"),
                text(one.dtype),
                number(seconds(one.seconds), f"{one.seconds} s, without loading the model"),
                number(size(_peak(one)), "largest resident set of the process"),
                number(count(vectors.dim) if vectors else ""),
                number(size(round(vectors.bytes_per_document)) if vectors else ""),
                number(count(vectors.inputs_encoded) if vectors else ""),
                number(count(vectors.inputs_reused) if vectors else ""),
                text(", ".join(one.together_with) or "alone", kind="text"),
                _hash(vectors.fingerprint) if vectors else nothing(),
                _hash(one.identity),
                _hash(one.run_sha256),
            ]
        )
    columns = [
        *headings("Task", "Measured", "Device", "Precision"),
        *headings(
            numbers=("Seconds", "Peak memory", "Dimensions", "Bytes a document", "Inputs encoded", "Inputs reused")
        ),
        Heading("Measured together with", told="seconds and counts of inputs are those of all of them together"),
        Heading("Fingerprint", told="of weights, tokenizer and all else that decides a vector"),
        Heading("Identity", told="of all that determines the ranking"),
        Heading("Run", told="SHA-256 of the run file"),
    ]
    return Table(
        "The measurements; seconds say something of speed only where nothing was reused or measured together",
        columns,
        rows,
    )


def _phases(found: Mapping[str, Measurement]) -> Table:
    names = list(dict.fromkeys(name for one in found.values() for name in one.phases))
    rows = []
    for task, one in found.items():
        row = [text(task)]
        for name in names:
            cost = one.phases.get(name)
            row.append(
                nothing()
                if cost is None
                else number(
                    seconds(cost.seconds), f"{cost.seconds} s; peak memory up to its end {size(cost.peak_bytes)}"
                )
            )
            row.append(nothing() if cost is None else number(size(cost.peak_bytes)))
        rows.append(row)
    columns = [Heading("Task")]
    for name in names:
        columns += [
            Heading(visible(name, 60), True),
            Heading("peak", True, f"peak memory up to the end of {visible(name, 60)}"),
        ]
    return Table("Seconds and peak memory by phase; a phase behind a slash is part of the one before it", columns, rows)


def _parts(found: Mapping[str, Measurement]) -> Table | None:
    """The single models behind one that is made of models."""
    rows = []
    for task, one in found.items():
        for part_of_it in one.parts:
            seen = part_of_it.documents
            rows.append(
                [
                    text(task),
                    text(part_of_it.model),
                    text(part_of_it.strategy),
                    text(part_of_it.dtype),
                    number("not known" if seen is None else f"{part(seen.tokens_seen, seen.tokens)} %"),
                    _hash(part_of_it.vectors.fingerprint) if part_of_it.vectors else nothing("no vectors"),
                ]
            )
    columns = [
        *headings("Task", "Model", "Strategy", "Precision"),
        Heading("Document tokens seen", True),
        Heading("Fingerprint", told="of weights, tokenizer and all else that decides a vector"),
    ]
    return Table("The models that it is made of", columns, rows) if rows else None


def _reranked(found: Mapping[str, Measurement]) -> Table | None:
    """How the best documents of a first stage were put into another order."""
    rows = [
        [
            text(task),
            text(how.reranker),
            text(how.strategy),
            text(f"{how.first_stage}, {how.first_strategy}"),
            number(count(how.depth)),
            number(count(how.pairs), f"{how.pairs_blank:,} of them with a text without tokens"),
            number(count(how.documents_cut), f"by {how.document_tokens_cut:,} tokens"),
            number(count(how.inputs_scored)),
            number(count(how.inputs_reused)),
            _hash(how.fingerprint),
        ]
        for task, one in found.items()
        if (how := one.rerank) is not None
    ]
    columns = [
        *headings("Task", "Reranker", "Strategy", "First stage"),
        *headings(numbers=("Depth", "Pairs", "Pairs cut", "Inputs scored", "Inputs reused")),
        Heading("Fingerprint", told="of weights, tokenizer and all else that decides a score"),
    ]
    return Table("How the first stage\u2019s documents were reordered", columns, rows) if rows else None


def _paid(found: Mapping[str, Measurement]) -> Table | None:
    rows = []
    for task, one in found.items():
        if (cost := one.cost) is not None:
            price = cost.price
            rows.append(
                [
                    text(task),
                    text(cost.vendor),
                    number(count(cost.requests)),
                    number(count(cost.tokens), f"{cost.tokens_estimated:,} of them estimated"),
                    number("not known" if cost.dollars is None else f"{cost.dollars:,.4f}"),
                    number("" if price is None else f"{price.per_million_tokens:g}"),
                    text("" if price is None else f"{price.as_of}"),
                    Cell(pieces=pieces(price.source) if price else (), kind="text"),
                ]
            )
    columns = [
        *headings("Task", "Vendor"),
        *headings(numbers=("Requests", "Tokens", "Dollars", "Dollars a million tokens")),
        *headings("Price of", "Source of the price"),
    ]
    return Table("What was asked of the vendor in this run, and paid", columns, rows) if rows else None


def _surroundings(one: Measurement) -> list[Fact]:
    environment: Environment = one.environment
    versions = ", ".join(f"{name} {number}" for name, number in environment.versions.items())
    facts = {
        "Commit of loco": environment.commit,
        "Versions": versions,
        "Platform": environment.platform,
        "Processor": environment.processor,
        "Cores": f"{environment.cores:,}",
        "Memory": size(environment.memory_bytes) if environment.memory_bytes > 0 else "",
    }
    return [Fact.of(name, value or "not known") for name, value in facts.items()]


def _intervals(bootstrap: Bootstrap) -> str:
    return (
        f"{bootstrap.confidence:.0%} intervals: {bootstrap.method} bootstrap over queries, "
        f"{bootstrap.resamples:,} resamples, seed {bootstrap.seed}"
    )


def _peak(one: Measurement) -> int:
    return max((cost.peak_bytes for cost in one.phases.values()), default=0)


def _hash(value: str) -> Cell:
    return text(_short(value), value, kind="hash")


def _short(value: str) -> str:
    """The start of a hash, or of what stands in the place of one."""
    kind, _, digest = value.rpartition(":")
    start = digest[:_HASH]
    return f"{kind}:{start}" if kind else start


def _together(found: Mapping[str, Measurement], key: Callable[[Measurement], str]) -> list[tuple[Measurement, str]]:
    """One measurement of each kind, and the tasks of that kind, which are left unsaid where there is only one kind."""
    kinds: dict[str, list[str]] = {}
    for task, one in found.items():
        kinds.setdefault(key(one), []).append(task)
    if len(kinds) == 1:
        return [(next(iter(found.values())), "")]
    return [(found[tasks[0]], ", ".join(map(visible, tasks))) for tasks in kinds.values()]
