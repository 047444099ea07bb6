"""`loco speed` as a user meets it: its exit status, its two streams, its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_cli
from typer.testing import CliRunner

from loco.cli import app
from loco.results import read_record
from loco.results.speed import SpeedResult

QUICK = ("speed", "--model", "hash-512", "--repeats", "2")

# Interrupts its own process when it meets the first text of more than two inputs.
INTERRUPTING = """
import os, re, signal
import numpy as np

class Model:
    max_tokens, revision = 10, "1"

    def tokenizer(self, text):
        return [match.span() for match in re.finditer(r"\\w+", text)]

    def encode(self, texts, role):
        if len(texts) > 2:
            os.kill(os.getpid(), signal.SIGINT)
        return np.ones((len(texts), 3))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which $LOCO_HOME would be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCO_HOME", str(tmp_path / "home"))
    return tmp_path


def loco(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """The command in this process, which has imported everything already."""
    monkeypatch.setattr("sys.argv", ["loco", *arguments])
    return CliRunner().invoke(app, arguments)


def test_a_measurement_prints_a_table_and_leaves_files_that_show_and_validate(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*QUICK, "--tokens", "2048,128", "--strategy", "truncate,chunk")
    done = loco(monkeypatch, *arguments)
    assert done.exit_code == 0, done.output
    assert "hash-512, truncate(512): speed on cpu" in done.stdout
    assert "2,048 tokens: 75.0% of the text were never read" in done.stdout
    files = sorted((folder / "results").rglob("*.json"))
    below = [(file.parts[-4], file.parts[-2], file.name) for file in files]
    assert below == [("hash-512", "speed", "cpu-float32.json")] * 2
    assert not (folder / "home").exists()  # no embedding store
    shown = loco(monkeypatch, "results", "show", "results")
    assert shown.exit_code == 0, shown.output
    tables = [line.strip() for line in done.stdout.splitlines() if not line.startswith("In results")]
    assert set(tables) <= {line.strip() for line in shown.stdout.splitlines()}
    assert loco(monkeypatch, "results", "validate", "results").stdout == "2 results are valid.\n"
    content = json.loads(files[0].read_text())
    assert content["rows"][0]["command"] == "loco " + " ".join(arguments)
    content["rows"][0]["seconds"] *= 2
    files[0].write_text(json.dumps(content))
    refused = loco(monkeypatch, "results", "validate", "results")
    assert refused.exit_code == 2
    assert "seconds is" in refused.stderr


def test_json_goes_to_standard_output_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = loco(monkeypatch, *QUICK, "--tokens", "5,700", "--json")
    (printed,) = json.loads(done.stdout)
    assert [(row["tokens"], row["tokens_read"], len(row["runs"])) for row in printed["rows"]] == [
        (5, 5, 2),
        (700, 512, 2),
    ]
    path = printed.pop("path")
    assert printed == json.loads((folder / path).read_text())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--tokens", "0"), "A text of 0 tokens cannot be timed"),
        (("--tokens", "-1"), "'-1' is no length"),
        (("--tokens", "abc"), "'abc' is no length"),
        (("--tokens", "128,128"), "The length 128 is named twice"),
        (("--tokens", "1000000000"), "'1000000000' is no length"),
        (("--tokens", "999999999"), "A text of 999,999,999 tokens cannot be timed"),
        (("--tokens", ""), "'' is no length"),
        (("--repeats", "0"), "choose --repeats from 1 to 1,000"),
        (("--model", "bm25"), "Model 'bm25' makes no vectors"),
        (("--strategy", "late-chunk"), "Model 'hash-512' cannot be run under late-chunk"),
        (("--device", "cuda"), "Model 'hash-512' does not run on cuda"),
        (("--cache", "vectors"), "leave out --cache"),
        (("--dtype", "bfloat16"), "Model 'hash-512' does not run in bfloat16"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    done = loco(monkeypatch, *QUICK, *arguments)
    assert done.exit_code == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(folder.rglob("*.json"))


def test_an_interrupt_keeps_and_prints_the_finished_lengths(tmp_path: Path) -> None:
    (tmp_path / "interrupting.py").write_text(INTERRUPTING, encoding="utf-8")
    arguments = ("speed", "--model", "interrupting:Model", "--strategy", "chunk", "--tokens", "5,15,60")
    done = test_cli.loco(*arguments, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr == "loco: interrupted. What was finished is kept.\n"
    (path,) = (tmp_path / "results").rglob("*.json")
    left = read_record(path)
    assert isinstance(left, SpeedResult)
    assert [row.tokens for row in left.rows] == [5, 15]
    assert "In results/" in done.stdout
    assert "    15  " in done.stdout
