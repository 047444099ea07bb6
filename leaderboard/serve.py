"""The site on this machine alone, for a look: a small web server, and a build whenever a result changes."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from loco.errors import LocoError
from loco.sites import Built

from .site import POLICY

HOST = "127.0.0.1"
_POLL_SECONDS = 0.5
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Build = Callable[[Path], Built]


def serve(build: Build, results: Path, port: int, *, watch: bool, say: Callable[[str], None]) -> None:
    """Build into a folder that is thrown away in the end, and show that at ``port`` until Ctrl-C.

    Raises LocoError where nothing can be built at first, or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="loco-site-") as folder:
        site = Path(folder).resolve() / "site"
        before = _state(results)
        _report(build(site), say)
        with serving(site, port) as address:
            say(f"The site is at {address} until Ctrl-C{', and follows the results' if watch else ''}.")
            try:
                waiting = threading.Event()
                while not waiting.wait(_POLL_SECONDS):
                    if watch and (now := _state(results)) != before:
                        before = now
                        rebuild(build, site, say)
            except KeyboardInterrupt:
                say("Stopped.")


def rebuild(build: Build, site: Path, say: Callable[[str], None]) -> None:
    """Build once more; where that fails, say why and leave the last good site."""
    try:
        _report(build(site), say)
    except (LocoError, OSError) as error:
        say(f"Not built again: {error}")


@contextmanager
def serving(site: Path, port: int) -> Iterator[str]:
    """Serve a folder on this machine while the block runs; gives its address. Port 0 is any that is free."""
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(site)))
    except OSError as error:
        raise LocoError(f"Cannot listen at {HOST}:{port}: {error.strerror}. Choose another with --port.") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Files and nothing else: no lists of folders, no lines about every request."""

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def send_head(self) -> Any:
        try:
            return super().send_head()
        except ValueError:  # no file can have such a name
            self.send_error(404)
            return None

    def list_directory(self, path: Any) -> io.BytesIO | None:
        self.send_error(404)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _report(built: Built, say: Callable[[str], None]) -> None:
    say(f"Built {built.rows:,} rows on {built.files:,} files.")
    for line in built.refused:
        say(f"Left out: {line}")


def _state(results: Path) -> frozenset[tuple[str, int, int]]:
    """What changes when a file below a folder does."""
    found = set()
    for path in results.rglob("*"):
        try:
            status = path.lstat()
        except OSError:
            continue  # gone meanwhile
        found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)
