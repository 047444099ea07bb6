"""How fast a model encodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loco.commands.model_options import ChosenModel, takes_model
from loco.commands.options import JsonOption, OutOption, print_json, typed
from loco.errors import LocoError

if TYPE_CHECKING:
    from loco.speed import Measured


@takes_model
def speed_command(
    model: ChosenModel,
    tokens: Annotated[
        str, typer.Option("--tokens", metavar="N,N,...", help="Lengths of text, prompt and special tokens counted.")
    ] = "128,2048,8192,32768",
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="Runs a length, after a first one that is kept apart.")
    ] = 5,
    out: OutOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Measure the seconds to encode texts of so many tokens, as Table 5 of the LoCoV1 paper does.

    Each strategy is measured by itself, and each length is on disk as soon as it is finished. No vector is taken from
    the embedding store or kept there.
    """
    from loco.report.speed import print_speeds
    from loco.speed import SpeedOptions, lengths_in, measure_speed

    if model.cache is not None:
        raise LocoError("Nothing that is timed comes from the embedding store or goes there: leave out --cache.")
    options = SpeedOptions(lengths_in(tokens), repeats, model.strategy, model.runtime)
    command = typed()
    measured: dict[str, Measured] = {}
    stopped: BaseException | None = None
    try:
        for done in measure_speed(model.card, options, command, out=out):
            measured[done.result.strategy] = done
    except (LocoError, MemoryError, KeyboardInterrupt) as error:
        stopped = error  # told after what was finished before it
    results = [done.result for done in measured.values()]
    if as_json and not (stopped and not results):
        paths = [str(done.path) for done in measured.values()]
        print_json([{"path": path, **one.model_dump(mode="json")} for path, one in zip(paths, results, strict=True)])
    else:
        print_speeds(results)
        for done in measured.values():
            typer.echo(f"In {done.path}")
    if stopped is not None:
        raise stopped
