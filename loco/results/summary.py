"""What several results say together."""

from __future__ import annotations

from collections.abc import Sequence

from loco.errors import LocoError
from loco.results.retrieval import Result
from loco.score.metrics import PRIMARY


def grouped(results: Sequence[Result]) -> list[list[Result]]:
    """The results that one average may be taken over: same model and revision, strategy, vector form and variant.

    Raises LocoError where two of a group are of the same task.
    """
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        model = result.model
        way = (result.strategy, result.vector_form, result.variant, result.split, result.origin)
        group = groups.setdefault((model.name, model.revision, *way), [])
        if any(other.task == result.task for other in group):
            raise LocoError(
                f"Two results are of {result.task} ({result.variant}) by {model.name}, {result.strategy}: "
                "show them one by one."
            )
        group.append(result)
    return list(groups.values())


def equivalent(result: Result) -> str:
    """Why the rows behind a result only stand in for its variant's own; empty where they are its own."""
    return result.measurement.data.provenance.equivalent if result.measurement else ""


def coverage(result: Result) -> dict[str, dict[str, int] | None]:
    """How much of the queries and of the documents the model has seen; None where nobody can tell."""
    measurement = result.measurement
    roles = {"queries": measurement.queries, "documents": measurement.documents} if measurement else {}
    return {role: None if seen is None else seen.model_dump() for role, seen in roles.items()}


def average(results: Sequence[Result]) -> float:
    """Plain mean of nDCG@10 over tasks, between 0 and 1."""
    return sum(result.metrics[PRIMARY].value for result in results) / len(results)
