"""Real registries for tests: Debian's docker-registry, open, with passwords, with tokens, over TLS."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.support.layers import Packed, PackedImage

USER, PASSWORD = "alice", "secret"
_BCRYPT = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def basic(user: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass
class Registry:
    """A docker-registry that runs; `host` is what stands in references. `headers` are what its owner pushes with."""

    host: str
    base: str
    process: subprocess.Popen[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    ca: str | None = None
    log: Path | None = None

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(ca_certs=self.ca, retries=False)

    def request(self, method: str, path: str, **more: Any) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else self.base + path
        headers = {**self.headers, **more.pop("headers", {})}
        response = self._pool.request(method, url, headers=headers, **more)
        assert response.status < 400, f"{method} {url}: {response.status} {response.data[:300]!r}"
        return response

    def push_blob(self, repository: str, blob: Packed) -> None:
        upload = self.request("POST", f"/v2/{repository}/blobs/uploads/").headers["location"]
        separator = "&" if "?" in upload else "?"
        self.request(
            "PUT",
            f"{upload}{separator}digest={blob.digest}",
            body=blob.data,
            headers={"Content-Type": "application/octet-stream"},
        )

    def push_manifest(self, repository: str, tag: str, data: bytes, media_type: str) -> None:
        self.request("PUT", f"/v2/{repository}/manifests/{tag}", body=data, headers={"Content-Type": media_type})

    def push(self, repository: str, image: PackedImage, tag: str = "latest") -> str:
        """Push all of an image; returns what a user writes to pull it."""
        for blob in (image.config, *image.layers):
            self.push_blob(repository, blob)
        self.push_manifest(repository, tag, image.manifest.data, image.manifest.media_type)
        return f"{self.host}/{repository}:{tag}"

    def lines(self, method: str) -> list[str]:
        """The requests of a method that its access log tells of: "/v2/team/app/blobs/uploads/?mount=... 201"."""
        assert self.log is not None
        found = re.findall(r'"(\w+) (\S+) HTTP/1\.1" (\d+)', self.log.read_text(errors="replace"))
        return [f"{path} {status}" for used, path, status in found if used == method]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def start_registry(
    place: Path,
    *,
    passwords: bool = False,
    token: dict[str, str] | None = None,
    tls: tuple[Path, Path, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Registry:
    """Start one whose files lie in `place`. `token`: realm, service, issuer, rootcertbundle; `tls`: certificate, key,
    and the authority's file, for the name localhost."""
    place.mkdir(parents=True, exist_ok=True)
    port = free_port()
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}"}
    name, scheme = "127.0.0.1", "http"
    if tls:
        http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        name, scheme = "localhost", "https"
    auth: dict[str, Any] = {}
    if passwords:
        (place / "htpasswd").write_text(f"{USER}:{_BCRYPT}\n")
        auth = {"htpasswd": {"realm": "test", "path": str(place / "htpasswd")}}
        headers = {"Authorization": basic()}
    if token:
        auth = {"token": token}
    configuration = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(place / "data")}, "delete": {"enabled": True}},
        "http": http,
        **({"auth": auth} if auth else {}),
    }
    file = place / "config.yml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(file)],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
    _wait_for(port, process, place / "log")
    ca = tls[2] if tls else None
    return Registry(f"{name}:{port}", f"{scheme}://{name}:{port}", process, headers or {}, ca, place / "log")


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 15
    while True:
        assert process.poll() is None, f"docker-registry ended: {log.read_text()}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"docker-registry does not answer: {log.read_text()}"
            time.sleep(0.02)
