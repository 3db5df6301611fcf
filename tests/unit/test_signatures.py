"""Signatures: names that they count for, payloads, keys, registries.d."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rootless.errors import RegistryError, RootlessError, StorageError, UsageError
from storage.references import parse
from storage.settings.identity import parse_identity
from storage.signatures import needs, registries_d
from storage.signatures.keys import read_private_key, read_public_key, sign, verifies
from storage.signatures.payload import SIGSTORE_TYPE, make_payload, parse_payload
from tests.support.signing import encrypted_pem, plain_pem, public_pem

DIGEST = "sha256:" + "ab" * 32
AT = f"@{DIGEST}"


@pytest.mark.parametrize(
    ("rule", "signed", "pulled", "answer"),
    [
        (None, "quay.io/a/b:1", "quay.io/a/b:1", True),
        (None, "quay.io/a/b:1", "quay.io/a/b:2", False),
        (None, "quay.io/a/b", "quay.io/a/b:1", False),
        (None, "quay.io/a/b:1", f"quay.io/a/b{AT}", True),
        (None, "quay.io/a/b", f"quay.io/a/b{AT}", True),
        (None, "quay.io/a/c:1", f"quay.io/a/b{AT}", False),
        (None, "alpine:1", "docker.io/library/alpine:1", True),
        (None, "not a name", "quay.io/a/b:1", False),
        ({"type": "matchExact"}, "quay.io/a/b:1", f"quay.io/a/b{AT}", False),
        ({"type": "matchExact"}, "quay.io/a/b:1", "quay.io/a/b:1", True),
        ({"type": "matchRepository"}, "quay.io/a/b", "quay.io/a/b:1", True),
        ({"type": "matchRepository"}, "quay.io/a/b:7", "quay.io/a/b:1", True),
        ({"type": "matchRepository"}, "quay.io/a/c", "quay.io/a/b:1", False),
        ({"type": "exactReference", "dockerReference": "h.io/x:1"}, "h.io/x:1", "quay.io/a/b:1", True),
        ({"type": "exactReference", "dockerReference": "h.io/x:1"}, "h.io/x:2", "quay.io/a/b:1", False),
        ({"type": "exactReference", "dockerReference": "h.io/x:1"}, "h.io/x:1", None, True),
        ({"type": "exactRepository", "dockerRepository": "h.io/x"}, "h.io/x:9", "quay.io/a/b:1", True),
        ({"type": "exactRepository", "dockerRepository": "h.io/x"}, "h.io/y:9", "quay.io/a/b:1", False),
        ({"type": "remapIdentity", "prefix": "m.io/q", "signedPrefix": "quay.io"}, "quay.io/b:1", "m.io/q/b:1", True),
        ({"type": "remapIdentity", "prefix": "m.io/q", "signedPrefix": "quay.io"}, "m.io/q/b:1", "m.io/q/b:1", False),
        ({"type": "remapIdentity", "prefix": "m.io/q", "signedPrefix": "quay.io"}, "m.io/qq/b:1", "m.io/qq/b:1", True),
        ({"type": "matchRepository"}, "quay.io/a/b", None, False),
    ],
)
def test_the_name_that_was_signed(rule: Any, signed: str, pulled: str | None, answer: bool) -> None:
    assert parse_identity(rule).accepts(signed, parse(pulled) if pulled else None) is answer


def test_what_is_signed_says_digest_and_name() -> None:
    found = parse_payload(make_payload(DIGEST, "quay.io/a/b:1", 1700000000), SIGSTORE_TYPE)
    assert (found.digest, found.reference) == (DIGEST, "quay.io/a/b:1")


def payload(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(make_payload(DIGEST, "quay.io/a/b:1", 1))
    for path, value in changes.items():
        place = whole
        *above, last = path.split("__")
        for key in above:
            place = place[key]
        place[last] = value
    return whole


@pytest.mark.parametrize(
    "changed",
    [
        payload(more=1),
        payload(critical__more=1),
        payload(critical__type="atomic container signature"),
        payload(critical__image={}),
        payload(critical__image={"docker-manifest-digest": 1}),
        payload(critical__identity={"docker-reference": "a", "x": "b"}),
        payload(optional=[]),
        payload(optional={"creator": 1}),
        payload(optional={"timestamp": 1.5}),
        payload(optional={"timestamp": "now"}),
        {"critical": payload()["critical"]},
        [],
    ],
)
def test_a_payload_with_anything_missing_or_more_is_refused(changed: Any) -> None:
    with pytest.raises(ValueError):
        parse_payload(json.dumps(changed).encode(), SIGSTORE_TYPE)


@pytest.mark.parametrize(
    "data", [b"", b"[" * 100_000, b"\xff", json.dumps(payload()).replace('"type"', '"type": "x", "type"').encode()]
)
def test_a_payload_that_is_no_json_or_says_something_twice_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_payload(data, SIGSTORE_TYPE)


def test_a_payload_of_cosign_has_no_optional_part() -> None:
    assert parse_payload(json.dumps(payload(optional=None)).encode(), SIGSTORE_TYPE).digest == DIGEST


KEYS: dict[str, Any] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_signature_counts_for_its_key_and_its_payload(name: str) -> None:
    made = sign(KEYS[name], b"payload")
    public = read_public_key(public_pem(KEYS[name]), "k")
    assert verifies(public, made, b"payload")
    assert not verifies(public, made, b"paYload")
    assert not verifies(public, made[:-1] + bytes([made[-1] ^ 1]), b"payload")
    assert not verifies(public, b"", b"payload")
    assert not any(verifies(other.public_key(), made, b"payload") for key, other in KEYS.items() if key != name)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("form", ["sigstore", "cosign", "encrypted pem", "plain pem"])
def test_private_keys_are_read_in_all_forms(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / "key"
    key, passphrase = KEYS[name], None if form == "plain pem" else b"secret"
    path.write_bytes(plain_pem(key, passphrase) if form.endswith("pem") else encrypted_pem(key, b"secret", form))
    assert public_pem(read_private_key(str(path), passphrase)) == public_pem(key)
    for wrong in {b"wrong", None} - {passphrase}:
        with pytest.raises(UsageError) as caught:
            read_private_key(str(path), wrong)
        assert str(path) in caught.value.message
        assert "secret" not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"-----BEGIN X-----\n", b"\x00" * 100])
def test_what_is_no_key_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(RegistryError, match="the public key k: it is not"):
        read_public_key(data, "k")
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(UsageError, match="private key"):
        read_private_key(str(tmp_path / "key"), None)
    (tmp_path / "key").write_bytes(
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n" + data + b"-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )
    with pytest.raises(UsageError, match="private key"):
        read_private_key(str(tmp_path / "key"), b"secret")


def test_a_private_key_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(encrypted_pem(KEYS["p256"], b"x", claimed=1 << 23))
    with pytest.raises(UsageError, match="asks for too much"):
        read_private_key(str(tmp_path / "key"), b"x")


def test_a_key_of_another_kind_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    data = X25519PrivateKey.generate().public_key()
    pem = data.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(RegistryError, match="not a key of ECDSA"):
        read_public_key(pem, "k")


def test_a_missing_library_is_told_with_the_command_that_installs_it() -> None:
    with pytest.raises(RootlessError) as caught:
        needs.need("surely.not.there", "Surely", "checking")
    assert caught.value.message == "checking: the Python library Surely is not installed"
    assert caught.value.hint == "pip install 'rootless[signatures]'"


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / ".config/containers/registries.d"
    place.mkdir(parents=True)

    def write(text: str, name: str = "a.yaml") -> None:
        (place / name).write_text(text)

    return write


SCOPES = ["quay.io/a/b:1", "quay.io/a/b", "quay.io/a", "quay.io", "*.io"]


def test_each_question_is_answered_by_the_most_particular_entry_that_does(write: Any, tmp_path: Path) -> None:
    write("default-docker:\n  lookaside: https://all.example/s\n")
    write("docker:\n  quay.io:\n    lookaside: https://q.example/\n    use-sigstore-attachments: true\n", "b.yaml")
    write("docker:\n  quay.io/a:\n    use-sigstore-attachments: false\n", "c.yaml")
    write("docker:\n  quay.io/a: [\n", "ignored.yml")
    conf = registries_d.read_directory()
    assert conf.places(SCOPES) == registries_d.Places("https://q.example/", False)
    assert conf.places(["quay.io/x", "quay.io"]).attachments is True
    assert conf.places(["h.example"]) == registries_d.Places("https://all.example/s", None)


def test_the_name_of_old_is_known_and_without_files_there_is_a_place(write: Any, tmp_path: Path) -> None:
    assert (
        registries_d.read_directory().places(SCOPES).lookaside == f"file://{tmp_path}/.local/share/containers/sigstore"
    )
    write("docker:\n  quay.io:\n    sigstore: file:///old\n")
    assert registries_d.read_directory().places(SCOPES).lookaside == "file:///old"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "- a",
        "docker: x",
        "docker:\n  quay.io: x",
        "docker:\n  quay.io:\n    lookaside: ftp://x",
        "docker:\n  quay.io:\n    lookaside: /x",
        "docker:\n  quay.io:\n    use-sigstore-attachments: 'yes'",
        'docker:\n  "":\n    lookaside: file:///x',
        "a: &a [*a]\nx: !!python/object/apply:os.system [id]",
    ],
)
def test_a_damaged_file_of_registries_d_is_named(write: Any, text: str) -> None:
    write(text)
    with pytest.raises(StorageError, match=r"registries\.d/a\.yaml"):
        registries_d.read_directory()


def test_one_scope_in_two_files_is_an_error_that_names_both(write: Any) -> None:
    write("docker:\n  quay.io:\n    lookaside: file:///x\n")
    write("docker:\n  quay.io:\n    lookaside: file:///y\n", "b.yaml")
    with pytest.raises(StorageError, match=r"b\.yaml: quay\.io is set in .*a\.yaml"):
        registries_d.read_directory()
