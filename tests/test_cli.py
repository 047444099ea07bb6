"""The command line as a user meets it: a subprocess, its exit status, its two streams."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT
from tasks import small_task

from loco.tasks.data import write_task

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOCO = Path(sys.executable).with_name("loco")


def loco(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LOCO, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "LOCO_HOME": str(cwd / "home"), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A working folder whose $LOCO_HOME holds one small task, qmsum of variant mini."""
    write_task(small_task(), tmp_path / "home" / "data")
    return tmp_path


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, loco, loco.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "transformers", "datasets", "pandas", "numpy", "pyarrow", "pydantic", "nltk", "bm25s", "rich"}
    assert not heavy & set(modules)


def test_evaluating_writes_a_result_and_a_run_and_does_not_repeat_itself(home: Path) -> None:
    arguments = ("eval", "--model", "bm25", "--task", "qmsum", "--variant", "mini")
    first = loco(*arguments, cwd=home)
    assert first.returncode == 0, first.stderr
    assert "1.0000" in first.stdout
    assert "average over 1 of 12 tasks" in first.stdout
    written = sorted(path.relative_to(home).as_posix() for path in (home / "results").rglob("*") if path.is_file())
    assert written == ["results/bm25/full/mini/qmsum.json", "results/bm25/full/mini/qmsum.run.gz"]
    before = (home / written[0]).read_bytes()
    second = loco(*arguments, cwd=home)
    assert "1 of 1 results were there already" in second.stderr
    assert (home / written[0]).read_bytes() == before
    assert json.loads(before)["measurement"]["command"] == "loco " + " ".join(arguments)


def test_json_goes_to_standard_output_alone(home: Path) -> None:
    done = loco("eval", "--model", "bm25", "--variant", "mini", "--json", cwd=home)
    printed = json.loads(done.stdout)
    assert printed["averages"] == [{"model": "bm25", "strategy": "full", "vector_form": "", "tasks": 1, "ndcg@10": 1.0}]
    assert printed["results"][0]["vector_form"] == ""
    assert printed["results"][0]["metrics"]["recall@10"]["value"] == 1.0
    assert "Not built in variant 'mini', so left out: summ_screen_fd" in done.stderr


def test_results_are_shown_and_validated(home: Path) -> None:
    loco("eval", "--model", "bm25", "--variant", "mini", cwd=home)
    assert "bm25, full, mini (measured)" in loco("results", "show", "results", cwd=home).stdout
    assert loco("results", "validate", "results", cwd=home).stdout == "1 result is valid.\n"
    path = home / "results/bm25/full/mini/qmsum.json"
    path.write_text(path.read_text().replace('"origin": "measured"', '"origin": "dreamt"'))
    refused = loco("results", "validate", "results", cwd=home)
    assert refused.returncode == 2
    assert "origin: Input should be 'measured' or 'reported'" in refused.stderr


def test_tasks_and_models_are_listed(home: Path) -> None:
    tasks = loco("tasks", cwd=home).stdout
    assert "courtlistener_Plain_Text" in tasks
    assert "57,028" in tasks
    assert " mini " in tasks
    assert "MIT (QMSum)" in loco("tasks", "qmsum", cwd=home).stdout
    assert "bm25-rank" in loco("models", cwd=home).stdout
    assert "k1 = 1.2" in loco("models", "show", "bm25", cwd=home).stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("eval", "--model", "bm52", "--variant", "mini"), "No model 'bm52'. Did you mean 'bm25'? See: loco models"),
        (("eval", "--model", "bm25", "--task", "qmsun"), "No task 'qmsun'. Did you mean 'qmsum'? See: loco tasks"),
        (("eval", "--model", "bm25", "--variant", "min"), "No variant 'min'. Did you mean 'mini'?"),
        (("eval", "--model", "bm25", "--variant", "mini", "--strategy", "ful"), "Did you mean 'full'?"),
        (("eval", "--model", "bm25", "--task", "../mini/qmsum"), "No task '../mini/qmsum'"),
        (("eval", "--model", "bm25", "--variant", "paper"), "Run: loco build-data --variant paper"),
        (
            ("eval", "--model", "hash-512", "--variant", "mini", "--task", "qmsum", "--dtype", "float8"),
            "No precision 'float8'. Did you mean",
        ),
        (("eval", "--model", "x" * 300), f"No model '{'x' * 300}'"),
        (("eval", "--model", "~nobody_of_that_name/x"), "does not exist. Give the folder"),
        (("eval", "--model", "./" + "x" * 300), "does not exist. Give the folder"),
        (("eval", "--model", "a\x1b[31mb"), "No model 'a\\x1b[31mb'"),
        (("build-data", "qmsun"), "No task 'qmsun'. Did you mean 'qmsum'?"),
        (("build-data", "qmsum", "--from", "nowhere"), "nowhere"),
        (("build-data", "qmsum", "--sections", "citances"), "Sections are for legal_case_reports"),
        (("build-data", "--sections", "citances"), "Sections are for one task"),
        (("build-data", "--split", "train"), "Nothing makes a train split of the variant 'release'"),
        (("build-data", "--seed", "3"), "A seed is for the variant 'mini'"),
        (("build-data", "qmsum", "--variant", "mini", "--split", "trian"), "No split 'trian'. Did you mean 'train'?"),
        (("tasks", "gov-report"), "Did you mean 'gov_report'?"),
        (("results", "show", "nowhere"), "No file or folder nowhere"),
    ],
)
def test_bad_input_is_one_line_and_status_2(home: Path, arguments: tuple[str, ...], line: str) -> None:
    done = loco(*arguments, cwd=home)
    assert done.returncode == 2
    assert done.stdout == ""
    assert line in done.stderr
    assert done.stderr.startswith("loco: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_line(home: Path) -> None:
    (home / "file").write_text("in the way")
    done = loco("eval", "--model", "bm25", "--variant", "mini", "--out", "file", cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 2), done.stderr
    assert "loco: Cannot write file: File exists." in done.stderr


def test_mini_is_built_without_a_download_and_is_the_same_bytes_again(tmp_path: Path) -> None:
    for out in ("a", "b"):
        done = loco(
            "build-data", "qmsum", "--variant", "mini", "--out", out, cwd=tmp_path, PYTHONHASHSEED=str(ord(out))
        )
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "a/mini/qmsum").iterdir())
    assert names == ["documents.parquet", "manifest.json", "qrels.tsv", "queries.parquet"]
    for name in names:
        assert (tmp_path / "a/mini/qmsum" / name).read_bytes() == (tmp_path / "b/mini/qmsum" / name).read_bytes()


