"""Sigstore signatures that policy.json asks for, with skopeo as the judge: both accept and refuse alike."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty import Faulty
from tests.support.layers import PackedImage, index_of, make_image, tar_of
from tests.support.pulling import OPEN, faulty, registry, small
from tests.support.signing import (
    encrypted_pem,
    new_key,
    payload_for,
    plain_pem,
    public_pem,
    push_signatures,
    signature_of,
)
from tests.support.trusting import KEY, OTHER, Place, by, judge, place, sigstore

__all__ = ["faulty", "place", "registry"]


Signed = Callable[[PackedImage, str], list[tuple[bytes, str]]]


OTHER_DIGEST = "sha256:" + "ab" * 32
SIGNATURES: dict[str, tuple[dict[str, Any], Signed, bool]] = {
    "right": ({}, lambda image, name: [by(KEY, image.manifest.digest, name)], True),
    "none": ({}, lambda image, name: [], False),
    "wrong key": ({}, lambda image, name: [by(OTHER, image.manifest.digest, name)], False),
    "one of three": (
        {},
        lambda image, name: [
            by(OTHER, image.manifest.digest, name),
            by(KEY, OTHER_DIGEST, name),
            by(KEY, image.manifest.digest, name),
        ],
        True,
    ),
    "another image": ({}, lambda image, name: [by(KEY, OTHER_DIGEST, name)], False),
    "another name": ({}, lambda image, name: [by(KEY, image.manifest.digest, "quay.io/a/b:1")], False),
    "another tag": ({}, lambda image, name: [by(KEY, image.manifest.digest, f"{name}2")], False),
    "no tag": ({}, lambda image, name: [by(KEY, image.manifest.digest, name.rpartition(":")[0])], False),
    "no tag, by repository": (
        {"signedIdentity": {"type": "matchRepository"}},
        lambda image, name: [by(KEY, image.manifest.digest, name.rpartition(":")[0])],
        True,
    ),
    "exact reference": (
        {"signedIdentity": {"type": "exactReference", "dockerReference": "quay.io/a/b:1"}},
        lambda image, name: [by(KEY, image.manifest.digest, "quay.io/a/b:1")],
        True,
    ),
    "exact repository": (
        {"signedIdentity": {"type": "exactRepository", "dockerRepository": "quay.io/a/c"}},
        lambda image, name: [by(KEY, image.manifest.digest, "quay.io/a/b:1")],
        False,
    ),
    "signature of another payload": (
        {},
        lambda image, name: [
            (payload_for(image.manifest.digest, name), signature_of(KEY, payload_for(OTHER_DIGEST, name)))
        ],
        False,
    ),
    "another type": ({}, lambda image, name: [by(KEY, image.manifest.digest, name, type="x")], False),
    "more in the payload": ({}, lambda image, name: [by(KEY, image.manifest.digest, name, more="x")], False),
    "no base64": ({}, lambda image, name: [(payload_for(image.manifest.digest, name), "%%%")], False),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_sigstore_signatures_are_judged_as_skopeo_judges_them(place: Place, case: str) -> None:
    more, signed, accepted = SIGNATURES[case]
    image = small(1000 + list(SIGNATURES).index(case), layers=1)
    repository = "judged/" + case.replace(" ", "-").replace(",", "")
    name = place.registry.push(repository, image, "1")
    signatures = signed(image, name)
    if signatures:
        push_signatures(place.registry, repository, image.manifest.digest, signatures)
    place.configure(sigstore(place, **more))
    assert place.verdicts(name) == (accepted, accepted)


@pytest.mark.parametrize("form", ["keyPaths", "keyDatas"])
def test_several_keys_of_which_one_must_have_signed(place: Place, form: str) -> None:
    import base64

    image = small(2000, layers=1)
    name = place.registry.push("keys/several", image)
    push_signatures(place.registry, "keys/several", image.manifest.digest, [by(KEY, image.manifest.digest, name)])

    def requirement(*keys: Any) -> dict[str, Any]:
        if form == "keyDatas":
            return {"type": "sigstoreSigned", form: [base64.b64encode(public_pem(key)).decode() for key in keys]}
        paths = [place.file(f"{number}.pub", public_pem(key)) for number, key in enumerate(keys)]
        return {"type": "sigstoreSigned", form: paths}

    place.configure(requirement(OTHER, KEY))
    assert place.verdicts(name) == (True, True)
    place.configure(requirement(OTHER, new_key()))
    assert "not made with the policy's key" in place.ours(name)


def test_every_requirement_must_be_met(place: Place) -> None:
    image = small(2001, layers=1)
    name = place.registry.push("keys/both", image)
    signed = [by(KEY, image.manifest.digest, name)]
    push_signatures(place.registry, "keys/both", image.manifest.digest, signed)
    other = {"type": "sigstoreSigned", "keyPath": place.file("other.pub", public_pem(OTHER))}
    place.configure(sigstore(place), other)
    assert place.verdicts(name) == (False, False)
    push_signatures(
        place.registry, "keys/both", image.manifest.digest, [*signed, by(OTHER, image.manifest.digest, name)]
    )
    assert place.verdicts(name) == (True, True)


def test_of_an_index_the_image_of_the_platform_must_be_signed(place: Place) -> None:
    one, two = small(2002, layers=1), small(2003, layers=1, architecture="arm64")
    index = index_of({"linux/amd64": one.manifest, "linux/arm64": two.manifest})
    for image in (one, two):
        place.registry.push("index/app", image, "part")
    place.registry.push_manifest("index/app", "1", index.data, index.media_type)
    name = f"{place.registry.host}/index/app:1"
    place.configure(sigstore(place))
    push_signatures(place.registry, "index/app", index.digest, [by(KEY, index.digest, name)])
    assert place.verdicts(name) == (False, False)
    machine = {"x86_64": one, "aarch64": two}[os.uname().machine]
    push_signatures(place.registry, "index/app", machine.manifest.digest, [by(KEY, machine.manifest.digest, name)])
    assert place.verdicts(name) == (True, True)
    by_digest = f"{place.registry.host}/index/app@{index.digest}"
    assert place.verdicts(by_digest) == (True, True)


def test_attachments_are_not_looked_for_unless_registries_d_says_so(place: Place) -> None:
    image = small(2004, layers=1)
    name = place.registry.push("attached/app", image)
    push_signatures(place.registry, "attached/app", image.manifest.digest, [by(KEY, image.manifest.digest, name)])
    place.configure(sigstore(place), attachments=False)
    said = place.ours(name)
    assert "wants a sigstore signature, and none is looked for" in said
    assert "use-sigstore-attachments: true" in said
    assert place.verdicts(name) == (False, False)


@pytest.mark.parametrize("wanted", ["fulcio", "rekorPublicKeyPath", "pki"])
def test_what_cannot_be_checked_is_refused_and_named(place: Place, wanted: str) -> None:
    name = place.registry.push("unsupported/app", small(2008, layers=1))
    value: Any = {"caPath": "/ca", "oidcIssuer": "x", "subjectEmail": "y"} if wanted != "rekorPublicKeyPath" else "/r"
    requirement = sigstore(place) if wanted == "rekorPublicKeyPath" else {"type": "sigstoreSigned"}
    place.configure(requirement | {wanted: value})
    said = place.ours(name)
    assert "cannot be checked here" in said
    assert "Traceback" not in said


def test_a_missing_key_is_named(place: Place) -> None:
    name = place.registry.push("missing/key", small(2009, layers=1))
    place.configure({"type": "sigstoreSigned", "keyPath": "/nowhere/cosign.pub"})
    assert "reading the key /nowhere/cosign.pub: No such file" in place.ours(name)


@pytest.mark.peer
@pytest.mark.skipif(not judge(), reason="needs the peer root")
def test_what_skopeo_signs_with_a_sigstore_key_is_accepted(place: Place, tmp_path: Path) -> None:
    image = small(2010, layers=1)
    source = place.registry.push("signed/source", image, "1")
    place.configure({"type": "insecureAcceptAnything"})
    key = place.file("cosign.key", encrypted_pem(KEY, b"secret", "cosign"))
    name = f"{place.registry.host}/signed/skopeo:1"
    copied = place.skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"--sign-by-sigstore-private-key={key}",
        f"--sign-passphrase-file={place.file('passphrase', b'secret')}",
        f"docker://{source}",
        f"docker://{name}",
    )
    assert copied.returncode == 0, copied.stderr
    place.configure(sigstore(place))
    assert place.verdicts(name) == (True, True)
    place.configure(sigstore(place, OTHER))
    assert place.verdicts(name) == (False, False)


def test_without_a_policy_for_it_nothing_is_asked_for(place: Place, faulty: Faulty) -> None:
    image = make_image([tar_of({"a": b"1"})])
    place.registry.push("free/app", image)
    place.configure({"type": "insecureAcceptAnything"})
    (place.containers / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    assert place.ours(f"{faulty.host}/free/app") == ""
    assert faulty.paths(r"\.sig") == []


def test_a_policy_decides_about_archives_by_their_place(place: Place, tmp_path: Path) -> None:
    name = place.registry.push("places/app", small(2041, layers=1), "1")
    accept = [{"type": "insecureAcceptAnything"}]
    place.configure(*accept)
    place.fresh("pull", "-q", OPEN, name)
    for place_of, format in ((tmp_path / "a/b.tar", "oci-archive"), (tmp_path / "a/c", "oci-dir")):
        place_of.parent.mkdir(exist_ok=True)
        place.fresh("save", "-q", "--format", format, "-o", str(place_of), name)
    place.fresh("rmi", "-a", "-f")
    scopes = {"oci-archive": {str(tmp_path / "a/b.tar"): accept}, "oci": {str(tmp_path): accept}}
    default = {"default": [{"type": "reject"}]}
    for policy, code in ((default, 125), (default | {"transports": scopes}, 0)):
        (place.containers / "policy.json").write_text(json.dumps(policy))
        for words in (
            ("pull", f"oci-archive:{tmp_path}/a/b.tar"),
            ("pull", f"oci:{tmp_path}/a/c"),
            ("load", "-i", f"{tmp_path}/a/b.tar"),
            ("load", "-i", f"{tmp_path}/a/c"),
        ):
            done = place.fresh(*words, check=False)
            assert done.returncode == code, done.stderr
            assert code == 0 or "refused by" in done.stderr


@pytest.mark.parametrize("form", ["encrypted", "plain"])
def test_what_is_signed_here_is_accepted_by_both(place: Place, form: str) -> None:
    image = small(2020 + len(form), layers=1)
    source = place.registry.push("ours/source", image, form)
    place.configure({"type": "insecureAcceptAnything"})
    place.fresh("pull", "-q", OPEN, source)
    name = f"{place.registry.host}/ours/{form}:1"
    options = ["--sign-by-sigstore-private-key", place.file("key", plain_pem(KEY))]
    if form == "encrypted":
        passphrase = place.file("passphrase", b"secret\n")
        options = ["--sign-by-sigstore-private-key", place.file("key", encrypted_pem(KEY, b"secret"))]
        options += ["--sign-passphrase-file", passphrase]
    place.fresh("push", "-q", OPEN, *options, source, name)
    # a second key: the first signature stays
    place.fresh("push", "-q", OPEN, "--sign-by-sigstore-private-key", place.file("two", plain_pem(OTHER)), source, name)
    place.fresh("rmi", "-a", "-f")
    other = {"type": "sigstoreSigned", "keyPath": place.file("other.pub", public_pem(OTHER))}
    place.configure(sigstore(place), other)
    assert place.verdicts(name) == (True, True)
    place.configure(sigstore(place, new_key()))
    assert place.verdicts(name) == (False, False)


def test_a_push_that_cannot_be_signed_sends_nothing(place: Place, faulty: Faulty) -> None:
    source = place.registry.push("unsigned/source", small(2030, layers=1), "1")
    place.configure({"type": "insecureAcceptAnything"})
    place.fresh("pull", "-q", OPEN, source)
    name = f"{faulty.host}/unsigned/app:1"
    key = place.file("key", encrypted_pem(KEY, b"secret"))

    def refused(*options: str) -> str:
        failed = place.fresh("push", "-q", OPEN, *options, source, name, check=False)
        assert failed.returncode == 125
        assert faulty.requests == []
        assert "secret" not in failed.stderr
        return failed.stderr

    assert "--sign-passphrase-file FILE" in refused("--sign-by-sigstore-private-key", key)
    wrong = place.file("wrong", b"guess\n")
    assert "passphrase is wrong" in refused("--sign-by-sigstore-private-key", key, "--sign-passphrase-file", wrong)
    assert "No such file" in refused("--sign-by-sigstore-private-key", "/nowhere")
    assert "no key" in refused("--sign-passphrase-file", wrong)
    conf = {"docker": {faulty.host: {"use-sigstore-attachments": False}}}
    (place.containers / "registries.d/all.yaml").write_text(json.dumps(conf))
    plain = place.file("plain", plain_pem(KEY))
    assert "no signatures may lie beside it" in refused("--sign-by-sigstore-private-key", plain)


def test_a_pushed_list_is_signed_with_its_images(place: Place) -> None:
    place.configure({"type": "insecureAcceptAnything"})
    sources = []
    for number, architecture in enumerate(("amd64", "arm64")):
        image = small(2060 + number, layers=1, architecture=architecture)
        sources.append(place.registry.push(f"lists/{architecture}", image, "1"))
        place.fresh("pull", "-q", OPEN, "--arch", architecture, sources[-1])
    place.fresh("manifest", "create", "team/list:1", *sources)
    name = f"{place.registry.host}/lists/all:1"
    key = place.file("key", plain_pem(KEY))
    place.fresh("manifest", "push", "-q", OPEN, "--sign-by-sigstore-private-key", key, "team/list:1", name)
    place.fresh("rmi", "-a", "-f")
    place.configure(sigstore(place))
    assert place.verdicts(name) == (True, True)
    place.configure(sigstore(place, OTHER))
    assert place.verdicts(name) == (False, False)
