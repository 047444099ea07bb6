"""Long-context retrieval evaluation on LoCoV1.

    import loco
    result = loco.evaluate(model="bm25", task="qmsum", variant="paper")
    print(result.metrics["ndcg@10"])

Importing the package is cheap: what a function needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loco.errors import LocoError
    from loco.evaluation import evaluate
    from loco.models.registry import model_cards
    from loco.models.runtime import Runtime
    from loco.results import Result, read_result
    from loco.tasks.build import build_data
    from loco.tasks.card import task_cards
    from loco.tasks.data import TaskData, read_task

_HOMES = {
    "LocoError": "loco.errors",
    "Result": "loco.results",
    "Runtime": "loco.models.runtime",
    "TaskData": "loco.tasks.data",
    "build_data": "loco.tasks.build",
    "evaluate": "loco.evaluation",
    "model_cards": "loco.models.registry",
    "read_result": "loco.results",
    "read_task": "loco.tasks.data",
    "task_cards": "loco.tasks.card",
}

__all__ = [
    "LocoError",
    "Result",
    "Runtime",
    "TaskData",
    "build_data",
    "evaluate",
    "model_cards",
    "read_result",
    "read_task",
    "task_cards",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'loco' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
