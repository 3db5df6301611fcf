"""Credentials: where they come from, and which ones win."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from rootless.errors import NotFoundError, RegistryError, StorageError, UsageError
from storage.settings.auth import Credentials, find_credentials, from_option


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def encoded(user: str, password: str = "secret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def helper(tmp_path: Path, name: str, script: str) -> None:
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


def user_for(name: str, authfile: str | None = None, helpers: list[str] | None = None) -> str | None:
    found = find_credentials(name, authfile, helpers)
    return found.user if found else None


def test_files_are_asked_in_the_documented_order(tmp_path: Path) -> None:
    order = {
        "dockercfg": tmp_path / "home/.dockercfg",
        "docker": tmp_path / "home/.docker/config.json",
        "config": tmp_path / "home/.config/containers/auth.json",
        "runtime": tmp_path / "run/containers/auth.json",
    }
    assert user_for("quay.io/a/b") is None
    for user, path in order.items():
        auths = {"quay.io": encoded(user)}
        write(path, auths if user == "dockercfg" else {"auths": auths})
        assert user_for("quay.io/a/b") == user


def test_the_most_particular_entry_wins(tmp_path: Path) -> None:
    write(
        tmp_path / "run/containers/auth.json",
        {"auths": {"h:5000": encoded("host"), "h:5000/a": encoded("namespace"), "h:5000/a/b": encoded("repository")}},
    )
    assert user_for("h:5000/a/b") == "repository"
    assert user_for("h:5000/a/c") == "namespace"
    assert user_for("h:5000/x") == "host"
    assert user_for("h/a/b") is None


def test_a_named_file_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "run/containers/auth.json", {"auths": {"quay.io": encoded("other")}})
    named = write(tmp_path / "mine.json", {"auths": {}})
    assert user_for("quay.io/a", str(named)) is None
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(named))
    assert user_for("quay.io/a") is None
    with pytest.raises(NotFoundError, match="no such file"):
        find_credentials("quay.io/a", str(tmp_path / "absent"))


def test_dockers_urls_and_docker_hubs_old_key_are_understood(tmp_path: Path) -> None:
    write(
        tmp_path / "home/.docker/config.json",
        {"auths": {"https://index.docker.io/v1/": encoded("hub"), "https://reg.example:5000": encoded("url")}},
    )
    assert user_for("docker.io/library/alpine") == "hub"
    assert user_for("reg.example:5000/x") == "url"


def test_a_password_may_contain_colons(tmp_path: Path) -> None:
    write(tmp_path / "run/containers/auth.json", {"auths": {"h.io": encoded("me", "a:b:c")}})
    found = find_credentials("h.io/x")
    assert found is not None
    assert found.password == "a:b:c"


def test_helpers_are_asked_by_their_protocol(tmp_path: Path) -> None:
    helper(
        tmp_path,
        "vault",
        'read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$1@$server\\",\\"Secret\\":\\"s\\"}"',
    )
    helper(tmp_path, "token", 'echo \'{"Username":"<token>","Secret":"identity"}\'')
    helper(tmp_path, "empty", "echo credentials not found in native keychain; exit 1")
    write(
        tmp_path / "home/.docker/config.json",
        {"credHelpers": {"a.example": "vault", "t.example": "token"}, "credsStore": "empty"},
    )
    assert user_for("a.example/x") == "get@a.example"
    found = find_credentials("t.example/x")
    assert found is not None
    assert (found.user, found.identity_token) == ("", "identity")
    assert user_for("b.example/x") is None
    assert user_for("b.example/x", None, ["containers-auth.json", "vault"]) == "get@b.example"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "exit code 3"),
        ("echo '{}'", "protocol"),
        ("echo html", "protocol"),
        ("echo locked >&2; exit 1", "locked"),
    ],
)
def test_a_failing_helper_is_named(tmp_path: Path, script: str, why: str) -> None:
    helper(tmp_path, "bad", script)
    write(tmp_path / "home/.docker/config.json", {"credsStore": "bad"})
    with pytest.raises(RegistryError, match=f"docker-credential-bad.*{why}"):
        find_credentials("a.example/x")


def test_a_missing_helper_is_named(tmp_path: Path) -> None:
    write(tmp_path / "home/.docker/config.json", {"credsStore": "absent"})
    with pytest.raises(RegistryError, match=r"docker-credential-absent.*not installed"):
        find_credentials("a.example/x")


@pytest.mark.parametrize(
    "content",
    ["not json", "[]", '{"auths": []}', '{"auths": {"h.io": {"auth": "!!"}}}', '{"auths": {"h.io": {"auth": "YQ=="}}}'],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "run/containers/auth.json", {})
    path.write_text(content)
    with pytest.raises(StorageError, match=r"run/containers/auth\.json"):
        find_credentials("h.io/x")


def test_creds_are_split_at_the_first_colon() -> None:
    assert from_option("me:p:w") == Credentials("me", "p:w", source="--creds")
    with pytest.raises(UsageError):
        from_option(":x")


def test_secrets_do_not_show_in_tracebacks() -> None:
    assert "hunter2" not in repr(Credentials("me", "hunter2", "hunter2"))
