"""Folders that are swapped in whole, whoever is killed or reads meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tasks import small_task

from loco.files import recovered, replacing_folder
from loco.tasks.data import read_task, write_task


def fill(target: Path, content: str) -> None:
    with replacing_folder(target) as folder:
        (folder / "content").write_text(content, encoding="utf-8")


def test_a_kill_between_two_builds_brings_back_the_last_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "task"
    half_deleted = tmp_path / ".task.retired-1-0"  # left by a build that was killed while it cleaned up
    half_deleted.mkdir()
    fill(target, "whole")
    half_deleted.mkdir(exist_ok=True)
    rename = Path.rename

    def killed(path: Path, to: Path) -> Path:
        if Path(to) == target:
            raise KeyboardInterrupt
        return rename(path, to)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(target, "never there")
    assert not target.exists()
    assert (recovered(target) / "content").read_text(encoding="utf-8") == "whole"
    fill(target, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["task"], "and nothing stays behind"


def test_a_reader_never_trips_over_a_build(tmp_path: Path) -> None:
    target = tmp_path / "task"
    fill(target, "first")
    done = threading.Event()
    tripped: list[OSError] = []

    def read() -> None:
        while not done.is_set():
            try:
                recovered(target)
            except OSError as error:
                tripped.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(300):
        fill(target, str(number))
    done.set()
    for reader in readers:
        reader.join()
    assert tripped == []
    assert (target / "content").read_text(encoding="utf-8") == "299"


def test_a_reader_sees_one_build_whole_while_others_replace_it(tmp_path: Path) -> None:
    builds = [small_task(documents={"d1": name, "d2": name, "d3": name}) for name in ("first", "second")]
    write_task(builds[0], tmp_path)
    done = threading.Event()

    def rebuild() -> None:
        while not done.is_set():
            for build in builds:
                write_task(build, tmp_path)

    writer = threading.Thread(target=rebuild)
    writer.start()
    try:
        read = [read_task(tmp_path, "mini", "qmsum") for _ in range(60)]
    finally:
        done.set()
        writer.join()
    assert {task.documents.texts for task in read} <= {build.documents.texts for build in builds}


def test_what_builds_that_were_killed_left_behind_is_cleared_after_a_day(tmp_path: Path) -> None:
    old, recent = tmp_path / ".task.tmp-old", tmp_path / ".task.tmp-recent"
    for folder in (old, recent):
        folder.mkdir()
    os.utime(old, (0, 0))
    fill(tmp_path / "task", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".task.tmp-recent", "task"]
