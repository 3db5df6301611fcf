"""A server between us and a registry that does what networks and bad registries do."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3


@dataclass
class Request:
    """One request as it came in; `body` as far as it has been read."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Rule:
    """What happens to the next `times` requests whose path matches; `times` below 0: all of them. `method`: of one
    method only. With `reads` false the body of the request is left to the action."""

    pattern: str
    action: Callable[[BaseHTTPRequestHandler, Request], None]
    times: int = 1
    method: str | None = None
    reads: bool = True

    def fits(self, request: Request) -> bool:
        return (
            self.times != 0
            and self.method in (None, request.method)
            and re.search(self.pattern, request.path) is not None
        )


@dataclass
class Faulty:
    """Listens on `host`, forwards to `upstream` ("http://...") what no rule catches, and remembers all requests."""

    upstream: str
    rules: list[Rule] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        proxy = self
        self._lock = threading.Lock()
        self.pool = urllib3.PoolManager(retries=False, maxsize=16)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._handle(self)

            do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that go away are what this is for

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def rule(
        self,
        pattern: str,
        action: Callable[[BaseHTTPRequestHandler, Request], None],
        times: int = 1,
        method: str | None = None,
        reads: bool = True,
    ) -> None:
        self.rules.append(Rule(pattern, action, times, method, reads))

    def paths(self, pattern: str, method: str | None = None) -> list[Request]:
        return [
            request
            for request in self.requests
            if re.search(pattern, request.path) and method in (None, request.method)
        ]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fetch(self, request: Request) -> urllib3.BaseHTTPResponse:
        """The upstream's answer, read whole. It sees our name as the host, and gives it in the URLs that it makes."""
        kept = {name: value for name, value in request.headers.items() if name not in ("connection", "content-length")}
        return self.pool.request(
            request.method,
            self.upstream + request.path,
            headers=kept,
            body=request.body or (None if request.method in ("GET", "HEAD") else b""),
            redirect=False,
            decode_content=False,
        )

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(
            handler.command, handler.path, {name.lower(): value for name, value in handler.headers.items()}
        )
        with self._lock:
            self.requests.append(request)
            chosen = next((rule for rule in self.rules if rule.fits(request)), None)
            if chosen:
                chosen.times -= 1
        try:
            if chosen is None or chosen.reads:
                request.body = handler.rfile.read(int(request.headers.get("content-length", "0")))
            if chosen:
                chosen.action(handler, request)
            else:
                answer = self.fetch(request)
                send(handler, answer.status, answer.data, dict(answer.headers))
        except OSError:
            pass  # the client has gone


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    merged = {"content-length": str(len(body))}
    for name, value in (headers or {}).items():
        if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
            merged[name.lower()] = value
    for name, value in merged.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """An answer of our own; in names of headers, "_" stands for "-"."""
    fixed = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, request: send(handler, status, body, fixed)


def redirect(target: str, status: int = 307) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """To `target` with the path of the request after it."""
    return lambda handler, request: send(handler, status, b"", {"location": target + request.path})


def cut(proxy: Faulty, after: int) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """The upstream's answer, whose connection breaks after so many bytes of the body."""

    def action(handler: BaseHTTPRequestHandler, request: Request) -> None:
        found = proxy.fetch(request)
        send(handler, found.status, found.data[:after], {**found.headers, "content-length": str(len(found.data))})
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    return action


def alter(proxy: Faulty, change: Callable[[bytes], bytes]) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """The upstream's answer with another body (of whatever length: Content-Length is right for it)."""

    def action(handler: BaseHTTPRequestHandler, request: Request) -> None:
        found = proxy.fetch(request)
        body = change(found.data)
        send(handler, found.status, body, {**found.headers, "content-length": str(len(body))})

    return action


def dribble(proxy: Faulty, seconds: float, piece: int = 1) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """The upstream's answer, `piece` bytes at a time, with pauses."""

    def action(handler: BaseHTTPRequestHandler, request: Request) -> None:
        found = proxy.fetch(request)
        send(handler, found.status, b"", {**found.headers, "content-length": str(len(found.data))})
        for start in range(0, len(found.data), piece):
            handler.wfile.write(found.data[start : start + piece])
            handler.wfile.flush()
            time.sleep(seconds)

    return action


def ignore_range(proxy: Faulty) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """A server that knows nothing of ranges."""

    def action(handler: BaseHTTPRequestHandler, request: Request) -> None:
        request.headers.pop("range", None)
        found = proxy.fetch(request)
        send(handler, found.status, found.data, dict(found.headers))

    return action


def swallow(proxy: Faulty, most: int) -> Callable[[BaseHTTPRequestHandler, Request], None]:
    """Passes on the first `most` bytes of a request's body as if they were all, and breaks the connection without an
    answer. For rules that leave the body to the action."""

    def action(handler: BaseHTTPRequestHandler, request: Request) -> None:
        request.body = handler.rfile.read(min(most, int(request.headers["content-length"])))
        proxy.fetch(request)
        hang_up(handler, request)

    return action


def hang_up(handler: BaseHTTPRequestHandler, request: Request) -> None:
    """Breaks the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
