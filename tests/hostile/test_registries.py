"""Registries and networks that fail, lie or attack. After each, the store holds nothing new and works."""

from __future__ import annotations

import json
import re
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rootless.errors import RegistryError, RootlessError
from storage.documents.manifests import OCI_INDEX, OCI_MANIFEST
from storage.registry import client, http
from storage.registry.patience import Patience
from storage.remote.pull import pull
from storage.store import Store
from tests.conftest import remove_store
from tests.support.command import Rootless
from tests.support.faulty import Faulty, alter, answer, cut, dribble, redirect, send
from tests.support.layers import Packed, PackedImage, index_of, make_image, manifest_of, random_bytes, tar_of
from tests.support.pulling import faulty, registry, stored
from tests.support.registry import PASSWORD, USER, Registry, basic

__all__ = ["faulty", "registry"]

OPEN = "--tls-verify=false"
QUICK = "--retry-delay=1ms"


@pytest.fixture(scope="module")
def image(registry: Registry) -> PackedImage:
    found = make_image([tar_of({"random": random_bytes(1, 2 << 20)}), tar_of({"etc/motd": b"hello\n"})])
    registry.push("good/app", found)
    return found


def refused(command: Rootless, faulty: Faulty, *options: str, name: str = "good/app") -> str:
    """Pull what must fail; returns what was said. Nothing is left, and the store works on."""
    failed = command("pull", OPEN, QUICK, *options, f"{faulty.host}/{name}", check=False)
    assert failed.returncode == 125, failed.stdout
    assert "internal error" not in failed.stderr
    assert "Traceback" not in failed.stderr
    assert command.out("images", "-q") == ""
    left = stored(command)
    # a partial blob is what the next pull takes up
    assert [name for name in left["tmp"] if not name.endswith(".partial")] == []
    return failed.stderr


