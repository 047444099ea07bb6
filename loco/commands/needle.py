"""Needle in a haystack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loco.commands.model_options import ChosenModel, takes_model
from loco.commands.options import JsonOption, OutOption, print_json, raise_all, typed
from loco.errors import LocoError

if TYPE_CHECKING:
    from loco.needle.measuring import Measured

_LENGTH = re.compile(r"(\d{1,7})(k?)", re.ASCII)


@takes_model
def needle_command(
    model: ChosenModel,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="nq-open-oracle.jsonl.gz or its folder, a BEIR folder of NQ, `hub` for that from the hub (500 MB), or "
            "`synthetic`.",
        ),
    ] = "synthetic",
    queries: Annotated[
        int, typer.Option("--queries", metavar="N", min=2, help="How many queries, drawn at random.")
    ] = 300,
    positions: Annotated[
        int | None,
        typer.Option(
            "--positions",
            metavar="N",
            min=1,
            help="At how many places the gold passage stands in turn, from the first to the last.",
            show_default="40; with --lengths 11",
        ),
    ] = None,
    distractors: Annotated[
        int | None,
        typer.Option(
            "--distractors", metavar="N", min=1, help="How many other passages a document has.", show_default="39"
        ),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            "--lengths",
            metavar="1k,4k,...",
            help="Instead of --distractors: documents as long as that, in tokens of bert-base-uncased; 1k is 1,024.",
        ),
    ] = None,
    haystack_seed: Annotated[
        int, typer.Option("--haystack-seed", metavar="N", min=0, help="Draws other queries and distractors.")
    ] = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE.svg", help="Draw all strategies here.", show_default="one beside each result"
        ),
    ] = None,
    out: OutOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Hide each query's gold passage in a long document, at one position after the other, and search for it.

    The default is the LoCoV1 paper's test: 40 positions among 39 other passages. The same seed gives every model the
    same documents. Vectors are kept in the embedding store: a run that is interrupted goes on where it ended.
    """
    from loco.files import check_writable, write_atomically
    from loco.needle.drawing import needle_svg
    from loco.needle.haystacks import DISTRACTORS, POSITIONS, POSITIONS_BY_LENGTH, Settings, draw
    from loco.needle.measuring import measure
    from loco.needle.source import source_at
    from loco.report.needle import print_needle

    if plot is not None and plot.suffix.lower() != ".svg":
        raise LocoError(f"The figure is an SVG, so {plot} should be called {plot.stem or 'needle'}.svg.")
    if lengths is not None and distractors is not None:
        raise LocoError("Documents have either a number of distractors or a length: leave out one of the two options.")
    settings = Settings(
        queries=queries,
        positions=positions or (POSITIONS if lengths is None else POSITIONS_BY_LENGTH),
        distractors=distractors or DISTRACTORS,
        lengths=() if lengths is None else _lengths(lengths),
        seed=haystack_seed,
    )
    if plot is not None and settings.lengths and _several(model):
        raise LocoError("A map of position and length shows one result: leave out --plot, or name one --strategy.")
    haystacks = draw(source_at(source), settings)
    if plot is not None:  # told before hours of encoding, not after them
        if plot.is_dir():
            raise LocoError(f"{plot} is a folder, and the figure is a file: choose another --plot.")
        check_writable(plot.parent)
    command = typed()
    measured: list[Measured] = []
    problem = ""
    try:
        for one in measure(
            model.card, model.strategy, haystacks, command, runtime=model.runtime, cache=model.cache, out=out
        ):
            measured.append(one)
            if plot is None and one.path is not None:
                write_atomically(one.path.with_suffix(".svg"), needle_svg([one.result]).encode())
            if not as_json:
                print_needle(one.result)
                typer.echo(f"Wrote {one.path}")
    except LocoError as error:
        if not measured:
            raise
        problem = str(error)  # told after what was finished before it
    if plot is not None:
        write_atomically(plot, needle_svg([one.result for one in measured]).encode())
    if as_json:
        print_json([{"path": str(one.path), **one.result.model_dump(mode="json")} for one in measured])
    raise_all([problem] if problem else [])


def _several(model: ChosenModel) -> bool:
    from loco.models.registry import strategies_of

    return len(strategies_of(model.card, model.strategy)) > 1


def _lengths(text: str) -> tuple[int, ...]:
    """The lengths that are typed as 1k,4096,128k."""
    lengths = []
    for part in text.split(","):
        match = _LENGTH.fullmatch(part.strip().lower())
        if match is None:
            raise LocoError(f"'{part.strip()}' is no length. Write for example: --lengths 1k,4k,16k")
        lengths.append(int(match[1]) * (1024 if match[2] else 1))
    return tuple(sorted(set(lengths)))
