"""Logging in and out, against registries that look at passwords."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.pulling import OPEN, small
from tests.support.registry import PASSWORD, USER, Registry, start_registry
from tests.support.tokens import TokenService


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a password."""
    need("docker-registry")
    found = start_registry(tmp_path_factory.mktemp("guarded"), passwords=True)
    found.push("team/app", small(41))
    yield found
    found.stop()


def login(command: Rootless, registry: Registry, *more: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return command(
        "login", OPEN, "-u", USER, "--password-stdin", *more, registry.host, input=PASSWORD + "\n", **options
    )


def auth_file(command: Rootless) -> Path:
    return command.place / "xdg/containers/auth.json"


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_what_is_kept_serves_pull_and_push(fresh: Rootless, guarded: Registry) -> None:
    assert login(fresh, guarded).stdout == "Login Succeeded!\n"
    file = auth_file(fresh)
    assert file.stat().st_mode & 0o777 == 0o600
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert content(file) == {"auths": {guarded.host: {"auth": encoded}}}
    fresh("pull", "-q", OPEN, f"{guarded.host}/team/app")
    fresh("push", "-q", OPEN, f"{guarded.host}/team/app", f"{guarded.host}/team/new:1")
    assert fresh.out("login", "--get-login", guarded.host) == USER
    assert fresh.out("logout", guarded.host) == f"Removed login credentials for {guarded.host}"
    assert content(file) == {"auths": {}}
    failed = fresh("pull", "-q", OPEN, f"{guarded.host}/team/new:1", "--policy", "always", check=False)
    assert "access denied" in failed.stderr
    assert f"rootless login {guarded.host}" in failed.stderr


def test_a_wrong_password_is_not_kept(fresh: Rootless, guarded: Registry) -> None:
    failed = fresh("login", OPEN, "-u", USER, "-p", "wrong", guarded.host, check=False)
    assert failed.returncode == 125
    assert "invalid username/password" in failed.stderr
    assert "wrong" not in failed.stderr
    assert not auth_file(fresh).exists()


def test_what_others_have_written_stays(fresh: Rootless, guarded: Registry) -> None:
    file = auth_file(fresh)
    file.parent.mkdir(parents=True)
    before = {"auths": {"quay.io": {"auth": "YTpi"}, "quay.io/team": {"auth": "Yzpk"}}, "future": [1]}
    file.write_text(json.dumps(before))
    file.chmod(0o644)
    login(fresh, guarded)
    after = content(file)
    assert after["future"] == [1]
    assert set(after["auths"]) == {"quay.io", "quay.io/team", guarded.host}
    assert file.stat().st_mode & 0o777 == 0o600
    assert fresh.out("logout", "quay.io") == "Removed login credentials for quay.io"
    assert set(content(file)["auths"]) == {"quay.io/team", guarded.host}
    assert fresh.out("logout", "--all") == "Removed login credentials for all registries"
    assert content(file) == {"auths": {}, "future": [1]}
    assert sorted(path.name for path in file.parent.iterdir()) == ["auth.json"]


def test_credentials_that_are_valid_are_not_asked_for_again(fresh: Rootless, guarded: Registry) -> None:
    login(fresh, guarded)
    again = fresh.out("login", OPEN, guarded.host)
    assert again.split("\n") == [
        f"Authenticating with existing credentials for {guarded.host}",
        f"Existing credentials are valid. Already logged in to {guarded.host}",
    ]


def test_a_file_of_ones_own(fresh: Rootless, guarded: Registry, tmp_path: Path) -> None:
    file = tmp_path / "mine/auth.json"
    done = login(fresh, guarded, "--authfile", str(file), "--verbose")
    assert f"Used:  {file}\n" in done.stdout
    assert guarded.host in content(file)["auths"]
    assert not auth_file(fresh).exists()
    fresh("pull", "-q", OPEN, "--authfile", str(file), f"{guarded.host}/team/app")
    by_variable = {"REGISTRY_AUTH_FILE": str(file)}
    assert fresh.out("login", "--get-login", guarded.host, env=by_variable) == USER
    fresh("logout", guarded.host, env=by_variable)
    assert content(file) == {"auths": {}}


def test_a_link_to_the_file_stays_a_link(fresh: Rootless, guarded: Registry, tmp_path: Path) -> None:
    file = auth_file(fresh)
    file.parent.mkdir(parents=True)
    (tmp_path / "dotfiles").mkdir()
    file.symlink_to(tmp_path / "dotfiles/auth.json")
    login(fresh, guarded)
    assert file.is_symlink()
    assert guarded.host in content(tmp_path / "dotfiles/auth.json")["auths"]


def test_dockers_file(fresh: Rootless, guarded: Registry) -> None:
    docker = fresh.place / "home/.docker/config.json"
    docker.parent.mkdir()
    hub = "https://index.docker.io/v1/"
    docker.write_text(json.dumps({"auths": {hub: {"auth": "YTpi"}}, "credHelpers": {}, "HttpHeaders": {"X": "1"}}))
    login(fresh, guarded, "--compat-auth-file", str(docker))
    assert set(content(docker)["auths"]) == {hub, guarded.host}
    assert content(docker)["HttpHeaders"] == {"X": "1"}
    fresh("pull", "-q", OPEN, f"{guarded.host}/team/app")
    assert fresh.out("logout", "--compat-auth-file", str(docker)) == "Removed login credentials for docker.io"
    assert set(content(docker)["auths"]) == {guarded.host}
    failed = fresh("logout", guarded.host, check=False)
    assert failed.returncode == 125
    assert f"not logged into {guarded.host}" in failed.stderr
    assert str(docker) in failed.stderr


HELPER = """#!/bin/sh
# a credential helper that keeps one file for each server, and remembers its arguments
echo "$0 $*" >> "$STATE/calls"
case $1 in
    store) cat > "$STATE/stored.json" ;;
    get) read -r server
         if ! grep -q "$server" "$STATE/stored.json" 2>/dev/null; then
             echo "credentials not found in native keychain"
             exit 1
         fi
         cat "$STATE/stored.json" ;;
    erase) rm "$STATE/stored.json" ;;
    list) sed 's/.*"ServerURL": "\\([^"]*\\)".*/{"\\1": "x"}/' "$STATE/stored.json" 2>/dev/null || echo '{}' ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path) -> dict[str, str]:
    """The environment in which docker-credential-test is found; its state is in $STATE."""
    program = tmp_path / "bin/docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    (tmp_path / "state").mkdir()
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "STATE": str(tmp_path / "state")}


@pytest.mark.parametrize("kind", ["credHelpers", "credsStore", "registries.conf"])
def test_a_helper_keeps_them(fresh: Rootless, guarded: Registry, helper: dict[str, str], kind: str) -> None:
    file = auth_file(fresh)
    file.parent.mkdir(parents=True)
    settings: dict[str, Any] = (
        {"credHelpers": {guarded.host: "test"}} if kind == "credHelpers" else {"credsStore": "test"}
    )
    if kind == "registries.conf":
        place = fresh.place / "home/.config/containers/registries.conf"
        place.parent.mkdir(parents=True)
        place.write_text('credential-helpers = ["test"]')
    else:
        file.write_text(json.dumps(settings))
    done = login(fresh, guarded, "--verbose", env=helper)
    assert "Used:  docker-credential-test" in done.stdout
    state = Path(helper["STATE"])
    assert content(state / "stored.json") == {"ServerURL": guarded.host, "Username": USER, "Secret": PASSWORD}
    assert PASSWORD not in (state / "calls").read_text()
    assert not file.exists() or PASSWORD not in file.read_text()
    assert not file.exists() or "auths" not in content(file)
    fresh("pull", "-q", OPEN, f"{guarded.host}/team/app", env=helper)
    assert fresh.out("login", "--get-login", guarded.host, env=helper) == USER
    if kind == "registries.conf":
        fresh("logout", guarded.host, env=helper)
    else:
        fresh("logout", "--all", env=helper)
    assert not (state / "stored.json").exists()
    assert fresh("logout", guarded.host, env=helper, check=False).returncode == 125


def test_a_helper_that_fails_is_told(fresh: Rootless, guarded: Registry) -> None:
    file = auth_file(fresh)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"credsStore": "none-of-that-name"}))
    failed = login(fresh, guarded, check=False)
    assert failed.returncode == 125
    assert "docker-credential-none-of-that-name is not installed" in failed.stderr


def test_a_terminal_is_asked_without_echo(fresh: Rootless, guarded: Registry) -> None:
    primary, terminal = pty.openpty()
    process = fresh.popen(
        "login", OPEN, guarded.host, stdin=terminal, stdout=terminal, stderr=terminal, process_group=0
    )
    os.close(terminal)
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 20
        while text not in shown:
            assert time.monotonic() < deadline, shown
            shown += os.read(primary, 1000)

    try:
        until(b"Username: ")
        os.write(primary, USER.encode() + b"\n")
        until(b"Password: ")
        os.write(primary, PASSWORD.encode() + b"\n")
        until(b"Login Succeeded!")
    finally:
        process.kill()
        process.wait()
        os.close(primary)
    assert PASSWORD.encode() not in shown
    assert guarded.host in content(auth_file(fresh))["auths"]


def test_a_token_service_says_whether_they_are_right(fresh: Rootless, tmp_path: Path) -> None:
    need("docker-registry")
    tokens = TokenService(tmp_path / "tokens")
    found = start_registry(tmp_path / "registry", token=tokens.configuration)
    try:
        login(fresh, found)
        assert "scope" not in tokens.requests[0][0]
        failed = fresh("login", OPEN, "-u", USER, "-p", "wrong", found.host, check=False)
        assert failed.returncode == 125
        assert "access denied" in failed.stderr
        assert fresh.out("login", "--get-login", found.host) == USER  # what was right stays
    finally:
        tokens.stop()
        found.stop()


def test_a_namespace_has_credentials_of_its_own(fresh: Rootless, guarded: Registry) -> None:
    fresh("login", OPEN, "-u", USER, "-p", PASSWORD, f"{guarded.host}/team")
    assert list(content(auth_file(fresh))["auths"]) == [f"{guarded.host}/team"]
    fresh("pull", "-q", OPEN, f"{guarded.host}/team/app")
    failed = fresh("logout", guarded.host, check=False)
    assert failed.returncode == 125
    fresh("logout", f"{guarded.host}/team")
    assert content(auth_file(fresh)) == {"auths": {}}


def test_skopeo_and_we_share_the_file(fresh: Rootless, guarded: Registry, tmp_path: Path) -> None:
    need("skopeo")
    file = tmp_path / "auth.json"
    login(fresh, guarded, "--authfile", str(file))
    shared = ["skopeo", "inspect", "--tls-verify=false", "--authfile", str(file), f"docker://{guarded.host}/team/app"]
    subprocess.run(shared, check=True, capture_output=True, timeout=60)
    subprocess.run(["skopeo", "logout", "--authfile", str(file), guarded.host], check=True, capture_output=True)
    assert fresh("login", "--get-login", "--authfile", str(file), guarded.host, check=False).returncode == 125


@pytest.mark.parametrize(
    "words, input, told",
    [
        (("quay.io",), None, "no terminal"),
        (("--password-stdin", "quay.io"), "x", "no user name"),
        (("-u", "a", "-p", "b", "--password-stdin", "quay.io"), "x", "only one of them"),
        (("-u", "a", "--password-stdin", "quay.io"), "", "empty"),
        (("-u", "a:b", "-p", "c", "quay.io"), None, "colon"),
        (("-u", "a", "-p", "c", "quay.io/x:1"), None, "not a registry"),
        (("-u", "a", "-p", "c", "bad host"), None, "not the name of a host"),
        (("-u", "a", "-p", "c", "127.0.0.1:1"), None, "connection refused"),
        (("--secret", "x", "quay.io"), None, "not supported yet"),
        (("--get-login", "quay.io"), None, "not logged into quay.io"),
    ],
)
def test_what_cannot_be_done(fresh: Rootless, words: tuple[str, ...], input: str | None, told: str) -> None:
    failed = fresh("login", *words, input=input, check=False)
    assert failed.returncode == 125
    assert told in failed.stderr
    assert not auth_file(fresh).exists()


def test_logins_at_the_same_time_do_not_lose_each_other(fresh: Rootless, guarded: Registry) -> None:
    names = [f"{guarded.host}/team-{number}" for number in range(6)]
    running = [fresh.popen("login", OPEN, "-u", USER, "-p", PASSWORD, name) for name in names]
    for process in running:
        process.communicate(timeout=60)
    assert [process.returncode for process in running] == [0] * len(names)
    assert sorted(content(auth_file(fresh))["auths"]) == names


def test_a_damaged_file_is_not_overwritten(fresh: Rootless, guarded: Registry) -> None:
    file = auth_file(fresh)
    file.parent.mkdir(parents=True)
    file.write_text("{damaged")
    failed = login(fresh, guarded, check=False)
    assert failed.returncode == 125
    assert "mend the file" in failed.stderr
    assert file.read_text() == "{damaged"