def flip(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def test_a_blob_with_wrong_bytes_is_refused_and_named(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    layer = image.layers[0]
    faulty.rule(layer.digest, alter(faulty, flip))
    said = refused(fresh, faulty)
    assert f"the layer {layer.digest} from {faulty.host} is refused" in said
    assert fresh.out("pull", "-q", OPEN, f"{faulty.host}/good/app") == image.id


def test_wrong_bytes_at_the_beginning_are_blamed_on_the_digest_too(
    fresh: Rootless, faulty: Faulty, image: PackedImage
) -> None:
    faulty.rule(image.layers[0].digest, alter(faulty, lambda data: b"garbage" + data[7:]))
    assert f"the layer {image.layers[0].digest} from {faulty.host} is refused" in refused(fresh, faulty)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"], ids=["shorter", "longer"])
def test_a_blob_of_another_length_than_the_manifest_says_is_refused(
    fresh: Rootless, faulty: Faulty, image: PackedImage, change: Callable[[bytes], bytes]
) -> None:
    faulty.rule(image.layers[0].digest, alter(faulty, change), times=-1)
    assert "in the manifest" in refused(fresh, faulty)


def test_a_configuration_with_wrong_bytes_is_refused(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    faulty.rule(image.config.digest, alter(faulty, lambda data: data.replace(b"linux", b"linuX")))
    assert "it has sent another one" in refused(fresh, faulty)


def test_a_manifest_that_is_not_the_digest_asked_for_is_refused(
    fresh: Rootless, faulty: Faulty, image: PackedImage
) -> None:
    other = make_image([tar_of({"evil": b"1"})])
    faulty.rule("/manifests/", answer(200, other.manifest.data, content_type=OCI_MANIFEST))
    said = refused(fresh, faulty, name=f"good/app@{image.manifest.digest}")
    assert f"was asked for {image.manifest.digest} and has sent {other.manifest.digest}" in said


def serve(faulty: Faulty, image: PackedImage, manifest: Packed | None = None) -> None:
    """Let the proxy itself have an image that no honest registry would take."""
    packed = manifest or image.manifest
    faulty.rule("/manifests/latest", answer(200, packed.data, content_type=packed.media_type), times=-1)
    for blob in (image.config, *image.layers):
        faulty.rule("/blobs/" + blob.digest, answer(200, blob.data), times=-1)


def test_a_layer_that_is_not_its_diff_id_is_refused_and_named(fresh: Rootless, faulty: Faulty) -> None:
    lying = make_image([tar_of({"a": b"1"})], diff_ids=["ab" * 32])
    serve(faulty, lying)
    said = refused(fresh, faulty)
    assert f"the layer sha256:{lying.layers[0].hex[:12]}" in said
    assert "abababab" in said
    assert lying.diff_ids[0][:12] in said
    assert stored(fresh)["layers"] == []


def test_a_manifest_with_more_layers_than_the_configuration_is_refused(fresh: Rootless, faulty: Faulty) -> None:
    image = make_image([tar_of({"a": b"1"})])
    serve(faulty, image, manifest_of(image.config, image.layers * 2))
    assert "the manifest has 2 layers, and the configuration 1" in refused(fresh, faulty)


def test_a_layer_that_is_no_archive_is_refused(fresh: Rootless, faulty: Faulty) -> None:
    honest = make_image([tar_of({"a": b"1"})])
    junk = Packed(random_bytes(3, 100_000), honest.layers[0].media_type)
    config = Packed(
        honest.config.data.replace(honest.diff_ids[0].encode(), junk.hex.encode()), honest.config.media_type
    )
    lying = PackedImage(manifest_of(config, (junk,)), config, (junk,), (junk.hex,))
    serve(faulty, lying)
    assert f"the layer sha256:{junk.hex[:12]}" in refused(fresh, faulty)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<!DOCTYPE html><html>Log in to the hotel's network</html>", "a web page, not a manifest"),
        (b"", "not JSON"),
        (b'{"schemaVersion": 2}', "config is missing"),
        (b"[" * 1_000_000, "not JSON"),
        (b" " * (5 << 20), "longer than 4194304 bytes"),
    ],
    ids=["html", "empty", "no config", "deep", "long"],
)
def test_what_is_no_manifest_is_refused(fresh: Rootless, faulty: Faulty, body: bytes, why: str) -> None:
    faulty.rule("/manifests/", answer(200, body, content_type="text/html"), times=-1)
    assert why in refused(fresh, faulty)


def test_an_endless_manifest_is_cut_off(fresh: Rootless, faulty: Faulty) -> None:
    sent = []

    def endless(handler: object, request: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.send_header("connection", "close")  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        while True:
            handler.wfile.write(b"x" * 65536)  # type: ignore[attr-defined]
            sent.append(65536)

    faulty.rule("/manifests/", endless)
    assert "longer than" in refused(fresh, faulty)
    assert sum(sent) < 64 << 20


def test_indexes_that_lead_to_indexes_come_to_an_end(fresh: Rootless, faulty: Faulty) -> None:
    platform = "linux/amd64"
    nested = Packed(b'{"schemaVersion": 2, "manifests": []}', OCI_INDEX)
    for _ in range(8):
        nested = index_of({platform: nested, "linux/arm64/v8": nested})
        faulty.rule(nested.digest, answer(200, nested.data, content_type=OCI_INDEX), times=-1)
    faulty.rule("/manifests/latest", answer(200, nested.data, content_type=OCI_INDEX), times=-1)
    assert "4 deep" in refused(fresh, faulty)
    assert len(faulty.paths("/manifests/")) <= 6


def test_overload_passes_when_the_server_says_when(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    faulty.rule("/manifests/", answer(429, b"{}", retry_after="1"))
    faulty.rule(image.layers[0].digest, answer(503, b"down"), times=2)
    faulty.rule(image.config.digest, answer(500, b"{}"))
    begun = time.monotonic()
    assert fresh.out("pull", "-q", OPEN, QUICK, f"{faulty.host}/good/app") == image.id
    assert time.monotonic() - begun > 1


def test_lasting_overload_ends_with_what_the_registry_says(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate\x1b[31m limit"}]}).encode()
    faulty.rule("/manifests/", answer(429, body), times=-1)
    said = refused(fresh, faulty, "--retry", "2")
    assert "the registry limits how much may be asked (pull rate [31m limit)" in said
    assert "\x1b" not in said
    assert len(faulty.paths("/manifests/")) == 3
    faulty.rules[0].action = answer(429, b"", retry_after="86400")
    assert "asks to wait 86400 s" in refused(fresh, faulty)


def test_a_server_that_always_cuts_is_given_up(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    faulty.rule(image.layers[0].digest, cut(faulty, 10), times=-1)
    assert "connection was cut in mid-answer (tried 4 times)" in refused(fresh, faulty)
    assert 3 <= len(faulty.paths(image.layers[0].digest)) <= 5
    faulty.rules.clear()
    assert fresh.out("pull", "-q", OPEN, f"{faulty.host}/good/app") == image.id


def test_redirects_in_circles_are_given_up(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    faulty.rule(image.layers[0].digest, redirect(""), times=-1)
    assert "around in circles" in refused(fresh, faulty)


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "http://", "http://[::1", "gopher://x/", "http://a..b/", "http://x:99999/", "http:// /"],
)
def test_redirects_to_nonsense_are_refused(fresh: Rootless, faulty: Faulty, image: PackedImage, target: str) -> None:
    faulty.rule(image.layers[0].digest, answer(307, location=target), times=-1)
    assert f"fetching sha256:{image.layers[0].hex[:12]} from {faulty.host}: " in refused(fresh, faulty)


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "https://", "http://[::1", "x", "https://a..b/t"])
def test_token_services_that_are_nonsense_are_refused(fresh: Rootless, faulty: Faulty, realm: str) -> None:
    faulty.rule("/manifests/", answer(401, b"{}", www_authenticate=f'Bearer realm="{realm}",service="s"'), times=-1)
    assert "Error: " in refused(fresh, faulty)


def test_credentials_do_not_follow_to_another_host(
    fresh: Rootless, registry: Registry, faulty: Faulty, image: PackedImage
) -> None:
    storage = Faulty(registry.base)
    # the foreign host asks for the password itself, too
    storage.rule(image.layers[1].digest, answer(401, b"{}", www_authenticate='Basic realm="give"'))
    faulty.rule("/manifests/", answer(401, b"{}", www_authenticate='Basic realm="x"'))
    for layer in image.layers:
        faulty.rule(layer.digest, redirect(f"http://{storage.host}"), times=-1)
    name = f"{faulty.host}/good/app"
    failed = fresh("pull", OPEN, QUICK, "--creds", f"{USER}:{PASSWORD}", name, check=False)
    assert failed.returncode == 125
    assert fresh.out("pull", "-q", OPEN, QUICK, "--creds", f"{USER}:{PASSWORD}", name)
    assert faulty.paths("/blobs/")[0].headers.get("authorization") == basic()
    assert len(storage.requests) >= 2
    assert not any("authorization" in request.headers for request in storage.requests)
    storage.stop()


def test_a_token_is_not_asked_for_over_http_unless_that_is_allowed(image: PackedImage) -> None:
    from storage.registry.authorization import Authorization
    from storage.settings.auth import Credentials

    attacker = Faulty("http://127.0.0.1:1")
    authorization = Authorization(http.Http(False), "reg.example", "a/b", Credentials("u", "p"), False)
    with pytest.raises(RegistryError, match="clear text"):
        authorization.renew(f'Bearer realm="http://{attacker.host}/token"', None)
    assert attacker.requests == []
    attacker.stop()


def test_an_answer_that_is_not_http_is_told(fresh: Rootless, faulty: Faulty) -> None:
    def babble(handler: object, request: object) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9\r\n")  # type: ignore[attr-defined]
        handler.close_connection = True  # type: ignore[attr-defined]

    faulty.rule("/manifests/", babble, times=-1)
    assert "not HTTP" in refused(fresh, faulty)


def test_a_full_disk_is_told_and_the_next_pull_goes_on(fresh: Rootless, faulty: Faulty, image: PackedImage) -> None:
    failed = fresh(
        "pull",
        OPEN,
        f"{faulty.host}/good/app",
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert failed.returncode == 125
    assert "File too large" in failed.stderr
    assert "internal error" not in failed.stderr
    assert fresh.out("pull", "-q", OPEN, f"{faulty.host}/good/app") == image.id
    assert stored(fresh)["tmp"] == []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"), str(tmp_path / "run"))


def attempt(store: Store, faulty: Faulty) -> str:
    name = f"{faulty.host}/good/app"
    return pull(store, name, tls_verify=False, patience=Patience(1, 0.001))


def test_a_server_that_falls_silent_is_left(
    store: Store, faulty: Faulty, image: PackedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.5)
    silence = threading.Event()
    faulty.rule(image.layers[0].digest, lambda handler, request: silence.wait(20) and None, times=-1)  # type: ignore[arg-type]
    begun = time.monotonic()
    with pytest.raises(RegistryError, match="stopped answering"):
        attempt(store, faulty)
    assert time.monotonic() - begun < 10
    silence.set()
    remove_store(Path(store.root))


def test_a_server_that_dribbles_is_left(
    store: Store, faulty: Faulty, image: PackedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_SLOW_SECONDS", 0.3)
    faulty.rule(image.layers[0].digest, dribble(faulty, 0.02), times=-1)
    with pytest.raises(RegistryError, match="too slow"):
        attempt(store, faulty)
    remove_store(Path(store.root))


def test_a_manifest_that_dribbles_is_left(
    store: Store, faulty: Faulty, image: PackedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "DOCUMENT_SECONDS", 0.3)
    faulty.rule("/manifests/", dribble(faulty, 0.02), times=-1)
    with pytest.raises(RegistryError, match="too slow"):
        attempt(store, faulty)


def test_after_a_failure_in_one_layer_the_others_stop_at_once(store: Store, registry: Registry, faulty: Faulty) -> None:
    image = make_image([tar_of({"a": random_bytes(7, 3 << 20)}), tar_of({"b": random_bytes(8, 2 << 20)})])
    registry.push("good/app", image)
    faulty.rule(image.layers[0].digest, dribble(faulty, 0.2, 10_000), times=-1)
    faulty.rule(image.layers[1].digest, answer(404, b"{}"), times=-1)
    begun = time.monotonic()
    with pytest.raises(RootlessError, match="there is none"):
        attempt(store, faulty)
    assert time.monotonic() - begun < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pull-")]
    remove_store(Path(store.root))


def test_an_error_never_says_more_than_a_few_lines(fresh: Rootless, faulty: Faulty) -> None:
    long = json.dumps({"errors": [{"message": "x" * 50_000}]}).encode()

    def refuse(handler: object, request: object) -> None:
        send(handler, 403, long)  # type: ignore[arg-type]

    faulty.rule("/manifests/", refuse, times=-1)
    said = refused(fresh, faulty)
    assert len(said) < 1500
    assert re.search(r"\(x{200}\)", said)
