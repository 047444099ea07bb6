"""What models behind services cost: foretold, bounded, and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from tasks import small_task
from typer.testing import CliRunner
from vendor_server import KEY, VendorServer, vendor_server

from loco.cli import app
from loco.errors import LocoError
from loco.evaluation import Options, evaluate_tasks, foretell_tasks
from loco.models.card import ModelCard, Service
from loco.models.registry import model_card
from loco.models.runtime import Runtime
from loco.money import OverBudget, Plan, Spending, Till, shown
from loco.results import Result, read_result
from loco.results.retrieval import CostRecord
from loco.tasks.data import write_task

DIM = 16
RUNTIME = Runtime(batch_tokens=60)


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with vendor_server(DIM) as running:
        yield running


@pytest.fixture
def card(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """text-embedding-3-large at the server, with short vectors and a short window."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    known = model_card("text-embedding-3-large")
    assert known.service is not None
    return known.model_copy(
        update={
            "service": known.service.model_copy(update={"url": f"{server.url}/v1"}),
            "parameters": known.parameters | {"dim": DIM},
            "max_tokens": 40,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks with the same documents and other queries."""
    documents = {f"d{number}": f"paragraph {number} about the budget " * (number % 9 + 1) for number in range(40)}
    for name, word in (("qmsum", "what"), ("gov_report", "who")):
        queries = {f"q{number}": f"{word} of paragraph {number}" for number in range(10)}
        qrels = {f"q{number}": {f"d{number}": 1} for number in range(10)}
        write_task(small_task(queries, documents, qrels, name), tmp_path / "data")
    return tmp_path


def results(
    card: ModelCard, folder: Path, runtime: Runtime = RUNTIME, strategies: str = "truncate,chunk"
) -> list[Result]:
    options = Options(strategies, runtime=runtime, cache=folder / "cache")
    tasks = ["qmsum", "gov_report"]
    where = {"data": folder / "data", "out": folder / "out"}
    return [done.result for done in evaluate_tasks(card, tasks, "mini", options, "loco eval", **where)]  # type: ignore[arg-type]


def foretold(card: ModelCard, folder: Path) -> list[Plan]:
    options = Options("truncate,chunk", runtime=RUNTIME, cache=folder / "cache")
    where = {"data": folder / "data", "out": folder / "out"}
    return [one.plan for one in foretell_tasks(card, ["qmsum", "gov_report"], "mini", options, **where)]


def test_a_dry_run_foretells_what_is_then_sent_and_sends_nothing(
    card: ModelCard, server: VendorServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    plans = foretold(card, folder)
    assert server.requests == []
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    done = results(card, folder)
    assert sum(plan.requests for plan in plans) == len(server.requests) > 20
    assert sum(plan.inputs for plan in plans) == sum(len(body["input"]) for body in server.requests)
    records = [
        result.measurement.vectors for result in done if result.measurement and result.strategy.startswith("chunk")
    ]
    assert sum(plan.tokens for plan in plans) == sum(record.tokens_encoded or 0 for record in records if record)
    assert foretold(card, folder) == [Plan(), Plan()], "what has a result needs nothing"
    for path in (folder / "out").rglob("*.json"):
        path.unlink()
    again = foretold(card, folder)
    assert [(plan.requests, plan.tokens) for plan in again] == [(0, 0), (0, 0)], "what is stored costs nothing"
    assert again[0].inputs_stored == plans[0].inputs


def test_a_result_says_what_was_paid_and_by_which_price(card: ModelCard, server: VendorServer, folder: Path) -> None:
    server.fault = lambda number: "truncated" if number == 3 else ""
    done = results(card, folder)
    costs = [result.measurement.cost for result in done if result.measurement is not None]
    assert len(costs) == 4
    assert all(costs)
    first, _, second, _ = [cost for cost in costs if cost is not None]
    assert first.tokens + second.tokens == server.tokens
    assert first.requests + second.requests == len(server.requests) - 1
    assert (first.requests_lost, second.requests_lost) == (1, 0)
    assert first.tokens_lost > 0, "what broke off may be on the bill"
    assert first.price is not None
    assert first.dollars == pytest.approx(first.tokens * first.price.per_million_tokens / 1e6, abs=1e-6)
    assert KEY not in json.dumps([result.model_dump(mode="json") for result in done])
    written = [read_result(path) for path in sorted((folder / "out").rglob("*.json"))]
    assert {result.model_dump_json() for result in written} == {result.model_dump_json() for result in done}


def test_a_model_of_this_machine_has_no_cost(folder: Path) -> None:
    card = model_card("hash-512")
    options = Options(cache=folder / "cache")
    (done,) = evaluate_tasks(card, ["qmsum"], "mini", options, "loco eval", data=folder / "data")
    assert done.result.measurement is not None
    assert done.result.measurement.cost is None
    with pytest.raises(LocoError, match="costs nothing: leave out --budget"):
        list(evaluate_tasks(card, ["qmsum"], "mini", Options(runtime=Runtime(budget=1)), "", data=folder / "data"))
    with pytest.raises(LocoError, match="runs on this machine, and nothing is sent: leave out --dry-run"):
        list(foretell_tasks(card, ["qmsum"], "mini", options, data=folder / "data"))


def test_a_budget_is_never_exceeded_and_the_next_run_goes_on(
    card: ModelCard, server: VendorServer, folder: Path
) -> None:
    assert card.service is not None
    assert card.service.price is not None
    plans = foretold(card, folder)
    budget = sum(plan.tokens for plan in plans) / 5 * card.service.price.per_million_tokens / 1e6
    stops: list[str] = []
    done: list[Result] = []
    while not done:
        before = server.tokens
        try:
            done = results(card, folder, Runtime(batch_tokens=60, budget=budget))
        except OverBudget as error:
            stops.append(str(error))
        assert (server.tokens - before) * card.service.price.per_million_tokens / 1e6 <= budget
        assert server.tokens > before, "every run gets on"
    assert len(stops) >= 2
    assert all("What was answered is kept" in stop and "\n" not in stop for stop in stops)
    assert server.twice == []
    with vendor_server(DIM) as other:
        service = card.service.model_copy(update={"url": f"{other.url}/v1"})
        elsewhere = folder / "elsewhere"
        (elsewhere).mkdir()
        (elsewhere / "data").symlink_to(folder / "data")
        unbounded = results(card.model_copy(update={"service": service}), elsewhere)
        assert other.tokens == server.tokens
    assert [result.metrics for result in done] == [result.metrics for result in unbounded]


def test_a_budget_of_nothing_sends_nothing_and_one_without_a_price_is_refused(
    card: ModelCard, server: VendorServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OverBudget, match=r"Stopped before the budget of \$0.00"):
        results(card, folder, Runtime(budget=0))
    assert server.requests == []
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    with pytest.raises(LocoError, match="No price of model 'voyage-01' is known"):
        results(model_card("voyage-01"), folder, Runtime(budget=1))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(LocoError, match="no sum of dollars"):
            Runtime(budget=wrong)


def test_the_till_counts_what_is_under_way(card: ModelCard) -> None:
    till = Till(card, budget=0.13)  # a million tokens
    with till.request(600_000) as first:
        with pytest.raises(OverBudget, match=r"\$0.00 spent and \$0.08 under way"):
            till.request(400_001).__enter__()
        first.answer(500_000)
    with till.request(400_000) as second:
        second.answer(None)
    with till.request(100_000) as third:
        third.lose(None)
    assert till.spent == Spending(2, 900_000, 400_000, 1, 100_000)
    with pytest.raises(OverBudget):
        till.request(1).__enter__()
    with till.request(0):
        pass  # never sent
    assert till.spent.requests == 2


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (0.00001, "under $0.0001"),
        (0.00123, "$0.0012"),
        (0.25, "$0.25"),
        (1234.5, "$1,234.50"),
    ],
)
def test_sums_are_shown_as_people_write_them(dollars: float | None, expected: str) -> None:
    assert shown(dollars) == expected


def test_time_is_foretold_by_the_tightest_limit() -> None:
    service = Service(
        vendor="V", key="K", url="http://x", inputs=1, tokens=1, requests_per_minute=100, tokens_per_minute=1000
    )
    assert Plan(requests=10, inputs=10, tokens=4000).seconds(service, 8) == 240
    assert Plan(requests=1000, inputs=1000, tokens=4000).seconds(service, 8) == 600
    free = service.model_copy(update={"requests_per_minute": None, "tokens_per_minute": None})
    assert Plan(requests=80, inputs=80, tokens=4000).seconds(free, 8) == 10


def test_a_cost_record_adds_up_or_is_none() -> None:
    service = model_card("text-embedding-3-large").service
    assert service is not None
    record = CostRecord.of(Spending(1, 1_000_000, 0, 0, 0), service).model_dump()
    assert record["dollars"] == 0.13
    for wrong in ({"dollars": 0.14}, {"dollars": None}, {"tokens_estimated": 1_000_001}, {"price": None}, {"key": KEY}):
        with pytest.raises(ValidationError):
            CostRecord.model_validate(record | wrong)


def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_API_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)
    where = ["--data", str(folder / "data"), "--out", str(folder / "out"), "--cache", str(folder / "cache")]
    command = ["eval", "--model", "text-embedding-3-large", "--variant", "mini", "--task", "qmsum", *where]
    told = CliRunner().invoke(app, [*command, "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "At $0.13 per million tokens" in told.output
    assert "Nothing was sent to OpenAI" in told.output
    as_json = CliRunner().invoke(app, [*command, "--dry-run", "--json"])
    (row,) = json.loads(as_json.output)["tasks"]
    assert row["dollars"] == row["plan"]["tokens"] * 0.13 / 1e6 > 0
    unpaid = CliRunner().invoke(app, command)
    assert unpaid.exit_code == 2
    assert "set OPENAI_API_KEY" in unpaid.stderr
    shown_card = CliRunner().invoke(app, ["models", "show", "text-embedding-3-large"])
    assert "price per_million_tokens = 0.13" in shown_card.output
