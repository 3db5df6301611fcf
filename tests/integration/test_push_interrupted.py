"""Pushing over bad lines, to registries with passwords, tokens and certificates, and killed in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trustme

from storage.documents.manifests import DOCKER_MANIFEST, OCI_MANIFEST
from tests.conftest import need
from tests.support.command import Rootless, wait_until
from tests.support.faulty import Faulty, Request, answer, hang_up, send, swallow
from tests.support.layers import PackedImage
from tests.support.pulling import OPEN, big, faulty, registry, small, stored
from tests.support.registry import PASSWORD, USER, Registry, start_registry
from tests.support.tokens import TokenService

__all__ = ["faulty", "registry"]

Action = Callable[[BaseHTTPRequestHandler, Request], None]
QUICK = ("--retry", "3", "--retry-delay", "10ms")
UPLOADS = r"/blobs/uploads/"


def pulled(command: Rootless, registry: Registry, image: PackedImage, name: str) -> str:
    reference = registry.push(name, image)
    command("pull", "-q", OPEN, reference)
    return reference


def arrived(registry: Registry, repository: str, image: PackedImage, tag: str = "1") -> None:
    """All of the image is in the repository, byte for byte."""
    accept = {"Accept": image.manifest.media_type}
    assert registry.request("GET", f"/v2/{repository}/manifests/{tag}", headers=accept).data == image.manifest.data
    for blob in (image.config, *image.layers):
        assert registry.request("GET", f"/v2/{repository}/blobs/{blob.digest}").data == blob.data


def test_a_cut_upload_arrives_whole(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = big(21)
    name = pulled(fresh, registry, image, "cut/source")
    faulty.rule(UPLOADS, swallow(faulty, 1 << 20), method="PATCH", reads=False)
    fresh("push", OPEN, *QUICK, name, f"{faulty.host}/cut/app:1")
    arrived(registry, "cut/app", image)
    assert faulty.paths(UPLOADS, "GET"), "it has asked how much arrived"


def test_an_upload_goes_on_where_it_was_cut(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    """docker-registry forgets an upload whose state the client does not know, so the proxy keeps the bytes itself."""
    image = big(22)
    name = pulled(fresh, registry, image, "resume/source")
    kept: dict[str, bytearray] = {}

    def begin(handler, request: Request) -> None:  # type: ignore[no-untyped-def]
        kept.setdefault("u", bytearray())
        send(handler, 202, b"", {"location": "uploads/u?state=1", "range": "0-0"})

    def cut_patch(handler, request: Request) -> None:  # type: ignore[no-untyped-def]
        kept["u"] += handler.rfile.read(1 << 20)
        hang_up(handler, request)

    def status(handler, request: Request) -> None:  # type: ignore[no-untyped-def]
        send(handler, 204, b"", {"location": f"http://{faulty.host}/up/u?state=2", "range": f"0-{len(kept['u']) - 1}"})

    def patch(handler, request: Request) -> None:  # type: ignore[no-untyped-def]
        assert request.headers["content-range"] == f"{len(kept['u'])}-{len(image.layers[0].data) - 1}"
        kept["u"] += request.body
        send(handler, 202, b"", {"location": "/up/u?state=3", "range": f"0-{len(kept['u']) - 1}"})

    def close(handler, request: Request) -> None:  # type: ignore[no-untyped-def]
        assert parse_qs(request.path.partition("?")[2]) == {"state": ["3"], "digest": [image.layers[0].digest]}
        send(handler, 201, b"")

    registry.push_blob("resume/app", image.config)  # its blob is not what this is about
    faulty.rule(r"uploads/$", begin, method="POST")
    faulty.rule(r"/v2/resume/app/blobs/uploads/uploads/u\?state=1", cut_patch, method="PATCH", reads=False)
    faulty.rule(r"/v2/resume/app/blobs/uploads/uploads/u\?state=1", status, method="GET")
    faulty.rule(r"^/up/u\?state=2", patch, method="PATCH")
    faulty.rule(r"^/up/u\?state=3", close, method="PUT")
    faulty.rule(r"/manifests/", answer(201), method="PUT")
    fresh("push", OPEN, *QUICK, name, f"{faulty.host}/resume/app:1")
    assert bytes(kept["u"]) == image.layers[0].data
    assert not [rule for rule in faulty.rules if rule.times], "each was needed"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_registry_is_tried_again(
    fresh: Rootless, registry: Registry, faulty: Faulty, status: int
) -> None:
    image = small(status)
    name = pulled(fresh, registry, image, f"busy/source-{status}")
    for method in ("HEAD", "POST", "PUT"):
        faulty.rule(r"/blobs/", answer(status, retry_after="0"), method=method)
    faulty.rule(r"/manifests/", answer(status, retry_after="0"), method="PUT")
    fresh("push", OPEN, *QUICK, name, f"{faulty.host}/busy/app-{status}:1")
    arrived(registry, f"busy/app-{status}", image)
    assert not [rule for rule in faulty.rules if rule.times]


def test_it_gives_up_where_nothing_helps(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    name = pulled(fresh, registry, big(24), "hopeless/source")
    faulty.rule(UPLOADS, hang_up, -1, method="PATCH")
    failed = fresh("push", OPEN, "--retry", "2", "--retry-delay", "10ms", name, f"{faulty.host}/no/app:1", check=False)
    assert failed.returncode == 125
    assert "connection was cut" in failed.stderr
    assert "tried 3 times" in failed.stderr
    assert len(faulty.paths(UPLOADS, "PATCH")) == 3
    assert not faulty.paths(r"/manifests/", "PUT")
    assert not stored(fresh)["tmp"]


def test_a_confirmation_that_is_lost_is_found_out(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = big(25)
    name = pulled(fresh, registry, image, "lost/source")

    def unheard(handler, request) -> None:  # type: ignore[no-untyped-def]
        faulty.fetch(request)
        hang_up(handler, request)

    faulty.rule(UPLOADS, unheard, method="PUT")
    faulty.rule(UPLOADS, unheard, method="PUT")
    fresh("push", OPEN, *QUICK, name, f"{faulty.host}/lost/app:1")
    arrived(registry, "lost/app", image)
    assert len(faulty.paths(UPLOADS, "PATCH")) == 1, "nothing was sent again"


def test_content_that_was_changed_on_its_way_is_not_taken(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    name = pulled(fresh, registry, big(26), "changed/source")

    def change(handler, request) -> None:  # type: ignore[no-untyped-def]
        request.body = b"x" + request.body[1:]
        found = faulty.fetch(request)
        send(handler, found.status, found.data, dict(found.headers))

    faulty.rule(UPLOADS, change, -1, method="PATCH")
    failed = fresh("push", OPEN, *QUICK, name, f"{faulty.host}/changed/app:1", check=False)
    assert failed.returncode == 125
    assert "digest" in failed.stderr
    assert not faulty.paths(r"/manifests/", "PUT")


def test_what_is_too_large_is_said(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    name = pulled(fresh, registry, big(27), "large/source")
    faulty.rule(UPLOADS, answer(413), method="PATCH")
    failed = fresh("push", OPEN, name, f"{faulty.host}/large/app:1", check=False)
    assert failed.returncode == 125
    assert "too large" in failed.stderr


def test_a_refused_manifest_is_explained(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    name = pulled(fresh, registry, small(28), "refused/source")
    body = b'{"errors": [{"code": "MANIFEST_INVALID", "message": "manifest invalid"}]}'
    faulty.rule(r"/manifests/", answer(400, body), method="PUT")
    failed = fresh("push", OPEN, name, f"{faulty.host}/refused/app:1", check=False)
    assert failed.returncode == 125
    assert "manifest invalid" in failed.stderr
    assert "--format v2s2" in failed.stderr


@pytest.mark.parametrize(
    "method, pattern, lie, told",
    [
        ("POST", UPLOADS, answer(202), "there is no Location"),
        ("POST", UPLOADS, answer(202, location="file:///etc/passwd"), "it sends us to 'file:///etc/passwd'"),
        ("POST", UPLOADS, answer(202, location="//["), "it sends us to '//['"),
        ("POST", UPLOADS, answer(302, location="/v2/elsewhere"), "which loses the body"),
        ("POST", UPLOADS, answer(200), "HTTP status 200"),
        ("PATCH", UPLOADS, answer(202, location="/x", range="0-0"), "kept nothing of what was sent"),
        ("PATCH", UPLOADS, answer(202, location="/x", range="bytes 9-1"), "kept nothing of what was sent"),
        ("PATCH", UPLOADS, answer(202, location="/v2/x/y", range="0-99999999999999"), "HTTP status 404"),
        ("PUT", "/manifests/", answer(201, docker_content_digest="sha256:" + "0" * 64), "it has stored sha256:00"),
        ("HEAD", "/blobs/", answer(204), "HTTP status 204"),
    ],
)
def test_answers_that_make_no_sense_end_the_push(
    fresh: Rootless, registry: Registry, faulty: Faulty, method: str, pattern: str, lie: Action, told: str
) -> None:
    image = big(30)
    name = pulled(fresh, registry, image, "lies/source")
    target = f"lies/{method.lower()}-{len(told)}"
    registry.push_blob(target, image.config)
    faulty.rule(pattern, lie, -1, method=method)
    failed = fresh("push", OPEN, "--retry", "1", "--retry-delay", "1ms", name, f"{faulty.host}/{target}:1", check=False)
    assert failed.returncode == 125
    assert told in failed.stderr
    assert "internal" not in failed.stderr


def test_credentials_do_not_follow_an_upload_to_another_host(
    fresh: Rootless, registry: Registry, faulty: Faulty
) -> None:
    image = small(29)
    name = pulled(fresh, registry, image, "elsewhere/source")
    other = Faulty(registry.base)
    try:
        other.rule(r"/bucket", answer(201), -1, method="PUT")
        faulty.rule(r"^/v2/elsewhere", answer(401, www_authenticate='Basic realm="x"'))
        faulty.rule(r"uploads/$", answer(202, location=f"http://{other.host}/bucket?key=1"), -1, method="POST")
        faulty.rule(r"/manifests/", answer(201), method="PUT")
        fresh("push", OPEN, "--creds", f"{USER}:{PASSWORD}", name, f"{faulty.host}/elsewhere/app:1")
        assert len(other.requests) == 1 + len(image.layers)
        assert not [request for request in other.requests if "authorization" in request.headers]
        assert [request for request in faulty.requests if "authorization" in request.headers]
    finally:
        other.stop()


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenService]:
    service = TokenService(tmp_path / "tokens", anonymous=("public/app",))
    yield service
    service.stop()


@pytest.fixture
def by_token(tmp_path: Path, tokens: TokenService) -> Iterator[Registry]:
    """A registry that sends everybody to `tokens`."""
    need("docker-registry")
    found = start_registry(tmp_path / "registry", token=tokens.configuration)
    found.headers = {"Authorization": "Bearer " + tokens.sign("source/app", ["pull", "push"])}
    yield found
    found.stop()


CREDS = ("--creds", f"{USER}:{PASSWORD}")


def test_a_token_is_for_pushing_and_for_the_source(fresh: Rootless, by_token: Registry, tokens: TokenService) -> None:
    name = by_token.push("source/app", big(31))
    fresh("pull", "-q", OPEN, *CREDS, name)
    tokens.requests.clear()
    fresh("push", OPEN, *CREDS, name, f"{by_token.host}/target/app:1")
    scopes = parse_qs(tokens.requests[0][0])["scope"]
    assert scopes == ["repository:target/app:pull,push", "repository:source/app:pull"]
    mounts = [line for line in by_token.lines("POST") if "from=source" in line]
    assert mounts
    assert mounts[0].endswith(" 201")


def test_a_token_service_that_knows_one_repository_at_a_time(
    fresh: Rootless, by_token: Registry, tokens: TokenService
) -> None:
    image = big(32)
    name = by_token.push("source/app", image)
    fresh("pull", "-q", OPEN, *CREDS, name)
    tokens.single = True
    fresh("push", OPEN, *CREDS, name, f"{by_token.host}/target/app:1")
    by_token.headers = {"Authorization": "Bearer " + tokens.sign("target/app", ["pull"])}
    arrived(by_token, "target/app", image)


def test_a_token_that_ends_in_the_middle_is_renewed(
    fresh: Rootless, by_token: Registry, tokens: TokenService, tmp_path: Path
) -> None:
    image = big(33, 3)
    name = by_token.push("source/app", image)
    fresh("pull", "-q", OPEN, *CREDS, name)
    refused = answer(401, www_authenticate=f'Bearer realm="{tokens.realm}",service="test-registry"')
    proxy = Faulty(by_token.base)
    try:
        for method in ("PATCH", "PUT", "POST"):
            proxy.rule(UPLOADS, refused, method=method)
        fresh("push", OPEN, *CREDS, name, f"{proxy.host}/target/app:1")
        assert not [rule for rule in proxy.rules if rule.times]
    finally:
        proxy.stop()
    by_token.headers = {"Authorization": "Bearer " + tokens.sign("target/app", ["pull"])}
    arrived(by_token, "target/app", image)


def test_who_may_only_pull_is_told(fresh: Rootless, by_token: Registry, tokens: TokenService) -> None:
    by_token.headers = {"Authorization": "Bearer " + tokens.sign("public/app", ["pull", "push"])}
    name = by_token.push("public/app", small(34))
    fresh("pull", "-q", OPEN, name)
    fresh("tag", name, f"{by_token.host}/public/app:new")
    # the blobs are there, and the manifest is not let in
    failed = fresh("push", OPEN, f"{by_token.host}/public/app:new", check=False)
    assert failed.returncode == 125
    assert "access denied" in failed.stderr
    assert f"rootless login {by_token.host}" in failed.stderr


def test_tls_and_a_password(fresh: Rootless, tmp_path: Path) -> None:
    need("docker-registry")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    place = tmp_path / "registry"
    place.mkdir()
    leaf.private_key_pem.write_to_path(str(place / "key.pem"))
    for pem in leaf.cert_chain_pems:
        pem.write_to_path(str(place / "cert.pem"), append=True)
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    authority.cert_pem.write_to_path(str(certificates / "ca.crt"))
    found = start_registry(
        place, passwords=True, tls=(place / "cert.pem", place / "key.pem", str(certificates / "ca.crt"))
    )
    try:
        image = small(35)
        name = found.push("team/app", image)
        trusted = ("--cert-dir", str(certificates))
        fresh("pull", "-q", *trusted, *CREDS, name)
        for words, told in (
            (CREDS, "certificate is not trusted"),
            (trusted, "access denied"),
            ((*trusted, "--creds", f"{USER}:wrong"), "access denied"),
            (("--cert-dir", str(tmp_path / "none"), *CREDS), "no such folder"),
        ):
            failed = fresh("push", *words, name, f"{found.host}/team/new:1", check=False)
            assert failed.returncode == 125
            assert told in failed.stderr
            assert PASSWORD not in failed.stderr
        fresh("push", *trusted, *CREDS, name, f"{found.host}/team/new:1")
        arrived(found, "team/new", image)
    finally:
        found.stop()


def test_killed_in_the_middle_it_leaves_a_store_that_goes_on(
    fresh: Rootless, registry: Registry, faulty: Faulty, busybox: Path
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    begun: list[float] = []

    def hold(handler, request) -> None:  # type: ignore[no-untyped-def]
        begun.append(time.monotonic())
        wait_until(lambda: process.poll() is not None, 30)

    faulty.rule(UPLOADS, hold, -1, method="PATCH")
    process = fresh.popen("push", OPEN, "busybox", f"{faulty.host}/killed/app:1")
    try:
        wait_until(lambda: begun, 30, "the upload")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    faulty.rules.clear()
    fresh("push", OPEN, "busybox", f"{faulty.host}/killed/app:1")
    assert len(stored(fresh)["blobs"]) == 1
    fresh("rmi", "-a", "-f")
    assert not os.listdir(fresh.root / "leases")
    assert stored(fresh) == {"layers": [], "blobs": [], "tmp": []}


@pytest.mark.parametrize("step", ["blob-packed", "blob-kept", "push-sent", "push-stored"])
def test_killed_at_any_step_the_next_push_is_the_same(
    fresh: Rootless, registry: Registry, busybox: Path, tmp_path: Path, step: str
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    words = ("push", OPEN, "--digestfile", str(tmp_path / "digest"), "busybox", f"{registry.host}/died/{step}:1")
    died = fresh(*words, env={"ROOTLESS_TEST_DIE_AT": step}, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "digest").exists()
    fresh(*words)
    data = registry.request("GET", f"/v2/died/{step}/manifests/1", headers={"Accept": DOCKER_MANIFEST}).data
    assert (tmp_path / "digest").read_text() == "sha256:" + hashlib.sha256(data).hexdigest()
    assert len(stored(fresh)["blobs"]) == 1
    fresh("rmi", "-a", "-f")
    assert stored(fresh) == {"layers": [], "blobs": [], "tmp": []}


def test_passwords_and_tokens_are_not_told(
    fresh: Rootless, registry: Registry, tokens: TokenService, by_token: Registry
) -> None:
    name = by_token.push("source/app", small(36))
    fresh("pull", "-q", OPEN, *CREDS, name)
    done = fresh("--log-level", "debug", "push", OPEN, *CREDS, name, f"{by_token.host}/target/app:1")
    assert "PUT http" in done.stderr
    assert PASSWORD not in done.stderr
    assert "eyJ" not in done.stderr


def test_skopeo_sees_the_digest_that_was_pulled(fresh: Rootless, registry: Registry) -> None:
    need("skopeo")
    image = big(37, 2)
    name = pulled(fresh, registry, image, "round/source")
    fresh("push", OPEN, name, f"{registry.host}/round/trip:1")
    shown = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/round/trip:1"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert json.loads(shown.stdout)["mediaType"] == OCI_MANIFEST
    assert shown.stdout == image.manifest.data
