"""The walk-through of docs/plugins.md, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from loco.results import read_result

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"


def test_the_page_runs_as_it_stands_and_its_adapters_find_what_they_look_for(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for language, text in blocks:
        if language != "sh":
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    packages = tmp_path / "site-packages"
    install = ("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", packages)
    _run([sys.executable, "-m", *install, "."], tmp_path, os.environ)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
        "LOCO_HOME": str(tmp_path / "home"),
        "COLUMNS": "160",
    }
    commands = "".join(text for language, text in blocks if language == "sh").splitlines()
    printed = {command: _run(["sh", "-c", command], tmp_path, environment) for command in commands}
    assert len(printed) == 6
    assert "trigrams:Trigrams" in printed["loco results show results"]
    assert "Cosine of TF-IDF vectors" in printed["loco models show tfidf"]
    for model, has_vectors in (("trigrams-Trigrams-*", True), ("tfidf", False)):
        (path,) = tmp_path.glob(f"results/{model}/full/mini/qmsum.json")
        result = read_result(path)
        assert result.measurement is not None
        assert (result.measurement.vectors is not None) == has_vectors
        assert result.metrics["ndcg@10"].value > 0.2


def test_the_adapters_are_as_short_as_the_page_promises() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in ("trigrams.py", "tfidf_search.py"):
        source = re.search(rf"^# {re.escape(name)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert source is not None
        adapter = source[1].partition("\ndef model_cards")[0]
        assert sum(bool(line.strip()) for line in adapter.splitlines()) <= 20


def _run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