def scrolls(folder: Path, *tasks: str) -> None:
    """SCROLLS' validation files of three rows each."""
    rows = [{"id": f"i{n}", "pid": f"p{n}", "input": f"What?\n\nSpeaker {n}: Hm.", "output": "Hm"} for n in range(3)]
    for task in tasks:
        file = folder / task / "validation.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_building_everything_keeps_what_stands_and_tells_what_is_missing(tmp_path: Path) -> None:
    scrolls(tmp_path / "sources" / "scrolls", "qmsum", "gov_report")
    damaged = tmp_path / "sources/scrolls/gov_report/validation.jsonl"
    damaged.write_text("{")
    arguments = ("build-data", "--variant", "paper", "--from", "sources")
    first = loco(*arguments, cwd=tmp_path)
    assert first.returncode == 2, "because some are missing"
    assert re.search(r"qmsum +paper +3 +3 .* differs", first.stdout), first.stdout
    assert len(re.findall(r"paper .* missing", first.stdout)) == 11
    assert "gov_report: sources/scrolls/gov_report/validation.jsonl, line 1: not JSON" in first.stderr
    assert "qasper_title: sources holds no files of qasper_title (paper)." in first.stderr
    second = loco(*arguments, cwd=tmp_path)
    assert "differs, kept as it was" in second.stdout
    assert "1 stood already, and sources was not read for them" in second.stderr
    assert "kept" not in loco(*arguments, "--force", cwd=tmp_path).stdout
    (tmp_path / "sources/scrolls/qmsum/validation.jsonl").write_text("{")
    failed = loco(*arguments, "--force", cwd=tmp_path)
    assert "failed, the earlier build stays" in failed.stdout


def test_what_stands_but_is_damaged_is_built_again(tmp_path: Path) -> None:
    scrolls(tmp_path, "qmsum")
    arguments = ("build-data", "--variant", "paper", "--from", ".")
    loco(*arguments, cwd=tmp_path)
    (tmp_path / "home/data/paper/qmsum/documents.parquet").unlink()
    assert "kept" not in loco(*arguments, cwd=tmp_path).stdout
    assert loco("eval", "--model", "bm25", "--variant", "paper", cwd=tmp_path).returncode == 0


def test_a_damaged_other_split_hides_no_failure(tmp_path: Path) -> None:
    for split in ("test", "train"):
        loco("build-data", "qmsum", "--variant", "mini", "--split", split, cwd=tmp_path)
    (tmp_path / "home/data/mini/qmsum.train/documents.parquet").write_bytes(b"")
    done = loco("build-data", "qmsum", "--variant", "mini", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"qmsum +mini +48", done.stdout)
    assert "qmsum: its overlap with train is not known: " in done.stderr


def test_tens_of_gigabytes_are_not_downloaded_unasked(tmp_path: Path) -> None:
    done = loco("build-data", "--variant", "paper", "--offline", cwd=tmp_path)
    assert "stackoverflow: left out, since its download takes about 35 GB. Run: loco build-data stack" in done.stderr


