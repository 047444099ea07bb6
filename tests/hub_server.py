"""A server in the hub's place: as much of the protocol of downloads as huggingface_hub's client uses."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CUT_AFTER = 3 << 20


@dataclass(frozen=True)
class Served:
    """A file, or the way it is refused.

    ``fault``: "" serves it; "gated" and "forbidden" refuse it as the hub does without permission, "teapot" as nothing
    the client knows, "busy" and "down" for the moment: the first HEAD and the first GET, or all. "cut" drops the
    connection after CUT_AFTER bytes unless a Range asks for the rest, "rangeless" the first one, and knows no Range;
    "stalled" sends nothing after CUT_AFTER bytes until the client is gone. "flipped" and "wrong" change a byte of the
    body, the first time or always. "together" waits with the body until two clients have asked for the file.
    ``git`` marks a small file, whose etag is the name that Git gives it.
    """

    content: bytes = b""
    fault: str = ""
    git: bool = False


@dataclass
class Hub:
    """A running server: where it is, and what it was asked as (method, path, Range header)."""

    url: str
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def asked(self, method: str, name: str) -> list[str]:
        """The Range headers of the requests for a file."""
        return [ranged for kind, path, ranged in self.requests if kind == method and path.endswith(name)]


@contextmanager
def hub(files: Mapping[tuple[str, str], Served], gone: tuple[str, ...] = ()) -> Iterator[Hub]:
    """Serve ``(repo, file name) -> Served`` on a free local port, as datasets and as models.

    Other files of those repos do not exist, nor do other repos. All branches are at COMMIT, and every commit exists but
    those that are ``gone``.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        commit = COMMIT

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            running.requests.append((self.command, self.path, self.headers.get("Range", "")))
            if self.path == "/":
                return self.reply(200, b"", with_body)
            match = re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            about = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/revision/([^/?]+)(?:[?].*)?", self.path)
            asked = match or about
            if not asked or asked[1] not in {repo for repo, _ in files}:
                return self.refuse(401, "RepoNotFound", with_body)
            self.commit = asked[2] if re.fullmatch("[0-9a-f]{40}", asked[2]) else COMMIT
            if self.commit in gone:
                return self.refuse(404, "RevisionNotFound", with_body)
            if not match:
                names = [{"rfilename": name} for repo, name in files if repo == asked[1]]
                about_it = {"id": asked[1], "sha": self.commit, "siblings": names}
                return self.reply(200, json.dumps(about_it).encode(), with_body, {"Content-Type": "application/json"})
            served = files.get((match[1], match[3]))
            if served is None:
                return self.refuse(404, "EntryNotFound", with_body)
            if served.fault == "gated":
                return self.refuse(403, "GatedRepo", with_body)
            if served.fault == "forbidden":
                return self.refuse(403, "", with_body)
            if served.fault == "teapot":
                return self.refuse(418, "", with_body)
            first = len(running.asked(self.command, self.path)) == 1
            if served.fault == "down" or (served.fault == "busy" and first):
                return self.refuse(503, "", with_body)
            return self.serve(served, with_body, first)

        def serve(self, served: Served, with_body: bool, first: bool) -> None:
            content, fault = served.content, served.fault
            ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            resumed = ranged if fault != "rangeless" else None
            start, size = int(resumed[1]) if resumed else 0, len(content)
            named = hashlib.sha1(b"blob %d\0" % size + content) if served.git else hashlib.sha256(content)
            headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if resumed else {}
            headers["ETag"] = f'"{named.hexdigest()}"'
            if with_body and (fault == "wrong" or (fault == "flipped" and first)):
                content = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
            while fault == "together" and with_body and len(running.asked("HEAD", self.path)) < 2:
                time.sleep(0.01)
            cut = with_body and ((fault in ("cut", "stalled") and not resumed) or (fault == "rangeless" and first))
            self.reply(206 if resumed else 200, content[start:], with_body, headers, cut)
            if cut and fault == "stalled":
                self.rfile.read(1)

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
            for name, value in {"X-Repo-Commit": self.commit, "Accept-Ranges": "bytes", **(headers or {})}.items():
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
