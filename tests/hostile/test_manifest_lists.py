"""Registries whose indexes lie or attack, asked for manifest lists. Nothing is listed, the store works on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from storage.documents.manifests import OCI_INDEX, OCI_MANIFEST
from tests.support.command import Rootless
from tests.support.faulty import Faulty, alter, answer
from tests.support.layers import PackedImage, index_of, make_image, tar_of
from tests.support.pulling import OPEN, faulty, registry, stored
from tests.support.registry import Registry

__all__ = ["faulty", "registry"]

DIGEST = "sha256:" + "a" * 64


def entry(**more: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "size": 7, "digest": DIGEST, "platform": {"os": "linux"}, **more}


def index(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **more}).encode()


NO_INDEX = [
    b"",
    b"<html>",
    b"[]",
    b'{"manifests": 1}',
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    index("x"),
    index(entry(digest="sha256:../../../etc/passwd")),
    index(entry(digest=DIGEST.upper())),
    index(entry(size=-1)),
    index(entry(size=1 << 60)),
    index(entry(size="1")),
    index(entry(platform=[])),
    index(entry(platform={"os": {"a": 1}})),
    index(entry(platform={"os.features": {"a": 1}})),
    index(entry(annotations={"a": ["b"]})),
    index(entry(), layers=[], config={}),
    b" " * ((4 << 20) + 1),
]


def test_what_is_no_index_is_refused(fresh: Rootless, faulty: Faulty) -> None:
    fresh("manifest", "create", "app")
    for body in NO_INDEX:
        faulty.rules.clear()
        faulty.rule("manifests/", answer(200, body, **{"Content-Type": OCI_INDEX}), times=-1)
        failed = fresh("manifest", "add", OPEN, "--all", "app", f"docker://{faulty.host}/bad/app:1", check=False)
        assert failed.returncode == 125, body[:200]
        assert failed.stderr.startswith("Error: adding to a manifest list"), body[:200]
        assert "internal error" not in failed.stderr, body[:200]
    assert json.loads(fresh.out("manifest", "inspect", "app"))["manifests"] == []


def test_json_nested_deeply_is_not_printed(fresh: Rootless, faulty: Faulty) -> None:
    for depth in (300, 450, 600, 900, 100_000):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        body = index(entry())[:-1] + b', "annotations": {"deep": ' + nested + b"}}"
        faulty.rule("manifests/", answer(200, body, **{"Content-Type": OCI_INDEX}))
        done = fresh("manifest", "inspect", OPEN, f"docker://{faulty.host}/bad/app:1", check=False)
        assert done.returncode == 0 or (done.returncode == 125 and "nested too deeply" in done.stderr), depth
        assert "internal error" not in done.stderr


@pytest.fixture
def image(registry: Registry) -> PackedImage:
    found = make_image([tar_of({"etc/motd": b"hello\n" * 1000})])
    registry.push("far/app", found)
    packed = index_of({"linux/amd64": found.manifest})
    registry.push_manifest("far/app", "list", packed.data, packed.media_type)
    return found


def test_what_changes_on_its_way_from_registry_to_registry_is_refused(
    fresh: Rootless, registry: Registry, faulty: Faulty, image: PackedImage
) -> None:
    fresh("manifest", "create", OPEN, "--all", "app", f"{faulty.host}/far/app:list")
    target = f"{registry.host}/near/app:1"
    for place, said in ((image.manifest.digest, "it was asked for"), (image.layers[0].digest, "sha256")):
        faulty.rules.clear()
        faulty.rule(place, alter(faulty, lambda data: bytes([data[0] ^ 1]) + data[1:]), times=-1)
        failed = fresh("manifest", "push", "-q", OPEN, "app", target, check=False)
        assert failed.returncode == 125
        assert said in failed.stderr
        assert "internal error" not in failed.stderr
        assert fresh("pull", "-q", OPEN, target, check=False).returncode == 125
    faulty.rules.clear()
    fresh("manifest", "push", "-q", OPEN, "app", target)
    assert stored(fresh)["blobs"] == []


def test_a_manifest_that_names_no_blobs_is_not_copied(
    fresh: Rootless, registry: Registry, faulty: Faulty, image: PackedImage
) -> None:
    for body in (b"[]", b'{"layers": [1]}', b'{"config": {"digest": "sha256:x", "size": 1}}', index(entry())):
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        faulty.rules.clear()
        listing = index(entry(digest=digest, size=len(body), platform={"os": "linux", "architecture": "amd64"}))
        faulty.rule("manifests/list", answer(200, listing, **{"Content-Type": OCI_INDEX}), times=-1)
        faulty.rule(f"manifests/{digest}", answer(200, body, **{"Content-Type": OCI_MANIFEST}), times=-1)
        fresh("manifest", "create", OPEN, "--all", "app", f"{faulty.host}/far/app:list")
        failed = fresh("manifest", "push", "-q", OPEN, "app", f"{registry.host}/near/never:1", check=False)
        assert failed.returncode == 125
        assert "copying" in failed.stderr
        assert "internal error" not in failed.stderr
        fresh("manifest", "rm", "app")
