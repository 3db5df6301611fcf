"""policy.json: what may be pulled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rootless.errors import RegistryError, StorageError
from storage.references import parse
from storage.settings import policy

ACCEPT = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]
SIGNED = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(policy, "SYSTEM_FILE", str(tmp_path / "etc/policy.json"))


def write(tmp_path: Path, content: Any, place: str = "etc/policy.json") -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def allowed(text: str) -> bool:
    try:
        return not verdict(text).signed
    except RegistryError:
        return False


def verdict(text: str) -> policy.Verdict:
    return policy.check("docker", policy.docker_scopes(parse(text)), f"pulling {text}")


def test_without_a_file_everything_is_accepted() -> None:
    assert allowed("quay.io/a/b")


def test_the_users_file_takes_the_place_of_the_machines(tmp_path: Path) -> None:
    write(tmp_path, {"default": REJECT})
    assert not allowed("alpine")
    write(tmp_path, {"default": ACCEPT}, "home/.config/containers/policy.json")
    assert allowed("alpine")


def test_the_most_particular_entry_decides(tmp_path: Path) -> None:
    scopes = {
        "docker.io": REJECT,
        "docker.io/library/alpine:3": ACCEPT,
        "docker.io/team": ACCEPT,
        "docker.io/team/secret": REJECT,
        "*.example.com": REJECT,
        "good.example.com": ACCEPT,
        "h.test:5000/a": ACCEPT,
        "": REJECT,
    }
    write(tmp_path, {"default": ACCEPT, "transports": {"docker": scopes, "dir": {"": REJECT}}})
    answers = {
        "alpine:3": True,
        "alpine": False,
        "team/app:1": True,
        "team/secret": False,
        "team/secretly": True,
        "a.b.example.com/x": False,
        "good.example.com/x": True,
        "h.test:5000/a/b": True,
        "h.test:5000/b": False,
        "quay.io/x": False,
    }
    assert {text: allowed(text) for text in answers} == answers


def test_all_that_must_be_signed_for_is_in_the_verdict(tmp_path: Path) -> None:
    sigstore = {"type": "sigstoreSigned", "keyDatas": ["a2V5", "cHVi"], "signedIdentity": {"type": "matchRepository"}}
    write(tmp_path, {"default": [*ACCEPT, *SIGNED, sigstore]})
    found = verdict("alpine")
    assert (found.path, found.scope) == (str(tmp_path / "etc/policy.json"), "default")
    assert [(one.kind, one.paths, one.data, one.identity.kind) for one in found.signed] == [
        ("signedBy", ("/k",), (), "matchRepoDigestOrExact"),
        ("sigstoreSigned", (), (b"key", b"pub"), "matchRepository"),
    ]


def test_images_that_cannot_bring_a_signature_are_refused_where_one_is_wanted(tmp_path: Path) -> None:
    write(tmp_path, {"default": SIGNED, "transports": {"oci": {"/srv": ACCEPT, "/srv/bad": REJECT}}})
    policy.check_unsigned("oci", policy.path_scopes("oci", "/srv/good/x"), "loading")
    for path in ("/srv/bad/x", "/srvx"):
        with pytest.raises(RegistryError, match=r"loading: "):
            policy.check_unsigned("oci", policy.path_scopes("oci", path), "loading")


def test_scopes_of_places_and_stores(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    place = str(tmp_path / "a")
    assert policy.path_scopes("dir", str(tmp_path / "link"))[:2] == [place, str(tmp_path)]
    assert policy.path_scopes("oci-archive", place, "x:1")[:2] == [f"{place}:x:1", place]
    assert policy.path_scopes("docker-archive", place) == []
    assert policy.storage_scopes("overlay", "/r", parse("a/b:1"), "12") == [
        "[overlay@/r]docker.io/a/b:1@12",
        "[overlay@/r]docker.io/a/b:1",
        "[overlay@/r]docker.io/a/b",
        "[overlay@/r]docker.io/a",
        "[overlay@/r]docker.io",
        "[overlay@/r]",
        "[/r]",
    ]


KEYS = {"type": "sigstoreSigned", "keyPath": "/k"}
DAMAGED: list[Any] = [
    "{",
    "[]",
    "{}",
    '{"default": []}',
    '{"default": {"type": "reject"}}',
    '{"default": [{"type": "insecureAcceptAnything"}], "default": [{"type": "insecureAcceptAnything"}]}',
    {"default": ACCEPT, "tranports": {}},
    {"default": ACCEPT, "transports": {"docker": []}},
    {"default": ACCEPT, "transports": {"docker": {"quay.io": []}}},
    {"default": ["insecureAcceptAnything"]},
    {"default": [{"type": "insecureAcceptAnything", "keyPath": "/k"}]},
    {"default": [{"type": "insecureacceptanything"}]},
    {"default": [{"type": "sigstoreSigned"}]},
    {"default": [KEYS | {"keyData": "a2V5"}]},
    {"default": [KEYS | {"keyType": "GPGKeys"}]},
    {"default": [{"type": "sigstoreSigned", "keyData": "?"}]},
    {"default": [{"type": "sigstoreSigned", "keyPaths": []}]},
    {"default": [{"type": "sigstoreSigned", "keyPath": ["/k"]}]},
    {"default": [{"type": "signedBy", "keyPath": "/k"}]},
    {"default": [{"type": "signedBy", "keyType": "X509Certificates", "keyPath": "/k"}]},
    {"default": [KEYS | {"signedIdentity": "matchExact"}]},
    {"default": [KEYS | {"signedIdentity": {"type": "matchAnything"}}]},
    {"default": [KEYS | {"signedIdentity": {"type": "matchExact", "prefix": "a"}}]},
    {"default": [KEYS | {"signedIdentity": {"type": "exactReference"}}]},
    {"default": [KEYS | {"signedIdentity": {"type": "exactReference", "dockerReference": "alpine"}}]},
    {"default": [KEYS | {"signedIdentity": {"type": "exactRepository", "dockerRepository": "alpine:1"}}]},
    {"default": [KEYS | {"signedIdentity": {"type": "remapIdentity", "prefix": "a"}}]},
]


@pytest.mark.parametrize("content", DAMAGED, ids=[str(number) for number in range(len(DAMAGED))])
def test_a_damaged_file_is_named_and_lets_nothing_in(tmp_path: Path, content: Any) -> None:
    write(tmp_path, content)
    with pytest.raises(StorageError, match=r"etc/policy\.json") as caught:
        verdict("alpine")
    assert not isinstance(caught.value, RegistryError)


def test_what_cannot_be_checked_is_kept_as_such(tmp_path: Path) -> None:
    write(tmp_path, {"default": [{"type": "sigstoreSigned", "fulcio": {"caPath": "/c"}, "rekorPublicKeyPath": "/r"}]})
    assert verdict("alpine").signed[0].unsupported == "certificates of Fulcio"
    write(tmp_path, {"default": [KEYS | {"rekorPublicKeyPath": "/r"}]})
    assert verdict("alpine").signed[0].unsupported == "entries in the log of Rekor"
