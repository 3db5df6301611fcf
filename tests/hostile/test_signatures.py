"""Signatures that were changed on their way, or were never any."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.faulty import Faulty, alter
from tests.support.layers import Packed, tar_of
from tests.support.pulling import OPEN, faulty, registry, small, stored
from tests.support.signing import push_signatures
from tests.support.trusting import KEY, Place, by, place, sigstore

__all__ = ["faulty", "place", "registry"]


@pytest.mark.parametrize("what", ["manifest", "payload", "signatures"])
def test_what_was_changed_on_the_way_is_refused(place: Place, faulty: Faulty, what: str) -> None:
    image = small({"manifest": 2005, "payload": 2006, "signatures": 2007}[what], layers=1)
    repository = f"changed/{what}"
    place.registry.push(repository, image, "1")
    name = f"{faulty.host}/{repository}:1"
    signed = by(KEY, image.manifest.digest, name)
    push_signatures(place.registry, repository, image.manifest.digest, [signed])
    place.registry.host, kept = faulty.host, place.registry.host
    place.configure(sigstore(place))
    place.registry.host = kept
    assert place.ours(name) == ""
    if what == "manifest":
        faulty.rule("/manifests/1$", alter(faulty, lambda data: data + b" "), times=-1)
    elif what == "payload":
        blob = Packed(signed[0], "")
        faulty.rule(blob.digest, alter(faulty, lambda data: data.replace(b"sha256:", b"sha256;")), times=-1)
    else:
        faulty.rule(r"\.sig$", alter(faulty, lambda data: b"<html>"), times=-1)
    said = place.ours(name)
    assert {"manifest": "there is none", "payload": "sent another one", "signatures": "not JSON"}[what] in said


ODD: dict[str, Callable[[dict[str, Any]], object]] = {
    "annotations": lambda found: found["layers"][0].update(annotations=[1]),
    "a number for a signature": lambda found: found["layers"][0].update(
        annotations={"dev.cosignproject.cosign/signature": 1}
    ),
    "another type": lambda found: found["layers"][0].update(mediaType="application/json"),
    "a huge payload": lambda found: found["layers"][0].update(size=1 << 40),
    "no size": lambda found: found["layers"][0].pop("size"),
    "a wrong size": lambda found: found["layers"][0].update(size=3),
    "no digest": lambda found: found["layers"][0].update(digest="sha256:../../x"),
    "very many": lambda found: found.update(layers=found["layers"] * 129),
    "no layers": lambda found: found.update(layers=None),
    "no manifest": lambda found: found.update(mediaType="application/vnd.oci.image.index.v1+json"),
}


@pytest.mark.parametrize("case", ODD)
def test_signature_manifests_that_are_odd_are_refused(place: Place, faulty: Faulty, case: str) -> None:
    image = small(2050, layers=1)
    place.registry.push("odd/app", image, "1")
    name = f"{faulty.host}/odd/app:1"
    push_signatures(place.registry, "odd/app", image.manifest.digest, [by(KEY, image.manifest.digest, name)])

    def change(data: bytes) -> bytes:
        found = json.loads(data)
        ODD[case](found)
        return json.dumps(found).encode()

    faulty.rule(r"\.sig$", alter(faulty, change), times=-1)
    place.registry.host, kept = faulty.host, place.registry.host
    place.configure(sigstore(place))
    place.registry.host = kept
    assert "Error: pulling " in place.ours(name)
    faulty.rules.clear()
    assert place.ours(name) == ""


def test_nothing_unsigned_is_copied_from_registry_to_registry(place: Place) -> None:
    rl = place.fresh
    image = small(2060, layers=1)
    place.registry.push("unsigned/app", image, "1")
    place.configure(sigstore(place))
    name = f"{place.registry.host}/unsigned/app"
    rl("manifest", "create", "list")
    rl("manifest", "add", OPEN, "list", f"docker://{name}:1")
    push = ("manifest", "push", "-q", OPEN, "list", f"{place.registry.host}/copied/app:1")
    refused = rl(*push, check=False)
    assert refused.returncode == 125
    assert "wants a signature (sigstoreSigned), and there is none" in refused.stderr
    assert "copied/app" not in json.loads(place.registry.request("GET", "/v2/_catalog").data)["repositories"]
    signed = by(KEY, image.manifest.digest, f"{name}:1")
    push_signatures(place.registry, "unsigned/app", image.manifest.digest, [signed])
    rl(*push)


def test_what_the_policy_rejects_is_not_listed_and_no_tarball_is_imported(place: Place) -> None:
    rl = place.fresh
    image = small(2061, layers=1)
    place.registry.push("rejected/app", image, "1")
    place.configure({"type": "reject"})
    rl("manifest", "create", "list")
    refused = rl("manifest", "add", OPEN, "list", f"docker://{place.registry.host}/rejected/app:1", check=False)
    assert (refused.returncode, "refused by" in refused.stderr) == (125, True)
    tarball = place.file("files.tar", tar_of({"etc/motd": b"hello"}))
    refused = rl("import", "-q", tarball, "imported", check=False)
    assert (refused.returncode, "importing" in refused.stderr) == (125, True)
    assert stored(rl)["layers"] == []
    policy = json.loads((place.containers / "policy.json").read_text())
    policy["transports"]["tarball"] = {"": [{"type": "insecureAcceptAnything"}]}
    (place.containers / "policy.json").write_text(json.dumps(policy))
    rl("import", "-q", tarball, "imported")
