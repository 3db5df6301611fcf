"""Manifests, indexes, platforms and challenges as registries send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rootless.errors import ImageError, UsageError
from storage.documents.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    parse_manifest,
)
from storage.documents.platform_choice import choose, parse_platform, suits
from storage.platforms import Platform
from storage.registry.challenge import Challenge, parse_challenges

HEX = "ab" * 32
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def descriptor(
    media_type: str = LAYER + "+gzip", size: Any = 10, digest: Any = f"sha256:{HEX}", **more: Any
) -> dict[str, Any]:
    return {"mediaType": media_type, "size": size, "digest": digest, **more}


def manifest(*layers: dict[str, Any], config: Any = None, **more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "config": config or descriptor(CONFIG), "layers": list(layers), **more}


def index(*platforms: str | None, **more: Any) -> dict[str, Any]:
    entries = []
    for number, platform in enumerate(platforms):
        entry = descriptor(OCI_MANIFEST, digest=f"sha256:{number:064x}")
        if platform is not None:
            keys = zip(("os", "architecture", "variant"), platform.split("/"), strict=False)
            entry["platform"] = dict(keys)
        entries.append(entry)
    return {"schemaVersion": 2, "manifests": entries, **more}


def read(value: Any, content_type: str = "") -> Manifest | Index:
    return parse_manifest(json.dumps(value).encode(), content_type, "pulling x")


def test_oci_and_docker_manifests_are_read() -> None:
    found = read(manifest(descriptor(), descriptor(LAYER + "+zstd"), descriptor(LAYER)), OCI_MANIFEST)
    assert isinstance(found, Manifest)
    assert [layer.size for layer in found.layers] == [10, 10, 10]
    docker = manifest(
        descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip"),
        config=descriptor("application/vnd.docker.container.image.v1+json"),
        mediaType=DOCKER_MANIFEST,
    )
    assert read(docker, "application/json").media_type == DOCKER_MANIFEST


def test_the_kind_is_found_out_where_the_registry_does_not_say() -> None:
    assert read(manifest()).media_type == OCI_MANIFEST
    assert read(index("linux/amd64"), "text/plain; charset=utf-8").media_type == OCI_INDEX
    assert read(index("linux/amd64"), DOCKER_LIST).media_type == DOCKER_LIST


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "not a JSON object"),
        ({"schemaVersion": 1}, "schema 1"),
        ({}, "config is missing"),
        (manifest() | {"manifests": []}, "an index as well"),
        (manifest(mediaType=OCI_INDEX), "looks like something else"),
        (manifest(mediaType="application/vnd.x"), "not a kind of manifest"),
        (manifest(config=descriptor("application/vnd.cncf.helm.config.v1+json")), "artifact .*helm"),
        (manifest(descriptor("text/html")), "unknown kind"),
        (manifest(descriptor(LAYER + "+gzip+encrypted")), "encrypted"),
        (manifest(descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")), "not distributed"),
        (manifest(descriptor(size=-1)), "impossible size"),
        (manifest(descriptor(size=1 << 60)), "impossible size"),
        (manifest(descriptor(size=True)), "impossible size"),
        (manifest(descriptor(size="10")), "impossible size"),
        (manifest(descriptor(digest="sha256:abc")), "not a sha256 digest"),
        (manifest(descriptor(digest="sha256:../../../etc/passwd")), "not a sha256 digest"),
        (manifest(descriptor(digest="md5:" + "a" * 32)), "not a sha256 digest"),
        (manifest(descriptor(digest=None)), "not a sha256 digest"),
        (manifest(config=descriptor(CONFIG, size=1 << 30)), "configuration has"),
        (manifest(*[descriptor()] * 1001), "1001 layers"),
        ({"schemaVersion": 2, "config": descriptor(CONFIG), "layers": {}}, "not a list"),
        ({"schemaVersion": 2, "manifests": [1]}, "not a list of objects"),
        ({"schemaVersion": 2, "manifests": [descriptor(platform=[])]}, "platform in the index is malformed"),
        ({"schemaVersion": 2, "manifests": [descriptor(platform={"os": 1})]}, "platform in the index is malformed"),
    ],
)
def test_what_is_no_image_is_refused(value: Any, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        read(value)


@pytest.mark.parametrize("data", [b"<!doctype html><html>", b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="pulling x"):
        parse_manifest(data, "text/html", "pulling x")


def chosen(wanted: str, *platforms: str | None) -> int:
    platform = parse_platform(wanted)
    found = read(index(*platforms))
    assert platform is not None
    assert isinstance(found, Index)
    return int(choose(found, platform, "pulling x").descriptor.digest, 16)


@pytest.mark.parametrize(
    ("wanted", "platforms", "position"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/x86_64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/arm64", ["linux/amd64", "linux/arm64/v8"], 1),
        ("linux/arm64/v8", ["linux/amd64", "linux/arm64"], 1),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], 1),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64/v1"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/riscv64", ["unknown/unknown", "linux/riscv64"], 1),
        ("linux/amd64", [None], 0),
        ("arm64", ["linux/amd64", "linux/arm64"], 1),
        ("windows/amd64", ["linux/amd64", "windows/amd64"], 1),
    ],
)
def test_the_best_image_of_an_index_is_chosen(wanted: str, platforms: list[str | None], position: int) -> None:
    assert chosen(wanted, *platforms) == position


def test_when_nothing_fits_the_error_lists_what_there_is() -> None:
    with pytest.raises(ImageError, match="no image for linux/s390x, only for linux/amd64, linux/arm64/v8"):
        chosen("linux/s390x", "linux/arm64/v8", "linux/amd64", "unknown/unknown")
    with pytest.raises(ImageError, match="linux/amd64"):
        chosen("linux/amd64", "linux/amd64/v3")


def test_platform_options_are_read() -> None:
    assert parse_platform() is None
    assert parse_platform(None, None, "aarch64", None) == Platform("linux", "arm64", "v8")
    assert parse_platform("linux/arm/v6") == Platform("linux", "arm", "v6")
    for bad in ("", "a/b/c/d", "linux//v7"):
        with pytest.raises(UsageError):
            parse_platform(bad)
    with pytest.raises(UsageError, match="together"):
        parse_platform("linux/arm64", arch="arm64")
    assert suits(Platform("linux", "x86_64", ""), Platform("linux", "amd64", ""))
    assert not suits(Platform("linux", "arm64", "v8"), Platform("linux", "amd64", ""))


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a.b/token",service="s, t",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer", {"realm": "https://a.b/token", "service": "s, t", "scope": "repository:a/b:pull,push"}
                )
            ],
        ),
        ("Negotiate, Basic realm=plain", [Challenge("negotiate"), Challenge("basic", {"realm": "plain"})]),
        (
            'bearer  REALM = "a\\"b" , error="invalid_token"',
            [Challenge("bearer", {"realm": 'a"b', "error": "invalid_token"})],
        ),
        ("", []),
        (",,", []),
        ('Basic realm="unterminated', [Challenge("basic", {"realm": "unterminated"})]),
        ('"', []),
        ("=x", []),
    ],
)
def test_challenges_are_read(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges
