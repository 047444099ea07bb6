"""A server in the hub's place: as much of the protocol of dataset downloads as huggingface_hub's client uses."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CUT_AFTER = 11 << 20  # the client keeps what it has in pieces of 10 MiB


@dataclass(frozen=True)
class Served:
    """A file, or the way it is refused.

    ``fault``: "" serves it; "cut" drops the connection after CUT_AFTER bytes, unless a Range asks for the rest;
    "gated" and "forbidden" refuse it as the hub does without permission, "teapot" as nothing the client knows.
    """

    content: bytes = b""
    fault: str = ""


@dataclass
class Hub:
    """A running server: where it is, and what it was asked as (method, path, Range header)."""

    url: str
    requests: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def hub(files: Mapping[tuple[str, str], Served]) -> Iterator[Hub]:
    """Serve ``(repo, file name) -> Served`` on a free local port. Other files of those repos do not exist, nor do
    other repos."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            running.requests.append((self.command, self.path, self.headers.get("Range", "")))
            if self.path == "/":
                return self.reply(200, b"", with_body)
            match = re.fullmatch(rf"/datasets/([^/]+/[^/]+)/resolve/(?:main|{COMMIT})/(.+)", self.path)
            if not match or match[1] not in {repo for repo, _ in files}:
                return self.refuse(401, "RepoNotFound", with_body)
            served = files.get((match[1], match[2]))
            if served is None:
                return self.refuse(404, "EntryNotFound", with_body)
            if served.fault == "gated":
                return self.refuse(403, "GatedRepo", with_body)
            if served.fault == "forbidden":
                return self.refuse(403, "", with_body)
            if served.fault == "teapot":
                return self.refuse(418, "", with_body)
            return self.serve(served, with_body)

        def serve(self, served: Served, with_body: bool) -> None:
            resumed = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start, size = int(resumed[1]) if resumed else 0, len(served.content)
            body = served.content[start:]
            headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if resumed else {}
            etag = f'"{hashlib.sha256(served.content).hexdigest()}"'
            cut = with_body and served.fault == "cut" and not resumed
            self.reply(206 if resumed else 200, body, with_body, {**headers, "ETag": etag}, cut)

        def refuse(self, status: int, code: str, with_body: bool) -> None:
            self.reply(status, b'{"error": "no"}', with_body, {"X-Error-Code": code} if code else {})

        def reply(
            self,
            status: int,
            body: bytes,
            with_body: bool,
            headers: Mapping[str, str] | None = None,
            cut: bool = False,
        ) -> None:
            self.send_response(status)
            for name, value in {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body[:CUT_AFTER] if cut else body)
            if cut:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
