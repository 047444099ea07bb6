"""How fast models encode, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape

from loco.report.tables import add_numbers, console, counted, show, table
from loco.results.speed import SpeedResult, SpeedRow


def print_speeds(results: Sequence[SpeedResult]) -> None:
    """A table for each result, a line for each length."""
    for result in results:
        _print_speed(result)


def _print_speed(result: SpeedResult) -> None:
    model = result.model
    weights = ", random weights" if model.untrained else ""
    processor = "".join(sign for sign in result.environment.processor if sign.isprintable())  # a stranger's file
    where = ", ".join(result.gpus) or f"{result.device} ({processor})"
    title = f"{model.name}{weights}, {result.strategy}: speed on {where} in {result.dtype}"
    rows = table(title=escape(title))
    add_numbers(rows, "Tokens", "Read", "Padded to", "Inputs", "Seconds", "Least to most", "First", "Tokenising")
    add_numbers(rows, "Tokens read/s", "Peak GB")
    if result.gpus:
        add_numbers(rows, "GPU GB")
    for row in result.rows:
        memory = [row.peak_bytes] + [row.gpu_peak_bytes or 0] * bool(result.gpus)
        rows.add_row(
            f"{row.tokens:,}",
            f"{row.tokens_read:,}" + ", text cut" * _cut(row),
            f"{row.tokens_computed:,}",
            f"{row.inputs:,}",
            *_seconds(row),
            *(f"{size / 1e9:.2f}" for size in memory),
        )
    show(rows)
    for remark in _remarks(result):
        console().print(escape(remark), soft_wrap=True)


def _cut(row: SpeedRow) -> bool:
    return row.text_tokens_seen < row.text_tokens


def _seconds(row: SpeedRow) -> tuple[str, ...]:
    if row.seconds is None or row.tokenising_seconds is None or row.tokens_per_second is None or row.first is None:
        return ("", "", "", "", "")
    runs = [run.seconds for run in row.runs]
    return (
        _figure(row.seconds),
        f"{_figure(min(runs))} to {_figure(max(runs))}",
        _figure(row.first.seconds),
        _figure(row.tokenising_seconds),
        _figure(row.tokens_per_second),
    )


def _figure(number: float) -> str:
    """Three digits that count, or a whole number; never a power of ten."""
    return f"{number:,.0f}" if number >= 99.95 else f"{number:#.3g}" if number >= 1e-4 else f"{number:.6f}"


def _remarks(result: SpeedResult) -> Iterator[str]:
    """What a reader of the table must know beside it."""
    for row in result.rows:
        if row.problem:
            yield f"{row.tokens:,} tokens: {row.problem}."
    cut = [row for row in result.rows if _cut(row)]
    if cut:
        lengths = ", ".join(f"{row.tokens:,}" for row in cut)
        shares = ", ".join(f"{1 - row.text_tokens_seen / row.text_tokens:.1%}" for row in cut)
        yield f"{lengths} tokens: {shares} of the text were never read. These are not the seconds of encoding it."
    runs = sorted({len(row.runs) for row in result.rows if row.runs})
    if runs:
        least = f"{runs[0]:,} to " * (len(runs) > 1)
        yield (
            f"Seconds: the median of {least}{counted(runs[-1], 'run')} after a first one, from token ids to vectors. "
            f"{_parallel(result)} Peak: the process, libraries and weights included."
        )


def _parallel(result: SpeedResult) -> str:
    threads = "" if result.threads is None else f", {counted(result.threads, 'thread')} of PyTorch"
    lanes = "one batch at a time" if result.lanes == 1 else f"{result.lanes} batches at once"
    return f"Batches of at most {result.batch_tokens:,} tokens, {lanes}{threads}."
