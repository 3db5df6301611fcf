"""Signatures that policy.json asks for, with skopeo as the judge: what it signs is accepted, and both accept alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.faulty import Faulty, Rule, alter, answer
from tests.support.layers import Packed, PackedImage, index_of, make_image, tar_of
from tests.support.pulling import OPEN, faulty, registry, small, stored
from tests.support.registry import Registry
from tests.support.signing import (
    encrypted_pem,
    new_key,
    payload_for,
    plain_pem,
    public_pem,
    push_signatures,
    signature_of,
)

__all__ = ["faulty", "registry"]

TREE = Path(os.environ.get("PEER_ROOT", "/var/tmp/peer-root"), "root")
LOADER = TREE / "lib64/ld-linux-x86-64.so.2"


def judge() -> list[str]:
    """The peer's skopeo, run from its tree as it is, or nothing: in Debian 12's, sigstore is disabled."""
    if not os.access(LOADER, os.X_OK):
        return []
    return [str(LOADER), "--library-path", f"{TREE}/usr/lib/x86_64-linux-gnu", f"{TREE}/usr/bin/skopeo"]


KEY, OTHER = new_key(), new_key()
REPOSITORY = {"type": "matchRepository"}


@dataclass
class Place:
    """The user that both programs run as, and their configuration."""

    fresh: Rootless
    registry: Registry

    @property
    def containers(self) -> Path:
        found = self.fresh.place / "home/.config/containers"
        found.mkdir(parents=True, exist_ok=True)
        return found

    def configure(self, *requirements: dict[str, Any], attachments: bool = True, **default: Any) -> None:
        """Everything is rejected but the registry's images that meet these requirements."""
        scopes = {self.registry.host: list(requirements)}
        policy = {"default": [{"type": "reject"}], "transports": {"docker": scopes}}
        (self.containers / "policy.json").write_text(json.dumps(policy))
        (self.containers / "registries.d").mkdir(exist_ok=True)
        entry = {"use-sigstore-attachments": attachments, "lookaside": f"file://{self.lookaside}"}
        conf = {"docker": {self.registry.host: entry}}
        (self.containers / "registries.d/all.yaml").write_text(json.dumps(conf))  # JSON is YAML

    @property
    def lookaside(self) -> Path:
        return self.fresh.place / "lookaside"

    def file(self, name: str, data: bytes) -> str:
        path = self.fresh.place / name
        path.write_bytes(data)
        return str(path)

    def skopeo(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*(judge() or ["skopeo"]), *args],
            capture_output=True,
            text=True,
            env=self.fresh.environment | environment,
            timeout=60,
        )

    def ours(self, name: str) -> str:
        """Pull; what was said where it failed, else nothing. A refused image leaves nothing in the store."""
        done = self.fresh("pull", "-q", OPEN, name, check=False)
        if done.returncode == 0:
            self.fresh("rmi", "-a", "-f")
            return ""
        assert done.returncode == 125
        assert "Traceback" not in done.stderr
        if "images" in os.listdir(self.fresh.root):
            assert self.fresh.out("images", "-q") == ""
        assert stored(self.fresh).get("layers", []) == []
        return done.stderr

    def theirs(self, name: str) -> str:
        target = self.fresh.place / "copied"
        shutil.rmtree(target, ignore_errors=True)
        done = self.skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{target}")
        return "" if done.returncode == 0 else done.stderr

    def verdicts(self, name: str) -> tuple[bool, bool]:
        """Whether we and the judge let the image in; without a judge our answer counts for both."""
        ours = not self.ours(name)
        return ours, not self.theirs(name) if judge() else ours


@pytest.fixture
def place(fresh: Rootless, registry: Registry) -> Place:
    need("skopeo")
    return Place(fresh, registry)


def sigstore(place: Place, key: Any = KEY, **more: Any) -> dict[str, Any]:
    return {"type": "sigstoreSigned", "keyPath": place.file("key.pub", public_pem(key)), **more}


Signed = Callable[[PackedImage, str], list[tuple[bytes, str]]]


def by(key: Any, digest: str, reference: str, **critical: Any) -> tuple[bytes, str]:
    payload = payload_for(digest, reference, **critical)
    return payload, signature_of(key, payload)


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
        {"signedIdentity": REPOSITORY},
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


