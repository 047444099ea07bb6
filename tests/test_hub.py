"""The download path, really run: huggingface_hub's client against a server in the hub's place.

The client reads its environment at import, so each test runs its builds in one process of its own.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import COMMIT, CUT_AFTER, Served, hub

from loco.errors import LocoError
from loco.tasks.build import build_task
from loco.tasks.card import task_card
from loco.tasks.sources import hub as hub_module
from loco.tasks.sources.upstream import upstreams

QUERIES, DOCUMENTS, SCROLLS = "hazyresearch/LoCoV1-Queries", "hazyresearch/LoCoV1-Documents", "tau/scrolls"
LONGBENCH, QASPER = "THUDM/LongBench", "allenai/qasper"
PINS = {repo: upstream.revision for repo, upstream in upstreams().items()}

BUILD = """
import json, sys
import stamina
stamina.set_testing(True, attempts=6)  # as many as there are, without the waits between them
from loco.errors import LocoError
from loco.tasks.build import build_task
from loco.tasks.card import task_card
answers = []
for wanted in sys.argv[1:]:
    task, variant = wanted.split("/")
    try:
        built = build_task(task_card(task), variant)
    except LocoError as error:
        answers.append({"error": str(error)})
    else:
        documents = {name: [text[:30], len(text)] for name, text in built.documents}
        answers.append({"documents": documents, **built.provenance.model_dump()})
