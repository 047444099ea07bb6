"""What else was measured of a model: a needle in a haystack, and seconds to encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loco.models.card import ModelIdentity
from loco.needle.drawing import short_length
from loco.results import NeedleResult, SpeedResult

from .figures import Figure, count, part, seconds, size
from .provenance import Fact
from .tables import Heading, Table, headings, number, shaded, text
from .texts import below_results, visible


@dataclass(frozen=True)
class Measured:
    """A result of another kind than retrieval, with its file and the command that made it."""

    heading: str
    facts: Sequence[Fact]
    table: Table
    file: str
    commands: Sequence[str]


def needle(path: str, result: NeedleResult) -> Measured:
    """How well a passage is found, by its position and the length of the document."""
    made = result.haystacks
    way = f"{result.strategy}, {result.vector_form}" if result.vector_form else result.strategy
    rows = []
    for cell in result.cells:
        if result.order_free and cell.position > 0:
            continue  # the same figures: one position was ranked and stands for all
        documents = cell.documents
        read = f"{part(documents.tokens_seen, documents.tokens)} %" if documents and documents.tokens else "not known"
        figure = Figure.of(cell.ndcg)
        rows.append(
            [
                number("any" if result.order_free else f"{cell.position}"),
                number("any" if result.order_free else f"{cell.depth:.0%}"),
                number("" if cell.length is None else short_length(cell.length)),
                shaded(figure),
                number(figure.interval, figure.told),
                number(read),
            ]
        )
    columns = [
        Heading("Position", True, "passages before the one that answers"),
        Heading("Depth", True, "share of the passages before it"),
        Heading("Length", True, "of the document, in tokens"),
        Heading("nDCG@10", True),
        Heading("95 % interval", True),
        Heading("Tokens seen", True, "share of the documents' tokens that the model read"),
    ]
    facts = {
        **_which(result.model),
        "Source": made.source,
        "Queries": f"{made.queries:,}, each against {made.queries:,} documents; chance is {100 * result.chance:.1f}",
        "Documents": f"{made.distractors:,} other passages each" if made.distractors else _lengths(made.lengths),
        "Order": "the order of words does not matter to this model, so one position stands for all"
        if result.order_free
        else "each position was measured",
        "Answers": "known; none stands in another passage" if made.answers_known else "not known to the source",
        "Seconds": f"{seconds(result.seconds)}, {result.dtype}{f' on {result.device}' if result.device else ''}",
        "Haystacks": f"SHA-256 {made.sha256}",
    }
    return Measured(
        heading=visible(f"{way}, {made.source}"),
        facts=[Fact.of(name, value) for name, value in facts.items()],
        table=Table("nDCG@10 in percent by the position of the passage", columns, rows),
        file=below_results(path),
        commands=[visible(result.command, 10_000)],
    )


def speed(path: str, result: SpeedResult) -> Measured:
    """How long texts take to encode, by their length."""
    rows = [
        [
            number(count(row.tokens)),
            number(count(row.text_tokens_seen), f"of {row.text_tokens:,} tokens of the text alone"),
            number("" if row.seconds is None else seconds(row.seconds), f"median of {len(row.runs)} passes"),
            number("" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}"),
            number("" if row.tokenising_seconds is None else seconds(row.tokenising_seconds)),
            number(count(row.inputs)),
            number(size(row.peak_bytes)),
            number("" if row.gpu_peak_bytes is None else size(row.gpu_peak_bytes)),
            text(row.problem or "", kind="text"),
        ]
        for row in result.rows
    ]
    columns = headings(
        numbers=("Tokens", "Seen", "Seconds", "Tokens a second", "Tokenising", "Inputs", "Peak memory", "Peak on GPU")
    )
    facts = {
        **_which(result.model),
        "Device": ", ".join(result.gpus) or result.device,
        "Precision": result.dtype,
        "Processor": f"{result.environment.processor}, {result.environment.cores:,} cores",
        "Threads": count(result.threads) or "not of PyTorch",
        "Batches": f"{result.batch_tokens:,} padded tokens at most, {result.lanes:,} at once, to {result.padding}",
        "Commit of loco": result.environment.commit or "not known",
        "Versions": ", ".join(f"{name} {version}" for name, version in result.environment.versions.items()),
    }
    return Measured(
        heading=visible(f"{result.strategy} on {result.device}, {result.dtype}"),
        facts=[Fact.of(name, value) for name, value in facts.items()],
        table=Table("Seconds from inputs to vectors, by the length of the text", [*columns, Heading("Problem")], rows),
        file=below_results(path),
        commands=[visible(command, 10_000) for command in dict.fromkeys(row.command for row in result.rows)],
    )


def _which(model: ModelIdentity) -> dict[str, str]:
    """What tells models of one name apart."""
    untrained = {"Untrained": "its weights were drawn at random: figures say nothing of the trained model's quality"}
    return {"Revision": model.revision or "none stated", **(untrained if model.untrained else {})}


def _lengths(lengths: Sequence[int]) -> str:
    return "of " + ", ".join(map(short_length, lengths)) + " tokens"
