"""`image trust`: the policy shown in Podman's words, and set so that it takes effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Rootless
from tests.support.pulling import OPEN, registry, small
from tests.support.registry import Registry
from tests.support.signing import new_key, payload_for, public_pem, push_signatures, signature_of

__all__ = ["registry"]

ACCEPT = [{"type": "insecureAcceptAnything"}]
POLICY = {
    "default": ACCEPT,
    "transports": {
        "docker": {
            "quay.io/a": [{"type": "sigstoreSigned", "keyPath": "/k.pub"}],
            "b.example": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/gpg"}],
            "docker.io": [{"type": "reject"}],
        },
        "docker-daemon": {"": ACCEPT},
    },
}


def configure(fresh: Rootless, policy: Any, lookaside: str = "") -> Path:
    place = fresh.place / "home/.config/containers"
    (place / "registries.d").mkdir(parents=True, exist_ok=True)
    (place / "policy.json").write_text(json.dumps(policy))
    if lookaside:
        (place / "registries.d/a.yaml").write_text(f"default-docker:\n  lookaside: {lookaside}\n")
    return place / "policy.json"


def test_the_policy_is_shown_as_podman_shows_it(fresh: Rootless) -> None:
    path = configure(fresh, POLICY, "file:///var/sigs")
    assert [line.split() for line in fresh.out("image", "trust", "show").splitlines()] == [
        ["TRANSPORT", "NAME", "TYPE", "ID", "STORE"],
        ["all", "default", "accept", "file:///var/sigs"],
        ["repository", "b.example", "signed", "/gpg", "file:///var/sigs"],
        ["repository", "docker.io", "reject", "file:///var/sigs"],
        ["repository", "quay.io/a", "sigstoreSigned", "N/A"],
        ["docker-daemon", "accept", "file:///var/sigs"],
    ]
    assert "TRANSPORT" not in fresh.out("image", "trust", "show", "-n")
    described = json.loads(fresh.out("image", "trust", "show", "--json"))
    assert described[0] == {
        "transport": "all",
        "name": "* (default)",
        "repo_name": "default",
        "sigstore": "file:///var/sigs",
        "type": "accept",
    }
    assert described[3]["gpg_id"] == "N/A"
    assert fresh.out("image", "trust", "show", "--raw") == path.read_text()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("quay.io/a/b:1", "sigstoreSigned"), ("docker.io", "reject"), ("alpine", "reject"), ("x.y/z", "accept")],
)
def test_the_entry_that_decides_for_a_name(fresh: Rootless, name: str, kind: str) -> None:
    configure(fresh, POLICY)
    if name == "alpine":
        name = "docker.io/library/alpine"
    (row,) = json.loads(fresh.out("image", "trust", "show", "--json", name))
    assert row["type"] == kind


def test_what_is_set_takes_effect_and_the_rest_stays(fresh: Rootless, registry: Registry) -> None:
    key = new_key()
    name = registry.push("trusted/app", image := small(1), "1")
    path = configure(fresh, POLICY)
    fresh("image", "trust", "set", "-t", "reject", registry.host)
    assert "says reject" in fresh("pull", OPEN, name, check=False).stderr
    fresh("image", "trust", "set", "--type=accept", f"{registry.host}/trusted")
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    fresh("rmi", name)
    public = fresh.place / "cosign.pub"
    public.write_bytes(public_pem(key))
    fresh("image", "trust", "set", "-t", "sigstoreSigned", "-f", "cosign.pub", name, cwd=fresh.place)
    (path.parent / "registries.d/b.yaml").write_text(
        f"docker:\n  {registry.host}: {{use-sigstore-attachments: true}}\n"
    )
    assert "there is none" in fresh("pull", OPEN, name, check=False).stderr
    payload = payload_for(image.manifest.digest, name)
    push_signatures(registry, "trusted/app", image.manifest.digest, [(payload, signature_of(key, payload))])
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    policy = json.loads(path.read_text())
    assert policy["transports"]["docker"].items() >= POLICY["transports"]["docker"].items()  # type: ignore[index]
    fresh("image", "trust", "set", "-t", "reject", "default")
    assert json.loads(path.read_text())["default"] == [{"type": "reject"}]
    assert list(path.parent.glob("*.partial")) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["set", "-t", "signedBy", "quay.io"], "needs the public keys"),
        (["set", "-t", "accept", "-f", "/etc/passwd", "quay.io"], "has no public keys"),
        (["set", "-f", "/nowhere/key", "quay.io"], "there is no key /nowhere/key"),
        (["set", "-t", "trusted", "quay.io"], "trusted"),
        (["set", "-t", "accept"], "which registry"),
        (["set", "-t", "accept", "docker://x"], "is not the name of a registry"),
        (["set", "-t", "accept", "--raw", "x"], "--raw is an option of image trust show"),
        (["show", "-t", "accept"], "--type is an option of image trust set"),
        (["reset"], "there are show and set"),
    ],
)
def test_a_wrong_line_changes_nothing(fresh: Rootless, words: list[str], why: str) -> None:
    path = configure(fresh, POLICY)
    before = path.read_text()
    failed = fresh("image", "trust", *words, check=False)
    assert (failed.returncode, failed.stdout) == (125, "")
    assert why in failed.stderr
    assert path.read_text() == before


def test_without_a_policy_everything_is_accepted_and_the_first_change_makes_one(fresh: Rootless) -> None:
    if Path("/etc/containers/policy.json").exists():
        machine = json.loads(Path("/etc/containers/policy.json").read_text())
    else:
        machine = {"default": ACCEPT}
        assert "accept" in fresh.out("image", "trust", "show")
    fresh("image", "trust", "set", "-t", "reject", "quay.io")
    written = json.loads((fresh.place / "home/.config/containers/policy.json").read_text())
    assert written["default"] == machine["default"]
    assert written["transports"]["docker"]["quay.io"] == [{"type": "reject"}]
