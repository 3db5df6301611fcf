"""HOSTILE.md 11, 12 and 14 where a server's head lies about its body, leads elsewhere, or the name is nonsense."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import trustme

from tests.support.command import Rootless
from tests.support.faulty import Faulty, Request, answer, redirect
from tests.support.layers import PackedImage
from tests.support.pulling import OPEN, faulty, registry, small, stored
from tests.support.registry import PASSWORD, USER, Registry, basic

__all__ = ["faulty", "registry"]

QUICK = ("--retry=1", "--retry-delay=1ms")


@pytest.fixture(scope="module")
def image(registry: Registry) -> PackedImage:
    made = small(7000, layers=1)
    registry.push("good/app", made)
    return made


def refused(command: Rootless, *words: str, env: dict[str, str] | None = None) -> str:
    failed = command("pull", *QUICK, *words, check=False, env=env)
    assert failed.returncode == 125
    assert "Traceback" not in failed.stderr
    assert "internal error" not in failed.stderr
    assert command.out("images", "-q") == ""
    assert stored(command).get("layers", []) == []
    return failed.stderr


def with_length(faulty: Faulty, length: str) -> object:
    """The upstream's answer under a Content-Length that is not its body's; the connection ends with the body."""

    def action(handler: BaseHTTPRequestHandler, request: Request) -> None:
        found = faulty.fetch(request)
        handler.send_response(found.status)
        handler.send_header("Content-Type", found.headers.get("content-type", ""))
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(found.data)
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    return action


@pytest.mark.parametrize("what", ["manifest", "configuration", "layer"])
@pytest.mark.parametrize("length", ["999999", "10", "0"])
def test_a_content_length_that_is_not_the_bodys_is_refused(
    fresh: Rootless, faulty: Faulty, image: PackedImage, what: str, length: str
) -> None:
    places = {"manifest": "/manifests/", "configuration": image.config.digest, "layer": image.layers[0].digest}
    faulty.rule(places[what], with_length(faulty, length), times=-1)  # type: ignore[arg-type]
    assert "Error: pulling " in refused(fresh, OPEN, f"{faulty.host}/good/app")


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "99999999999999999999999"])
def test_a_content_length_that_is_no_number_harms_nothing(
    fresh: Rootless, faulty: Faulty, image: PackedImage, length: str
) -> None:
    """Either the body, whose digest is right, is taken, or the answer is refused."""
    faulty.rule("/manifests/|/blobs/", with_length(faulty, length), times=-1)  # type: ignore[arg-type]
    done = fresh("pull", "-q", OPEN, *QUICK, f"{faulty.host}/good/app", check=False)
    assert done.returncode in (0, 125)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert fresh.out("images", "-q", "--no-trunc") == (f"sha256:{image.id}" if done.returncode == 0 else "")


@pytest.fixture
def encrypted(faulty: Faulty, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A TLS front for `faulty`: its "localhost:port", and the environment in which its authority is known."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    front = Faulty(faulty.upstream, faulty.rules, faulty.requests)
    front._server.socket = context.wrap_socket(front._server.socket, server_side=True)
    yield front.host.replace("127.0.0.1", "localhost"), {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    front.stop()


def test_a_redirect_from_https_to_http_is_refused_unless_that_was_asked_for(
    fresh: Rootless, faulty: Faulty, image: PackedImage, encrypted: tuple[str, dict[str, str]]
) -> None:
    host, env = encrypted
    plain = Faulty(faulty.upstream)
    faulty.rule("/blobs/", redirect(f"http://{plain.host}"), times=-1)
    said = refused(fresh, "--creds", f"{USER}:{PASSWORD}", f"{host}/good/app", env=env)
    assert f"it sends us from https to http (http://{plain.host})" in said
    assert "insecure = true" in said
    assert PASSWORD not in said
    assert plain.requests == []
    assert fresh.out("pull", "-q", OPEN, f"{host}/good/app", env=env) == image.id
    plain.stop()


def test_a_registry_of_https_is_not_asked_by_http_unless_that_was_asked_for(
    fresh: Rootless, faulty: Faulty, image: PackedImage
) -> None:
    said = refused(fresh, "--creds", f"{USER}:{PASSWORD}", f"{faulty.host}/good/app")
    assert "the server speaks http, and https was expected" in said
    assert [request for request in faulty.requests if "authorization" in request.headers] == []


def test_credentials_do_not_follow_a_redirect_to_another_port_or_scheme(
    fresh: Rootless, faulty: Faulty, image: PackedImage, encrypted: tuple[str, dict[str, str]]
) -> None:
    host, env = encrypted
    other = Faulty(faulty.upstream)
    faulty.rule("/manifests/", answer(401, b"{}", www_authenticate='Basic realm="x"'))
    faulty.rule("/blobs/", redirect(f"http://{other.host}"), times=-1)
    creds = ("--creds", f"{USER}:{PASSWORD}")
    assert fresh.out("pull", "-q", OPEN, *creds, f"{host}/good/app", env=env) == image.id
    assert basic() in [request.headers.get("authorization") for request in faulty.requests]
    assert len(other.requests) == 2
    assert not any("authorization" in request.headers for request in other.requests)
    other.stop()


def test_a_head_without_an_end_is_left(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    def endless(handler: BaseHTTPRequestHandler, request: Request) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            handler.wfile.write(b"X-More: " + b"y" * 60000 + b"\r\n")

    faulty.rule("/manifests/", endless, times=-1)
    assert "Error: " in refused(fresh, OPEN, f"{faulty.host}/good/app")


def test_a_registry_at_an_ipv6_address(fresh: Rootless, registry: Registry, image: PackedImage) -> None:
    upstream = Faulty(registry.base)
    front = socket.socket(socket.AF_INET6)
    try:
        front.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    front.listen()
    target = ("127.0.0.1", int(upstream.host.rpartition(":")[2]))

    def serve() -> None:
        while True:
            try:
                client, _ = front.accept()
                server = socket.create_connection(target)
            except OSError:
                return
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    name = f"[::1]:{front.getsockname()[1]}/good/app:latest"
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert fresh.out("images", "--format", "{{.Repository}}:{{.Tag}}") == name
    fresh("rmi", name)
    front.shutdown(socket.SHUT_RDWR)
    serving.join(10)
    front.close()
    upstream.stop()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # either side may go at any moment
    sink.close()


NONSENSE = {
    "": "empty",
    "quay.io/Team/App": "lowercase",
    "quay.io/../etc/passwd": "begin and end",
    "quay.io/a/..": "begin and end",
    "quay.io/" + "a" * 300: "more than 255",
    "quay.io/a:" + "t" * 300: "300 characters",
    "quay.io/a@sha256:short": "not a digest",
    "quay.io/a@sha256:" + "g" * 64: "not a digest",
    "quay.io:99999/a": "not a port",
    "quay.io:/a": "not a port",
    "[::1/a": "IPv6",
    "[::1%lo]:5000/a": "IPv6",
    "quay.io//a": "between two slashes",
    "quay.io/a b": "not a name",
    "quay.io/a\nb": "not a name",
    "quay.io/a\x1b[31m": "not a name",
    "-a": "",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_names_that_are_nonsense_are_refused_without_asking_anybody(fresh: Rootless, name: str) -> None:
    for command in (("pull",), ("run", "--rm", "--pull=always")):
        failed = fresh(*command, name, check=False, env={"HTTPS_PROXY": "http://127.0.0.1:1"})
        assert failed.returncode == 125, command
        assert "Traceback" not in failed.stderr
        assert "\x1b" not in failed.stderr
        assert "127.0.0.1:1" not in failed.stderr
        assert len(failed.stderr) < 600
        if command == ("pull",):
            assert NONSENSE[name] in failed.stderr
