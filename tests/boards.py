"""Boards that tests and benchmarks make up: rows with figures, without the runs behind them."""

from __future__ import annotations

import random
from pathlib import Path

from loco.compare.statistics import Estimate
from loco.models.card import ModelIdentity
from loco.results import Metric, Result
from loco.score.metrics import PRIMARY
from loco.tasks.card import task_cards
from loco_leaderboard.board import Board, Entry, Filed

WAYS = ("truncate(512)", "chunk(512, overlap=0)", "chunk-max(512, overlap=0)", "full")


def made_up(rows: int, seed: int = 0, variant: str = "paper") -> Board:
    """A board of so many models on all tasks, half of them measured with intervals. Some averages tie."""
    dice = random.Random(seed)
    return Board(root=Path(), entries=tuple(_entry(number, dice, variant) for number in range(rows)))


def _entry(number: int, dice: random.Random, variant: str) -> Entry:
    window = dice.choice([None, 512, 2048, 8192, 32768])
    measured = dice.random() < 0.5
    model = ModelIdentity(
        name=f"maker-{number % 40}/model-{number}",
        family=dice.choice(["transformer", "bm25", "m2bert", "service"]),
        revision="1",
        description="",
        licence="",
        url="",
        trained_on_loco=dice.choice([True, False, False, None]),
        max_tokens=window,
        weights=dice.choice([None, 22_000_000, 110_000_000, 335_000_000, 7_110_000_000]),
    )
    way = dice.choice(WAYS)
    cells = {
        task: Filed(
            f"model-{number}/{task}.json",
            Result(
                schema_version=1,
                origin="reported",
                source="made up",
                model=model,
                strategy=way,
                task=task,
                variant=variant,
                split="test",
                metrics={PRIMARY: Metric(value=round(dice.random(), 6))},
            ),
        )
        for task in task_cards()
    }
    value = round(sum(one.result.metrics[PRIMARY].value for one in cells.values()) / len(cells), 2)
    return Entry(
        id=f"model-{number}",
        model=model,
        way=way,
        variant=variant,
        split="test",
        origin="measured" if measured else "reported",
        training={True: "trained", False: "zero-shot", None: "unknown"}[model.trained_on_loco],
        cells=cells,
        tasks=tuple(task_cards()),
        average=Estimate(value, value - dice.uniform(0.01, 0.05), value + dice.uniform(0.01, 0.05))
        if measured
        else value,
        sources=() if measured else ("made up",),
        model_id=f"model-{number}",
        name=model.name,
    )