print(json.dumps(answers))
"""


def started(home: Path, *wanted: str, before: str = "", **environment: str) -> subprocess.Popen[str]:
    """A process that runs ``before``, then builds each ``task/variant`` with a download cache in ``home``."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HUGGING"))}
    quiet = {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", before + BUILD, *wanted],
        env={**kept, **quiet, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[list[dict[str, object]], str]:
    """What each build gave, and standard error."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return json.loads(out), err


def builds(home: Path, *wanted: str, before: str = "", **environment: str) -> list[dict[str, object]]:
    """What building each ``task/variant`` gave, in one process with a download cache in ``home``, and nothing said."""
    answers, err = ended(started(home, *wanted, before=before, **environment))
    assert err == ""
    return answers


def error_of(answer: dict[str, object]) -> str:
    message = answer["error"]
    assert isinstance(message, str)
    assert "\n" not in message
    return message


def jsonl(*rows: dict[str, object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def scrolls_zip(task: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        rows = ({"id": f"d{i}", "pid": f"q{i}", "input": f"what {i}?\n\nmeeting", "output": "that"} for i in range(3))
        archive.writestr(f"{task}/validation.jsonl", jsonl(*rows))
        archive.writestr(f"{task}/test.jsonl", jsonl({"id": "t", "pid": "t_0", "input": "no output"}))
    return buffer.getvalue()


def release(task: str) -> dict[tuple[str, str], Served]:
    name = f"documents/{task}_test.jsonl"
    query = {"qid": "q", "query": "what?", "answer_pids": ["d"], "dataset": task}
    document = {"pid": "d", "passage": "that. " * (CUT_AFTER // 5), "dataset": task}
    return {(QUERIES, name): Served(jsonl(query)), (DOCUMENTS, name): Served(jsonl(document), fault="cut")}


def assert_shows_another_way(message: str, *parts: str) -> None:
    """The message holds ``parts``, and says where to put which files and what to run then."""
    for part in (*parts, "Without the hub, put into a folder DIR: ", "Then run: loco build-data ", " --from DIR"):
        assert part in message


def long_scrolls_zip(task: str, size: int) -> bytes:
    """A zip of more than ``size`` bytes, as random letters do not pack well."""
    row = {"id": "d", "pid": "q", "input": random.Random(1).randbytes(size).hex(), "output": "that"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{task}/validation.jsonl", jsonl(row))
    return buffer.getvalue()


def qasper_parquet() -> bytes:
    sections = {"section_name": ["A"], "paragraphs": [["text"]]}
    paper = {"id": "p", "title": "T", "abstract": "An abstract.", "full_text": sections}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([paper]), buffer)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_tasks_come_from_the_hub_at_a_commit_and_from_its_cache_when_the_hub_is_gone(tmp_path: Path) -> None:
    files = {(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum")), **release("multifieldqa")}
    with hub(files) as running:
        online = builds(tmp_path, "qmsum/paper", "multifieldqa/release", "qmsum/paper", HF_ENDPOINT=running.url)
    paper, official, again = online
    assert paper["documents"] == {f"d{i}": [f"what {i}?\n\nmeeting", 16] for i in range(3)}
    assert (paper["source"], paper["source_revision"]) == ("tau/scrolls qmsum.zip", PINS[SCROLLS])
    assert paper["source_sha256"] == {"tau/scrolls qmsum.zip": sha256(files[SCROLLS, "qmsum.zip"].content)}
    assert official["documents"] == {"d": ["that. " * 5, 6 * (CUT_AFTER // 5)]}
    assert official["source_revision"] == f"{PINS[QUERIES]}, {PINS[DOCUMENTS]}"
    name = "documents/multifieldqa_test.jsonl"
    read = {f"{repo} {name}": sha256(files[repo, name].content) for repo in (QUERIES, DOCUMENTS)}
    assert official["source_sha256"] == read
    assert official["source"] == f"{QUERIES} {name}, {DOCUMENTS} {name}"
    assert again == paper
    assert running.asked("GET", "qmsum.zip") == [""], "downloaded once"
    whole, rest = running.asked("GET", f"LoCoV1-Documents/resolve/{PINS[DOCUMENTS]}/{name}")
    assert (whole, rest) == ("", f"bytes={CUT_AFTER}-"), "a dropped download goes on where it was"

    gone = builds(tmp_path, "qmsum/paper", "multifieldqa/release", "gov_report/paper", HF_ENDPOINT=running.url)
    assert gone[:2] == [paper, official]
    message = error_of(gone[2])
    assert_shows_another_way(
        message, "gov_report.zip", "tau/scrolls", running.url, "refused", "gov_report/validation.jsonl"
    )
    assert message.endswith("loco build-data gov_report --variant paper --from DIR")

    offline = builds(tmp_path, "multifieldqa/release", "qasper_title/release", HF_HUB_OFFLINE="1")
    assert offline[0] == official
    assert_shows_another_way(
        error_of(offline[1]), "HF_HUB_OFFLINE", "LoCoV1-Documents/documents/qasper_title_test.jsonl"
    )


def test_each_refusal_of_the_hub_is_one_line_with_the_way_around_it(tmp_path: Path) -> None:
    files = {
        (SCROLLS, "qmsum.zip"): Served(fault="gated"),
        (SCROLLS, "gov_report.zip"): Served(fault="forbidden"),
        (QUERIES, "documents/stackoverflow_test.jsonl"): Served(b"{}\n"),
        (QUERIES, "documents/2wikimqa_test.jsonl"): Served(fault="teapot"),
    }
    wanted = ("qmsum/paper", "gov_report/paper", "summ_screen_fd/paper", "stackoverflow/release", "2wikimqa/release")
    with hub(files) as running:
        answers = [error_of(answer) for answer in builds(tmp_path, *wanted, HF_ENDPOINT=running.url)]
    assert_shows_another_way(
        answers[0], "qmsum.zip", f"Ask for it at {running.url}/datasets/tau/scrolls", "hf auth login"
    )
    assert_shows_another_way(answers[1], "gov_report.zip", "your login has no access to it")
    assert_shows_another_way(answers[2], "summ_screen_fd.zip", "there is no such file in it")
    assert_shows_another_way(
        answers[3], "hazyresearch/LoCoV1-Documents", "there is no such dataset, or you have no access"
    )
    assert_shows_another_way(answers[4], "documents/2wikimqa_test.jsonl", "the answer was 418")


def test_a_file_damaged_in_the_cache_comes_anew_once_what_the_line_names_is_deleted(tmp_path: Path) -> None:
    with hub({(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum"))}) as running:
        (whole,) = builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)
        (cached,) = tmp_path.rglob("qmsum.zip")
        cached.write_bytes(cached.read_bytes()[:-30])
        message = error_of(builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)[0])
        Path(message.partition("Delete ")[2].partition(" and run the command again")[0]).unlink()
        assert builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url) == [whole]


def test_a_file_that_has_changed_since_it_was_downloaded_is_refused_though_it_can_be_read(tmp_path: Path) -> None:
    name = "documents/multifieldqa_test.jsonl"
    with hub(release("multifieldqa")) as running:
        (whole,) = builds(tmp_path, "multifieldqa/release", HF_ENDPOINT=running.url)
        (kept,) = tmp_path.rglob(f"{QUERIES.replace('/', '--')}/*/{name}")
        kept.write_bytes(kept.read_bytes().replace(b"what?", b"when?"))
        message = error_of(builds(tmp_path, "multifieldqa/release", HF_ENDPOINT=running.url)[0])
        recorded = sha256(release("multifieldqa")[QUERIES, name].content)
        assert f"its SHA-256 is {sha256(kept.read_bytes())}, and was {recorded}. Delete {kept} and run" in message
        kept.unlink()
        assert builds(tmp_path, "multifieldqa/release", HF_ENDPOINT=running.url) == [whole]


def test_a_hub_that_never_answers_is_asked_once_for_all_files(tmp_path: Path) -> None:
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            while True:
                try:
                    connections.append(silent.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        wanted = ("qmsum/paper", "gov_report/paper", "qasper_title/release")
        answers = builds(tmp_path, *wanted, HF_ENDPOINT=url, HF_HUB_ETAG_TIMEOUT="1")
        silent.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in connections:
        connection.close()
    assert len(connections) == 2, "once more, in case that the first one failed in passing"
    for answer in answers:
        assert_shows_another_way(error_of(answer), url, "timed out")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    subprocess.run(
        ["openssl", "req", *options, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake() -> None:
            with listening.accept()[0] as connection, suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        (answer,) = builds(tmp_path / "home", "qmsum/paper", HF_ENDPOINT=url)
        thread.join()
    assert_shows_another_way(error_of(answer), url, "certificate is not trusted", "SSL_CERT_FILE")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk of the download cache is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/cache/blobs"), "is not writable (/cache/blobs)"),
        (RuntimeError("chunk 3\nlost"), "chunk 3 lost"),
    ],
)
def test_a_download_cache_that_cannot_be_written_is_one_line(
    fault: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise fault

    monkeypatch.setattr(hub_module, "_found", lambda *_: None)
    monkeypatch.setattr(hub_module, "_stated", lambda *_: (PINS[SCROLLS], "etag", 1))
    monkeypatch.setattr(hub_module, "_downloaded", fail)
    monkeypatch.setattr(hub_module, "no_connection", lambda *_: "")
    with pytest.raises(LocoError) as caught:
        build_task(task_card("qmsum"), "paper")
    assert_shows_another_way(str(caught.value), "qmsum.zip of the dataset tau/scrolls", said)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is the disk that fills")
def test_a_disk_that_fills_is_one_line_and_the_download_goes_on_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "assets" / "loco" / "tau--scrolls" / PINS[SCROLLS]
    folder.mkdir(parents=True)
    (folder / "qmsum.zip.part").symlink_to("/dev/full")
    with hub({(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum"))}) as running:
        message = error_of(builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)[0])
        assert_shows_another_way(message, "qmsum.zip", "the disk of the download cache is full", "HF_HOME")
        assert {path.name for path in folder.iterdir()} == {"qmsum.zip.part", "qmsum.zip.lock"}
        (folder / "qmsum.zip.part").unlink()
        assert "error" not in builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)[0]


# --- Downloads that are broken off, damaged, refused for the moment


def test_a_download_whose_process_is_killed_goes_on_in_the_next_one(tmp_path: Path) -> None:
    files = {(SCROLLS, "qmsum.zip"): Served(long_scrolls_zip("qmsum", CUT_AFTER), "stalled")}
    part = tmp_path / "assets" / "loco" / "tau--scrolls" / PINS[SCROLLS] / "qmsum.zip.part"
    with hub(files) as running:
        process = started(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url, HF_HUB_DOWNLOAD_TIMEOUT="60")
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size == CUT_AFTER):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "nothing came"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert running.asked("GET", "qmsum.zip") == [""]
        (built,) = builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)
    assert running.asked("GET", "qmsum.zip") == ["", f"bytes={CUT_AFTER}-"]
    assert built["documents"] == {"d": [random.Random(1).randbytes(CUT_AFTER).hex()[:30], 2 * CUT_AFTER]}
    digest = sha256(files[SCROLLS, "qmsum.zip"].content)
    assert built["source_sha256"] == {"tau/scrolls qmsum.zip": digest}
    assert part.with_name("qmsum.zip.sha256").read_text() == f"{digest}  qmsum.zip\n"
    assert not part.exists()


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path) -> None:
    content = long_scrolls_zip("qmsum", CUT_AFTER)
    with hub({(SCROLLS, "qmsum.zip"): Served(content, "rangeless")}) as running:
        (built,) = builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)
    assert running.asked("GET", "qmsum.zip") == ["", f"bytes={CUT_AFTER}-"]
    assert built["source_sha256"] == {"tau/scrolls qmsum.zip": sha256(content)}


@pytest.mark.parametrize("git", [False, True])
def test_a_flipped_byte_is_noticed_and_the_file_downloaded_anew(git: bool, tmp_path: Path) -> None:
    content = scrolls_zip("qmsum")
    with hub({(SCROLLS, "qmsum.zip"): Served(content, "flipped", git)}) as running:
        (built,) = builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)
    assert running.asked("GET", "qmsum.zip") == ["", ""]
    assert built["source_sha256"] == {"tau/scrolls qmsum.zip": sha256(content)}


@pytest.mark.parametrize("git", [False, True])
def test_a_file_that_is_never_what_the_hub_states_is_refused_with_both_checksums(git: bool, tmp_path: Path) -> None:
    content = scrolls_zip("qmsum")
    stated = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() if git else sha256(content)
    with hub({(SCROLLS, "qmsum.zip"): Served(content, "wrong", git)}) as running:
        message = error_of(builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)[0])
    assert_shows_another_way(message, "qmsum.zip", "came damaged twice", f"the hub states {stated}")
    assert [path.name for path in tmp_path.rglob("qmsum.zip*")] == ["qmsum.zip.lock"], "nothing of it is kept"


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    with hub({(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum"), "busy")}) as running:
        (built,) = builds(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url)
    assert "error" not in built
    assert running.asked("HEAD", "qmsum.zip") == running.asked("GET", "qmsum.zip") == ["", ""]


def test_a_hub_that_stays_down_is_given_up_after_six_tries(tmp_path: Path) -> None:
    files = {(SCROLLS, "qmsum.zip"): Served(fault="down"), (SCROLLS, "gov_report.zip"): Served(fault="forbidden")}
    with hub(files) as running:
        answers = builds(tmp_path, "qmsum/paper", "gov_report/paper", HF_ENDPOINT=running.url)
    assert_shows_another_way(error_of(answers[0]), "qmsum.zip", "the answer was 503 Service Unavailable")
    assert len(running.asked("HEAD", "qmsum.zip")) == 6
    assert len(running.asked("HEAD", "gov_report.zip")) == 1, "what is refused for good is asked for once"


def test_two_processes_that_want_the_same_file_download_it_once(tmp_path: Path) -> None:
    with hub({(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum"), "together")}) as running:
        both = [started(tmp_path, "qmsum/paper", HF_ENDPOINT=running.url) for _ in range(2)]
        (first,), (second,) = (ended(process)[0] for process in both)
    assert first == second
    assert "error" not in first
    assert len(running.asked("HEAD", "qmsum.zip")) == 2
    assert running.asked("GET", "qmsum.zip") == [""]


def test_a_download_shows_a_bar_on_a_terminal(tmp_path: Path) -> None:
    seen = "from loco.tasks.sources import files\nfiles._BAR_FROM_BYTES = 0\n"
    with hub({(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum"))}) as running:
        terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "HF_ENDPOINT": running.url}
        (built,), err = ended(started(tmp_path, "qmsum/paper", before=seen, **terminal))
    assert "error" not in built
    assert "downloading qmsum.zip" in err
    assert "checking qmsum.zip" in err


# --- Which bytes


def test_a_pinned_commit_that_is_gone_is_told_and_written_down_and_main_is_read(tmp_path: Path) -> None:
    files = {key: Served(served.content) for key, served in release("multifieldqa").items()}
    with hub(files, gone=(PINS[QUERIES],)) as running:
        answers, err = ended(started(tmp_path, *["multifieldqa/release"] * 2, HF_ENDPOINT=running.url))
    built, again = answers
    assert err == f"The hub does not have the pinned commit {PINS[QUERIES]} of {QUERIES}: taking main.\n"
    name = "documents/multifieldqa_test.jsonl"
    note = f"(of main, as the hub does not have the pinned commit {PINS[QUERIES]})"
    assert built["source"] == f"{QUERIES} {name} {note}, {DOCUMENTS} {name}"
    assert built["source_revision"] == f"{COMMIT}, {PINS[DOCUMENTS]}"
    assert again == built
    assert builds(tmp_path, "multifieldqa/release", HF_HUB_OFFLINE="1") == [built]


def test_a_file_that_is_not_the_pinned_one_is_refused_with_both_checksums(tmp_path: Path) -> None:
    content = scrolls_zip("qmsum")
    with hub({(LONGBENCH, "data.zip"): Served(content)}, gone=(PINS[LONGBENCH],)) as running:
        answers, _ = ended(started(tmp_path, "multifieldqa/paper", HF_ENDPOINT=running.url))
    expected = upstreams()[LONGBENCH].sha256["data.zip"]
    assert_shows_another_way(error_of(answers[0]), "data.zip", f"its SHA-256 is {sha256(content)}, not {expected}")


def test_what_a_branch_was_when_the_hub_was_last_asked_serves_without_it(tmp_path: Path) -> None:
    with hub({(QASPER, "qasper/test/0000.parquet"): Served(qasper_parquet())}) as running:
        (built,) = builds(tmp_path, "qasper_title/paper", HF_ENDPOINT=running.url)
    assert (built["source_revision"], built["documents"]) == (COMMIT, {"p": ["A\ntext", 6]})
    assert builds(tmp_path, "qasper_abstract/paper", "qasper_title/paper", HF_ENDPOINT=running.url)[1] == built
    assert builds(tmp_path, "qasper_title/paper", HF_HUB_OFFLINE="1") == [built]


def test_what_the_clients_own_cache_has_is_not_downloaded_again(tmp_path: Path) -> None:
    fetch = "import huggingface_hub as h; h.hf_hub_download({!r}, {!r}, repo_type='dataset', revision={!r})\n"
    before = fetch.format(SCROLLS, "qmsum.zip", PINS[SCROLLS])
    content = scrolls_zip("qmsum")
    with hub({(SCROLLS, "qmsum.zip"): Served(content)}) as running:
        (built,) = builds(tmp_path, "qmsum/paper", before=before, HF_ENDPOINT=running.url)
    assert running.asked("GET", "qmsum.zip") == [""]
    assert not (tmp_path / "assets").exists()
    assert built["source_sha256"] == {"tau/scrolls qmsum.zip": sha256(content)}


def test_going_offline_holds_for_a_client_that_is_imported_already(tmp_path: Path) -> None:
    before = "import huggingface_hub.constants\nfrom loco.settings import go_offline\ngo_offline()\n"
    with hub({(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum"))}) as running:
        (answer,) = builds(tmp_path, "qmsum/paper", before=before, HF_ENDPOINT=running.url)
    assert running.requests == []
    assert_shows_another_way(error_of(answer), "HF_HUB_OFFLINE is set, and the download cache does not have it")


def test_going_offline_after_a_download_leaves_what_was_downloaded(tmp_path: Path) -> None:
    before = """
from loco.settings import go_offline
from loco.tasks.build import build_task
from loco.tasks.card import task_card
build_task(task_card("qasper_title"), "paper")
go_offline()
"""
    with hub({(QASPER, "qasper/test/0000.parquet"): Served(qasper_parquet())}) as running:
        (built,) = builds(tmp_path, "qasper_title/paper", before=before, HF_ENDPOINT=running.url)
    assert built["source_revision"] == COMMIT
    assert running.asked("HEAD", "0000.parquet") == [""]


def test_every_upstream_is_pinned_to_something_a_hub_can_be_asked_for() -> None:
    for repo, upstream in upstreams().items():
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", repo)
        assert re.fullmatch("[0-9a-f]{40}|main|refs/convert/parquet", upstream.revision)
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in upstream.sha256.values())
