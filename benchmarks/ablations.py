"""The paper's ablations (arXiv 2402.07440, Tables 6, 7 and 8) at a scale that two cores manage.

python benchmarks/ablations.py                       all tables with three seeds, below build/ablations
python benchmarks/ablations.py table7 --seeds 1,2    one of them, with other seeds

What is compared stands in benchmarks/ablations/*.toml. Everything is made from the generated variant mini: tasks,
texts to pretrain on, a vocabulary. A stage that is finished is not run again, one that was stopped goes on. Written are
OUT/TABLE.json with every seed's figures, and from it TABLE.md and TABLE.svg.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from m2bert import TUNED  # glibc gives memory back between training steps; kept, it takes half the time

from loco.errors import LocoError

HERE = Path(__file__).parent
INTERRUPTED = 130


def run(names: Sequence[str], seeds: Sequence[int], out: Path, configurations: Path, command: str) -> list[Path]:
    """Run tables (none for all in the folder ``configurations``) with some seeds; returns their records.

    Each seed is run for all tables before the next, and what is finished is written. Raises LocoError for what the user
    can act on, TrainingInterrupted where the user stops it.
    """
    from ablation_plan import table, tables
    from ablation_report import ArmRecord, Record, Run, markdown, plot
    from ablation_stages import Bench

    from loco.environment import environment, recorded
    from loco.files import check_writable, write_atomically

    if not seeds or len(set(seeds)) < len(seeds):
        raise LocoError("Seeds are to differ: give some, each once, such as --seeds 1,2,3.")
    found = [table(configurations, name) for name in dict.fromkeys(names or tables(configurations))]
    if not found:
        raise LocoError(f"There is no table in {configurations}.")
    check_writable(out)
    runs: dict[tuple[str, str], list[Run]] = {}
    bench = Bench(out, found[0].shared.data, command)
    bench.prepare()
    for seed in seeds:
        for each in found:
            for arm in each.arms:
                folder, cost = bench.made(each, arm.model, seed)
                figures = bench.figures(each, folder)
                mean = sum(figures.values()) / len(figures)
                print(f"{each.name}, seed {seed}, {arm.name}: {each.measure} {mean:.3f}", file=sys.stderr, flush=True)
                said = Run(
                    seed=seed,
                    figures=figures,
                    mean=mean,
                    seconds=cost.seconds,
                    texts=cost.texts,
                    tokens=cost.tokens,
                    positions=cost.positions,
                )
                runs.setdefault((each.name, arm.name), []).append(said)
            record = Record(
                table=each.name,
                title=each.title,
                source=each.source,
                measure=each.measure,
                equal=each.equal,
                chance=bench.chance(each),
                arms=tuple(
                    ArmRecord(name=arm.name, paper=arm.paper, runs=tuple(runs[each.name, arm.name]))
                    for arm in each.arms
                ),
                environment=environment(),
                command=recorded(command),
            )
            write_atomically(out / f"{each.name}.json", (record.model_dump_json(indent=2) + "\n").encode())
            write_atomically(out / f"{each.name}.md", markdown(record).encode())
            write_atomically(out / f"{each.name}.svg", plot(record).encode())
    return [out / f"{each.name}.json" for each in found]


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, run, print the tables. Returns the exit status."""
    parser = argparse.ArgumentParser(description="The paper's ablations at a small scale.")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="table6, table7, table8; none for all")
    parser.add_argument("--seeds", default="1,2,3", metavar="N,N,...")
    parser.add_argument("--out", type=Path, default=Path("build/ablations"), metavar="FOLDER")
    parser.add_argument("--configurations", type=Path, default=HERE / "ablations", metavar="FOLDER")
    asked = parser.parse_args(arguments)
    from loco.training.run import TrainingInterrupted

    command = " ".join(["python", "benchmarks/ablations.py", *arguments])
    try:
        records = run(asked.tables, _seeds(asked.seeds), asked.out, asked.configurations, command)
    except LocoError as error:
        print(f"ablations: {error}", file=sys.stderr)
        return 2
    except (TrainingInterrupted, KeyboardInterrupt):
        print(f"ablations: interrupted; what is finished is kept. Go on with: {command}", file=sys.stderr)
        return INTERRUPTED
    for path in records:
        print(path.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def _seeds(said: str) -> list[int]:
    parts = [part.strip() for part in said.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise LocoError(f"--seeds {said} is no list of whole numbers: give some such as 1,2,3.")
    return [int(part) for part in parts]


if __name__ == "__main__":
    if sys.platform == "linux" and not TUNED.keys() & os.environ.keys():
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, **TUNED}
        )  # it is read as a process begins
    sys.exit(main(sys.argv[1:]))
