"""The download path, really run: huggingface_hub's client against a server in the hub's place.

The client reads its environment at import, so each test runs its builds in one process of its own.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hub_server import COMMIT, CUT_AFTER, Hub, Served, hub

from loco.errors import LocoError
from loco.tasks.build import build_task
from loco.tasks.card import task_card
from loco.tasks.sources import hub as hub_module

QUERIES, DOCUMENTS, SCROLLS = "hazyresearch/LoCoV1-Queries", "hazyresearch/LoCoV1-Documents", "tau/scrolls"

BUILD = """
import json, sys
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


def builds(home: Path, *wanted: str, **environment: str) -> list[dict[str, object]]:
    """What building each ``task/variant`` gave, in one process with a download cache in ``home``."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HUGGING"))}
    quiet = {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    process = subprocess.run(
        [sys.executable, "-c", BUILD, *wanted],
        env={**kept, **quiet, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    answers: list[dict[str, object]] = json.loads(process.stdout)
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


def downloads(running: Hub, name: str) -> list[str]:
    return [ranged for method, path, ranged in running.requests if method == "GET" and path.endswith(name)]


def test_tasks_come_from_the_hub_at_a_commit_and_from_its_cache_when_the_hub_is_gone(tmp_path: Path) -> None:
    files = {(SCROLLS, "qmsum.zip"): Served(scrolls_zip("qmsum")), **release("multifieldqa")}
    with hub(files) as running:
        online = builds(tmp_path, "qmsum/paper", "multifieldqa/release", "qmsum/paper", HF_ENDPOINT=running.url)
    paper, official, again = online
    assert paper["documents"] == {f"d{i}": [f"what {i}?\n\nmeeting", 16] for i in range(3)}
    assert (paper["source"], paper["source_revision"]) == ("tau/scrolls qmsum.zip", COMMIT)
    assert official["documents"] == {"d": ["that. " * 5, 6 * (CUT_AFTER // 5)]}
    assert official["source_revision"] == f"{COMMIT}, {COMMIT}"
    name = "documents/multifieldqa_test.jsonl"
    assert official["source"] == f"{QUERIES} {name}, {DOCUMENTS} {name}"
    assert again == paper
    assert downloads(running, "qmsum.zip") == [""], "downloaded once"
    whole, rest = downloads(running, f"LoCoV1-Documents/resolve/main/{name}")
    assert (whole, rest) == ("", f"bytes={10 << 20}-"), "a dropped download goes on where it was"

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
    assert len(connections) == 1
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

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr(hub_module, "_no_connection", lambda *_: "")
    with pytest.raises(LocoError) as caught:
        build_task(task_card("qmsum"), "paper")
    assert_shows_another_way(str(caught.value), "qmsum.zip of the dataset tau/scrolls", said)
    assert "\n" not in str(caught.value)
