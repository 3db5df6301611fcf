"""`import` from web servers: real ones on loopback."""

from __future__ import annotations

import base64
import functools
import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.support.archives import layer
from tests.support.command import Rootless

TARBALL = gzip.compress(layer({"etc/motd": b"hello\n", "srv/data": b"1234" * 100_000}))
Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """A server whose answers are functions by path; `asked` has (path, Authorization) of each request."""

    def __init__(self, authority: trustme.CA | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str | None]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, self.headers.get("Authorization")))
                web.answers.get(self.path, status(404))(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.scheme, self.name = "http", "127.0.0.1"
        if authority:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme, self.name = "https", "localhost"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"{self.name}:{self.server.server_address[1]}"

    def url(self, path: str) -> str:
        return f"{self.scheme}://{self.host}{path}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


def body(data: bytes, length: int | None = None) -> Answer:
    """An answer that promises `length` bytes and sends `data`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()
    found.answers["/root.tar.gz"] = body(TARBALL)
    yield found
    found.stop()


def refused(command: Rootless, *args: str) -> str:
    failed = command("import", *args, check=False)
    assert failed.returncode == 125
    assert command.out("images", "-q") == ""
    assert list((command.root / "tmp").iterdir()) == []
    return failed.stderr


def test_a_tarball_is_imported_as_it_streams(fresh: Rootless, web: Web) -> None:
    image_id = fresh.out("import", "-q", "--change", "CMD x", web.url("/root.tar.gz"), "me/web:1")
    found = fresh.inspect_image("me/web:1")
    assert f"sha256:{found['Id']}" == image_id
    assert found["Comment"] == f"Imported from {web.url('/root.tar.gz')}"
    assert (fresh.root / "layers" / found["RootFS"]["Layers"][0][7:] / "diff/etc/motd").read_text() == "hello\n"
    assert fresh.out("import", "-q", "-m", "mine", web.url("/root.tar.gz"), "me/web:2")
    assert fresh.inspect_image("me/web:2")["Comment"] == "mine"


def test_redirects_are_followed_ten_times_and_take_no_password_along(fresh: Rootless, web: Web) -> None:
    other = Web()
    other.answers["/root.tar.gz"] = body(TARBALL)
    web.answers["/moved"] = status(302, Location="/again")
    web.answers["/again"] = status(307, Location=other.url("/root.tar.gz"))
    web.answers["/round"] = status(301, Location="/round")
    url = web.url("/moved").replace("//", "//user:s%40cret@")
    try:
        told = fresh("--log-level", "debug", "import", "-q", url, "me/web:1").stderr
    finally:
        other.stop()
    authorization = "Basic " + base64.b64encode(b"user:s@cret").decode()
    assert web.asked == [("/moved", authorization), ("/again", authorization)]
    assert other.asked == [("/root.tar.gz", None)]
    assert "cret" not in told + fresh("history", "--no-trunc", "me/web:1").stdout
    fresh("rmi", "-a", "-f")
    assert "more than 10 redirects" in refused(fresh, web.url("/round"))
    assert len(web.asked) < 20
    web.answers["/file"] = status(302, Location="file:///etc/passwd")
    assert "not followed" in refused(fresh, web.url("/file"))


def test_what_is_not_a_whole_tarball_leaves_nothing(fresh: Rootless, web: Web) -> None:
    web.answers["/cut"] = body(TARBALL[:200], len(TARBALL))
    web.answers["/page"] = body(b"<html>not a tar</html>" * 100)
    web.answers["/empty"] = body(b"")
    web.answers["/locked"] = status(401)
    assert "cut" in refused(fresh, web.url("/cut"))
    assert "not a tar archive" in refused(fresh, web.url("/page"))
    assert "nothing in it" in refused(fresh, web.url("/empty"))
    assert "there is no such file" in refused(fresh, web.url("/nothing"))
    assert "https://USER:PASSWORD@HOST" in refused(fresh, web.url("/locked"))
    assert "connection refused" in refused(fresh, "http://127.0.0.1:1/x.tar")
    assert "names no host" in refused(fresh, "http:///x.tar")


def test_certificates_are_checked_and_https_is_not_left(fresh: Rootless, web: Web, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    secure = Web(authority)
    secure.answers["/root.tar.gz"] = body(TARBALL)
    secure.answers["/down"] = status(302, Location=web.url("/root.tar.gz"))
    trusting = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    try:
        said = refused(fresh, secure.url("/root.tar.gz"))
        assert "certificate is not trusted" in said
        assert "tls-verify" not in said
        failed = fresh("import", secure.url("/down"), check=False, env=trusting)
        assert "not followed" in failed.stderr
        assert fresh.out("import", "-q", secure.url("/root.tar.gz"), env=trusting) == fresh.out(
            "images", "-q", "--no-trunc"
        )
    finally:
        secure.stop()


def test_the_proxy_of_the_environment_is_used(fresh: Rootless, web: Web) -> None:
    web.answers["http://files.invalid/root.tar"] = body(TARBALL)
    done = functools.partial(fresh, "import", "-q", "http://files.invalid/root.tar")
    assert done(check=False).returncode == 125
    assert done(env={"http_proxy": web.url("")}).returncode == 0
