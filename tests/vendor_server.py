"""A server in the place of OpenAI, Cohere and Voyage AI: as much of their wire formats as their clients use, and as
much misbehaviour as the world has.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

KEY = "sk-test-0123456789abcdef"

PASSING = (
    "429",
    "429 bare",
    "500",
    "503",
    "slow",
    "hang",
    "reset",
    "truncated",
    "count",
    "dimension",
    "nan",
    "zero",
    "twice",
    "no list",
)
"""Faults after which it is worth asking again. "slow" is none: it only takes its time."""

HARMLESS = ("reordered", "other encoding", "no usage")
"""Answers that differ in form alone."""


def vector(text: str, role: str, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the server makes of a text: any vector, as long as it is always the same."""
    seed = int.from_bytes(hashlib.sha256(f"{role}\0{text}".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


@dataclass
class VendorServer:
    """A running server. ``fault`` says for the number of a request (from 0) how it goes wrong, "" for not at all.

    ``answered`` are the texts (with their role) whose vectors have gone out whole, ``twice`` those that came again
    after that, ``requests`` the bodies in the order in which they came, ``hanging`` how many requests hang now.
    """

    dim: int
    fault: Callable[[int], str] = lambda number: ""
    url: str = ""
    retry_after: str = "0"
    requests: list[dict[str, Any]] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)
    twice: list[tuple[str, str]] = field(default_factory=list)
    authorisations: set[str] = field(default_factory=set)
    tokens: int = 0
    hanging: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    access: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def vendor_server(dim: int, fault: Callable[[int], str] | None = None) -> Iterator[VendorServer]:
    """Serve on a free local port until the block ends."""
    running = VendorServer(dim)
    if fault is not None:
        running.fault = fault

    class Handler(_Handler):
        server_state = running

    with _Server(("127.0.0.1", 0), Handler) as server:
        running.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.released.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: VendorServer

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        role, texts = asked(body)
        with state.access:
            number = len(state.requests)
            state.requests.append(body)
            state.authorisations.add(self.headers.get("Authorization", ""))
            state.twice += [(role, text) for text in texts if (role, text) in state.answered]
        fault = state.fault(number)
        if fault in ("slow", "hang"):
            with state.access:
                state.hanging += fault == "hang"
            if fault == "slow":
                time.sleep(0.05)
            else:
                state.released.wait(30)
                self.close_connection = True
                return
        if fault.isdigit() or fault == "429 bare":
            self._refuse(int(fault.split()[0]), fault)
            return
        if fault.startswith("refuse "):
            _, status, said = fault.split(" ", 2)
            self._refuse(int(status), said, said)
            return
        content = json.dumps(self._answer(body, role, texts, fault)).encode()
        if fault == "reset":
            self._send(200, content, cut=len(content) // 2)
            return
        if fault == "truncated":
            content = content[: len(content) // 2]
        good = fault in ("", "slow", *HARMLESS)
        if good:  # before it goes out: who asks again from now on may have it
            with state.access:
                state.answered |= {(role, text) for text in texts}
                state.tokens += sum(map(tokens_of, texts))
        self._send(200, content)

    def _answer(self, body: dict[str, Any], role: str, texts: list[str], fault: str) -> dict[str, Any]:
        dim = self.server_state.dim + (fault == "dimension")
        vectors = [vector(text, role, dim) for text in texts]
        if fault == "nan":
            vectors[-1][0] = np.nan
        if fault == "zero":
            vectors[-1][:] = 0
        if fault == "count":
            vectors.append(vectors[0])
        if fault == "no list":
            return {"data": {"0": "none"}, "embeddings": "none"}
        tokens = sum(map(tokens_of, texts))
        if "texts" in body:
            rows = [one.tolist() for one in vectors] + ([vectors[0].tolist()] if fault == "twice" else [])
            told = {} if fault == "no usage" else {"meta": {"billed_units": {"input_tokens": tokens}}}
            return {"id": "1", "embeddings": {"float": rows}, "response_type": "embeddings_by_type", **told}
        as_text = (body.get("encoding_format") == "base64") != (fault == "other encoding")
        rows = [
            {"object": "embedding", "index": place, "embedding": _encoded(one) if as_text else one.tolist()}
            for place, one in enumerate(vectors)
        ]
        if fault == "reordered":
            rows.reverse()
        if fault == "twice":
            rows[-1]["index"] = 0 if len(rows) > 1 else 1
        model = "another-model" if fault == "other model" else body["model"]
        usage = {} if fault == "no usage" else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        return {"object": "list", "data": rows, "model": model, **usage}

    def _refuse(self, status: int, fault: str, said: str = "try again later") -> None:
        # Some vendors repeat the key that they were sent.
        message = f"{said} (key {self.headers.get('Authorization', '').removeprefix('Bearer ')})"
        code = "insufficient_quota" if "quota" in said else None
        content = {"message": message, "detail": message, "error": {"message": message, "code": code}}
        headers = {} if fault == "429 bare" or status != 429 else {"Retry-After": self.server_state.retry_after}
        if fault == "429 bare":
            content = {"status": "busy"}
        self._send(status, json.dumps(content).encode(), headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[:cut])
            if cut is not None:
                self.wfile.flush()
                # Closing without lingering sends a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()


def asked(body: dict[str, Any]) -> tuple[str, list[str]]:
    """The role (where the vendor is told one) and the texts of a request."""
    kind = str(body.get("input_type", "")).removeprefix("search_")
    return kind, body.get("texts") or body["input"]


def tokens_of(text: str) -> int:
    """What the server bills for a text: a token a word."""
    return len(text.split())


def _encoded(one: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return base64.b64encode(one.astype("<f4").tobytes()).decode()