@pytest.fixture(scope="module")
def gpg_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A GNUPGHOME with two secret keys, and their public halves in files beside it: one.gpg, two.asc."""
    need("gpg", "skopeo")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)

    def gpg(*args: str) -> bytes:
        return subprocess.run(
            ["gpg", "--homedir", str(home), "--batch", "--quiet", *args], check=True, capture_output=True
        ).stdout

    for name in ("one", "two"):
        gpg("--passphrase", "", "--quick-generate-key", f"{name}@example.com", "rsa2048", "sign", "never")
    (home / "one.gpg").write_bytes(gpg("--export", "one@example.com"))
    (home / "two.asc").write_bytes(gpg("--armor", "--export", "two@example.com"))
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def test_gpg_signatures_of_skopeo_are_judged_as_it_judges_them(place: Place, gpg_keys: Path) -> None:
    source = place.registry.push("gpg/source", small(2011, layers=1), "1")
    place.configure({"type": "insecureAcceptAnything"})
    name = f"{place.registry.host}/gpg/app:1"
    bare = small(2012, layers=1)
    unsigned = place.registry.push("gpg/unsigned", bare, "1")
    copied = place.skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--sign-by=one@example.com",
        f"docker://{source}",
        f"docker://{name}",
        GNUPGHOME=str(gpg_keys),
    )
    assert copied.returncode == 0, copied.stderr
    one = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg_keys / "one.gpg")}
    two = one | {"keyPath": str(gpg_keys / "two.asc")}
    place.configure(one)
    assert place.verdicts(name) == (True, True)
    assert place.verdicts(unsigned) == (False, False)
    assert "wants a signature (signedBy), and there is none" in place.ours(unsigned)
    place.configure(two)
    assert place.theirs(name)
    assert "a key that the policy does not name" in place.ours(name)
    place.configure(one, two)
    assert place.verdicts(name) == (False, False)
    place.configure({**one, "signedIdentity": {"type": "exactRepository", "dockerRepository": "quay.io/x"}})
    assert place.verdicts(name) == (False, False)
    # a signature of another image, put in its place
    found = next(place.lookaside.glob("gpg/app@*/signature-1"))
    stolen = place.lookaside / f"gpg/unsigned@{bare.manifest.digest.replace(':', '=')}"
    stolen.mkdir(parents=True)
    shutil.copy(found, stolen / "signature-1")
    place.configure({**one, "signedIdentity": {"type": "exactRepository", "dockerRepository": name.rpartition(":")[0]}})
    assert place.verdicts(unsigned) == (False, False)
    found.write_bytes(found.read_bytes()[:-20] + bytes(20))
    assert place.verdicts(name) == (False, False)


def test_a_lookaside_may_be_a_web_server(place: Place, gpg_keys: Path, tmp_path: Path) -> None:
    image = small(2013, layers=1)
    name = place.registry.push("gpg/web", image, "1")
    payload = json.loads(payload_for(image.manifest.digest, name, type="atomic container signature"))
    payload["optional"] = {}
    signature = subprocess.run(
        ["gpg", "--homedir", str(gpg_keys), "--batch", "-u", "one@example.com", "--sign"],
        input=json.dumps(payload).encode(),
        capture_output=True,
        check=True,
    ).stdout
    web = Faulty("http://127.0.0.1:1")
    web.rule(f"/s/gpg/web@{image.manifest.digest.replace(':', '=')}/signature-1$", answer(200, signature), times=-1)
    web.rule("signature", answer(404, b"no"), times=-1)
    place.configure({"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg_keys / "one.gpg")})
    conf = {"default-docker": {"lookaside": f"http://{web.host}/s"}}
    (place.containers / "registries.d/all.yaml").write_text(json.dumps(conf))
    assert place.verdicts(name) == (True, True)
    web.rules.insert(0, Rule("signature-1", answer(500, b"down"), -1))
    assert "HTTP status 500" in place.ours(name)
    web.stop()


def test_without_a_policy_for_it_nothing_is_asked_for(place: Place, faulty: Faulty) -> None:
    image = make_image([tar_of({"a": b"1"})])
    place.registry.push("free/app", image)
    place.configure({"type": "insecureAcceptAnything"})
    (place.containers / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    assert place.ours(f"{faulty.host}/free/app") == ""
    assert faulty.paths(r"\.sig") == []


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
