"""nDCG@10 on the mini variant by where the evidence stands: what a longer window is worth.

python benchmarks/evidence.py results/measured/m2bert-mini results/measured/hash-512 results/measured/bm25

Each argument is a result file or a folder of them. Per model and strategy: the mean by task, then over the queries of
all tasks by the third of the document that the evidence stands in, and by whether all of it starts behind the first
512 tokens of m2bert-mini's own vocabulary (``--tokens``), ends before, or neither. In brackets the number of queries,
behind each mean its 95 % interval (BCa over queries). At the end the difference of the first side to each other one
where the evidence lies beyond, paired by query.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import loco_adapters.m2bert
from loco.compare.sides import Side, find_sides
from loco.score.bootstrap import SEED, intervals
from loco.score.metrics import PRIMARY
from loco.score.resampling import UNIT, millionths, outer, resampled_sums
from loco.tasks.builders.mini import generate

TOKENIZER = Path(loco_adapters.m2bert.__file__).with_name("mini") / "tokenizer.json"
POSITIONS = ("beginning", "middle", "end")
BEYOND, WITHIN, ACROSS = "beyond", "within", "across"


def places(task: str, tokens: int, tokenizer: Tokenizer) -> Iterator[tuple[str, tuple[str, ...]]]:
    """For each test query of a task the groups that it is in: thirds of documents, and where the cut falls."""
    made = generate(task)
    texts = dict(made.documents)
    ends = {}
    for name, text in texts.items():
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        # [CLS] is the first token that the model reads
        ends[name] = len(text) if len(offsets) < tokens else offsets[tokens - 2][1]
    for query, evidence in made.evidence.items():
        thirds = {one.position for one in evidence}
        if all(one.start >= ends[one.document] for one in evidence):
            cut = BEYOND
        elif all(one.end <= ends[one.document] for one in evidence):
            cut = WITHIN
        else:
            cut = ACROSS
        yield query, (*(third for third in POSITIONS if thirds == {third}), cut)


def values_of(side: Side, groups: dict[str, dict[str, tuple[str, ...]]], wanted: str) -> dict[tuple[str, str], float]:
    """nDCG@10 of the queries of a group, by task and query."""
    return {
        (task, query): value
        for task, one in side.tasks.items()
        for query, value in one.measurement.per_query.items()
        if wanted in groups[task][query]
    }


def cell(values: list[float]) -> str:
    """A mean with its interval and the number of queries."""
    if not values:
        return "-"
    low, high = intervals(np.array(values)[:, None])
    return f"{np.mean(values):.3f} ({low[0]:.3f} to {high[0]:.3f}) [{len(values)}]"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER)
    args = parser.parse_args()
    sides = find_sides(args.paths, "mini", ()).sides
    tasks = list(dict.fromkeys(task for side in sides for task in side.tasks))
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    tokenizer.no_truncation()
    groups = {task: dict(places(task, args.tokens, tokenizer)) for task in tasks}

    print("| task | " + " | ".join(side.label for side in sides) + " |")
    print("|---|" + "---|" * len(sides))
    for task in tasks:
        means = [np.mean(list(side.tasks[task].measurement.per_query.values())) for side in sides]
        print(f"| {task} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    macro = [np.mean([side.tasks[task].result.metrics[PRIMARY].value for task in tasks]) for side in sides]
    print("| mean of tasks | " + " | ".join(f"{mean:.3f}" for mean in macro) + " |")
    for group, said in [
        *((third, f"evidence in the {third}") for third in POSITIONS),
        (WITHIN, f"within the first {args.tokens} tokens"),
        (ACROSS, "neither"),
        (BEYOND, f"beyond the first {args.tokens} tokens"),
    ]:
        cells = (cell(list(values_of(side, groups, group).values())) for side in sides)
        print(f"| {said} | " + " | ".join(cells) + " |")

    first = values_of(sides[0], groups, BEYOND)
    for other in sides[1:]:
        theirs = values_of(other, groups, BEYOND)
        apart = millionths([first[key] for key in first]) - millionths([theirs[key] for key in first])
        resampled = resampled_sums(apart[:, None], np.random.default_rng(SEED)) / len(apart)
        low, high = outer(resampled, np.array([apart.mean()]))
        print(
            f"\nBeyond {args.tokens} tokens, {sides[0].label} minus {other.label}: {apart.mean() / UNIT:+.3f}"
            f" ({low[0] / UNIT:+.3f} to {high[0] / UNIT:+.3f}), {len(apart)} queries."
        )


if __name__ == "__main__":
    main()
