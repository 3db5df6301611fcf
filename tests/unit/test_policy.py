"""policy.json: what may be pulled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rootless.errors import RegistryError, StorageError
from storage import policy
from storage.references import parse

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
        policy.check(parse(text))
    except RegistryError:
        return False
    return True


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


def test_what_wants_a_signature_is_refused_and_not_waved_through(tmp_path: Path) -> None:
    write(tmp_path, {"default": [*ACCEPT, *SIGNED]})
    with pytest.raises(RegistryError, match=r"signature checked .signedBy."):
        policy.check(parse("alpine"))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"default": []}', '{"default": {"type": "reject"}}'])
def test_a_damaged_file_is_named_and_lets_nothing_in(tmp_path: Path, content: str) -> None:
    write(tmp_path, content)
    with pytest.raises(StorageError, match=r"etc/policy\.json"):
        policy.check(parse("alpine"))