def test_train_is_written_beside_test_and_their_overlap_is_told(tmp_path: Path) -> None:
    for split in ("test", "train"):
        done = loco("build-data", "2wikimqa", "--variant", "mini", "--split", split, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "2wikimqa: 0 of 48 test queries and 0 of 48 test documents stand in train too." in done.stdout
    folders = sorted(path.name for path in (tmp_path / "home/data/mini").iterdir())
    assert folders == ["2wikimqa", "2wikimqa.train"]
    assert "2wikimqa.train" not in loco("tasks", cwd=tmp_path).stdout
    audit = tmp_path / "home/data/mini/2wikimqa/audit.json"
    loco("audit", "2wikimqa", "--variant", "mini", cwd=tmp_path)
    assert audit.exists()
    loco("build-data", "2wikimqa", "--variant", "mini", "--split", "train", "--seed", "8", cwd=tmp_path)
    assert not audit.exists(), "it spoke of the earlier train split"


def test_a_task_is_audited_exported_imported_and_evaluated_again(home: Path) -> None:
    audited = loco("audit", "qmsum", "--variant", "mini", cwd=home)
    assert "No document is another's exact or near duplicate" in audited.stdout, audited.stderr
    assert (home / "home/data/mini/qmsum/audit.json").is_file()
    exported = loco("export", "qmsum", "--variant", "mini", "--format", "beir", "--out", "out", cwd=home)
    written = [Path(line).relative_to(home.resolve() / "out").as_posix() for line in exported.stdout.splitlines()]
    assert written == ["corpus.jsonl", "export.json", "qrels/test.tsv", "queries.jsonl"]
    assert "imported" in loco("import", "out", "--name", "again", cwd=home).stdout
    assert "'again' is imported already." in loco("import", "out", "--name", "again", cwd=home).stderr
    assert loco("import", "out", "--name", "again", "--force", cwd=home).returncode == 0
    evaluated = loco("eval", "--model", "bm25", "--variant", "imported", "--json", cwd=home)
    assert json.loads(evaluated.stdout)["results"][0]["task"] == "again"
    (home / "out/export.json").unlink()
    (home / "out/qrels/test.tsv").rename(home / "out/qrels/train.tsv")
    loco("import", "out", "--name", "only", "--split", "train", cwd=home)
    train = ("export", "only", "--variant", "imported", "--split", "train", "--format", "beir", "--out", "back")
    assert loco(*train, cwd=home).returncode == 0
    refused = loco("eval", "--model", "bm25", "--variant", "imported", "--task", "agian", cwd=home)
    assert "No task 'agian'. Did you mean 'again'?" in refused.stderr


def test_document_lengths_are_drawn(home: Path) -> None:
    assert loco("tasks", "--plot", "lengths.svg", cwd=home).stdout == "Wrote lengths.svg\n"
    assert (home / "lengths.svg").read_text().startswith("<svg")


def test_a_narrow_terminal_loses_no_name_and_no_figure(home: Path) -> None:
    loco("eval", "--model", "bm25", "--variant", "mini", cwd=home)
    show = "import os, sys; os.environ['COLUMNS'] = '60'; sys.stdout.isatty = lambda: True; from loco.cli import main; "
    command = [sys.executable, "-c", show + "sys.argv = ['loco', 'results', 'show', 'results']; main()"]
    shown = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^qmsum +2 +3 +1\.0000 +1\.0000 to 1\.0000", shown, re.MULTILINE), shown
    assert "average over 1 of 12 tasks" in shown


def test_results_of_one_task_twice_are_not_averaged(home: Path) -> None:
    loco("eval", "--model", "bm25", "--variant", "mini", cwd=home)
    result = "results/bm25/full/mini/qmsum.json"
    refused = loco("results", "show", result, result, cwd=home)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Two results are of qmsum (mini) by bm25, full" in refused.stderr


def test_what_is_no_result_does_not_hide_those_that_are(home: Path) -> None:
    loco("eval", "--model", "bm25", "--variant", "mini", cwd=home)
    (home / "results" / "audit.json").write_text("{}")
    shown = loco("results", "show", "results", cwd=home)
    assert shown.returncode == 2
    assert "qmsum" in shown.stdout
    assert "results/audit.json is not a valid result" in shown.stderr


def test_a_damaged_task_does_not_hide_the_others(home: Path) -> None:
    folder = home / "home/data/mini/gov_report"
    folder.mkdir()
    (folder / "manifest.json").write_text("")
    listed = loco("tasks", cwd=home)
    assert listed.returncode == 2
    assert re.search(r"mini +2 +3", listed.stdout), listed.stdout
    assert "gov_report/manifest.json is damaged" in listed.stderr
    assert "Build it again: loco build-data gov_report --variant mini" in listed.stderr


def test_everything_the_code_reads_is_in_the_package() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {"loco": "loco", "loco_adapters": "adapters"}
    for package, folder in folders.items():
        for file in sorted((CHECKOUT / folder).rglob("*")):
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            owner = file.parent
            while not (owner / "__init__.py").exists():
                owner = owner.parent
            name = ".".join([package, *owner.relative_to(CHECKOUT / folder).parts])
            assert name in project["packages"], name
            patterns = ["*.py", *project["package-data"].get(name, [])]
            assert any(file.relative_to(owner).match(pattern) for pattern in patterns), file
