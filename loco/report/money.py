"""What a model behind a service will cost."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from loco.evaluation import Foretold
from loco.models.card import Service
from loco.money import Plan, dollars, shown
from loco.report.tables import add_numbers, console, show, table

_MINUTE = 60.0
_HOUR = 3600.0


def print_foretold(service: Service, tasks: Sequence[Foretold], model: str = "") -> None:
    """Requests, tokens, dollars and time of each task, and of all together; ``model`` is named above, if any is."""
    rows = table("Task", title=escape(model) if model else None)
    add_numbers(rows, "Requests", "Inputs", "In the store", "Tokens", "Dollars", "About")
    total, seconds = Plan(), 0.0
    for one in tasks:
        rows.add_row(escape(one.task), *_figures(one.plan, one.seconds, service))
        total, seconds = total + one.plan, seconds + one.seconds
    if len(tasks) > 1:
        rows.add_row("all", *_figures(total, seconds, service))
    show(rows)
    out = console()
    if service.price is None:
        out.print("No price is known for this model.")
    else:
        price = service.price
        out.print(
            f"At {shown(price.per_million_tokens)} per million tokens, as of {price.as_of}: {escape(price.source)}",
            soft_wrap=True,
        )
    out.print(
        f"Tokens are estimated, rather too many than too few. Nothing was sent to {escape(service.vendor)}.",
        soft_wrap=True,
    )


def _figures(plan: Plan, seconds: float, service: Service) -> tuple[str, ...]:
    counts = (plan.requests, plan.inputs, plan.inputs_stored, plan.tokens)
    return (*(f"{count:,}" for count in counts), shown(dollars(plan.tokens, service)), _duration(seconds))


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"
