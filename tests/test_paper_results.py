"""What others reported is carried figure by figure, with what is wrong about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT

from loco.errors import LocoError
from loco.reported import FILE, Average, Reported, averages, read_reported, results, write_reported
from loco.results import read_result, result_files
from loco.results.summary import grouped
from loco.tasks.card import task_cards

PAPER = CHECKOUT / "results" / "paper"


@pytest.fixture(scope="module")
def reported() -> Reported:
    return read_reported(PAPER)


@pytest.fixture(scope="module")
def facts(shared: Path) -> dict[str, Any]:
    return dict(json.loads((shared / "facts" / "published-scores.json").read_text()))


def average(reported: Reported, model: str, strategy: str, benchmark: str = "LoCoV1") -> Average:
    (found,) = [
        one
        for one in averages(reported)
        if (one.model, one.strategy, one.benchmark, one.variant) == (model, strategy, benchmark, "paper")
    ]
    return found


def strategy_of(row: dict[str, Any]) -> str:
    window = row["max_tokens"]
    if window is None:
        return "full"
    ways = {"truncate": f"truncate({window})", "chunk": f"chunk({window}, overlap=0)", "multi-vector": "multi-vector"}
    return ways[row.get("strategy", "truncate")]


def test_the_result_files_are_those_of_the_figures(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes((PAPER / FILE).read_bytes())
    made = [path.relative_to(tmp_path) for path in write_reported(tmp_path)]
    assert made == sorted(path.relative_to(PAPER) for path in result_files(PAPER)), "run: make paper"
    assert all((tmp_path / path).read_bytes() == (PAPER / path).read_bytes() for path in made), "run: make paper"


def test_every_reported_cell_is_a_result_and_nothing_else_is(reported: Reported, facts: dict[str, Any]) -> None:
    expected = {
        (row["model"], strategy_of(row), row["variant"], task): (score, row["max_tokens"], row.get("trained_on_loco"))
        for row in (*facts["locov1"], *facts["locov0_five_tasks"])
        for task, score in row["scores"].items()
    }
    made = {
        (one.model.name, one.strategy, one.variant, one.task): (
            round(one.metrics["ndcg@10"].value * 100, 4),
            one.model.max_tokens,
            one.model.trained_on_loco,
        )
        for one in results(reported)
    }
    known_anyway = {"BM25 (Elasticsearch)": False} | {
        f"M2-BERT-{size} (January 2024 preview)": True for size in ("2k", "8k", "32k")
    }
    assert made == {
        key: (score, window, known_anyway.get(key[0], trained)) for key, (score, window, trained) in expected.items()
    }


def test_every_source_is_named_in_its_results(reported: Reported, facts: dict[str, Any]) -> None:
    said = {(one.model.name, one.strategy, one.variant): one.source for one in results(reported)}
    for row in (*facts["locov1"], *facts["locov0_five_tasks"]):
        source = said[row["model"], strategy_of(row), row["variant"]]
        assert source.startswith(f"{row['source']} (LoCoV")
        assert "https://" in source
    assert all("inferred" in source for (_, _, variant), source in said.items() if variant == "release")
    assert (
        "nobody is known to have repeated it"
        in said["jinaai/jina-embeddings-v2-base-en", "chunk(8192, overlap=0)", "paper"]
    )


def test_every_printed_average_is_kept(reported: Reported, facts: dict[str, Any]) -> None:
    printed = {(one.model, one.strategy, one.variant): dict(one.printed) for one in averages(reported)}
    for row in facts["locov1"]:
        assert printed[row["model"], strategy_of(row), row["variant"]][row["source"]] == row["printed_average"]
    table3 = [
        dict(row.printed)["arXiv 2402.07440v3, Table 3"]
        for row in averages(reported)
        if "arXiv 2402.07440v3, Table 3" in dict(row.printed)
    ]
    assert sorted(table3) == sorted(
        value
        for row in facts["locov1_table3_printed_averages"]
        for value in (row["average"], row["average_chunk"])
        if value is not None
    )
    losses = {key: value for key, value in facts["ablations"]["finetuning_loss_32k"].items() if key != "source"}
    table8 = [dict(row.printed).get("arXiv 2402.07440v3, Table 8") for row in averages(reported)]
    assert sorted(filter(None, table8)) == sorted(losses.values())


def test_averages_are_those_of_the_cells_and_differing_ones_are_told(reported: Reported) -> None:
    m2bert = average(reported, "m2bert-32k", "truncate(32768)")
    assert m2bert.computed == pytest.approx(91.0833, abs=1e-4)
    assert m2bert.differing == (("arXiv 2402.07440v3, Table 3", 94.7), ("arXiv 2402.07440v3, Table 8", 94.7))
    differing = {(one.model, one.strategy) for one in averages(reported) if one.differing}
    fine_tuned = "BAAI/bge-large-en-v1.5 (fine-tuned)"
    assert differing == {
        ("m2bert-32k", "truncate(32768)"),
        ("m2bert-128", "truncate(128)"),
        (fine_tuned, "truncate(512)"),
        (fine_tuned, "chunk(512, overlap=0)"),
        ("jinaai/jina-embeddings-v2-base-en", "truncate(8192)"),
    }
    told = " ".join(mistake.text for mistake in reported.mistake)
    assert all(f"{one.computed:.2f}" in told for one in averages(reported) if one.differing)


def test_what_is_only_an_average_has_no_result_and_no_mean_of_cells(reported: Reported) -> None:
    bm25 = average(reported, "BM25 (Elasticsearch)", "full")
    assert (bm25.computed, bm25.printed) == (None, (("arXiv 2402.07440v3, Table 3", 79.9),))
    assert average(reported, "BAAI/bge-large-en-v1.5", "chunk(512, overlap=0)").computed is None
    made = {(one.model.name, one.strategy) for one in results(reported)}
    assert ("BAAI/bge-large-en-v1.5", "chunk(512, overlap=0)") not in made


def test_an_average_over_five_tasks_is_never_one_over_twelve(reported: Reported) -> None:
    for one in averages(reported):
        assert (len(one.tasks) == len(task_cards())) == (one.benchmark == "LoCoV1")
    preview = average(reported, "BM25 (Elasticsearch)", "full", "LoCoV0")
    assert preview.computed == pytest.approx(89.78, abs=0.01)
    assert preview.printed == ()


def test_a_doubted_time_is_kept_with_the_doubt(reported: Reported, facts: dict[str, Any]) -> None:
    times = facts["encode_seconds"]
    assert list(reported.times.tokens) == times["tokens"]
    assert [list(row.seconds) for row in reported.times.row] == list(times["rows"].values())
    (doubted,) = [row for row in reported.times.row if row.remark]
    assert doubted.model == "m2bert-32k"


def test_tables_of_all_results_can_be_made() -> None:
    assert len(grouped([read_result(path) for path in result_files(PAPER)])) == 38


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("cells = [65.8, ", "cells = [", "11 cells for 12 tasks"),
        ("cells = [65.8, ", "cells = [658, ", "less than or equal to 100"),
        ('model = "m2bert-2k"', 'model = "m2bert-3k"', "not described: m2bert-3k"),
        ('url = "https://arxiv.org/abs/2503.20376"', 'url = "javascript:alert(1)"', "URL scheme should be"),
        ("[times]", "[times", "Cannot read"),
    ],
)
def test_a_slip_in_the_figures_is_one_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    text = (PAPER / FILE).read_text()
    assert old in text
    (tmp_path / FILE).write_text(text.replace(old, new, 1))
    with pytest.raises(LocoError, match=complaint) as refused:
        read_reported(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=r"Cannot read .*reported\.toml"):
        read_reported(tmp_path)
