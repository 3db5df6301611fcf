"""A user with a policy, and skopeo as a second judge of what it lets in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.pulling import OPEN, stored
from tests.support.registry import Registry
from tests.support.signing import new_key, payload_for, public_pem, signature_of

TREE = Path(os.environ.get("PEER_ROOT", "/var/tmp/peer-root"), "root")
LOADER = TREE / "lib64/ld-linux-x86-64.so.2"


def judge() -> list[str]:
    """The peer's skopeo, run from its tree as it is, or nothing: in Debian 12's, sigstore is disabled."""
    if not os.access(LOADER, os.X_OK):
        return []
    return [str(LOADER), "--library-path", f"{TREE}/usr/lib/x86_64-linux-gnu", f"{TREE}/usr/bin/skopeo"]


KEY, OTHER = new_key(), new_key()


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


def by(key: Any, digest: str, reference: str, **critical: Any) -> tuple[bytes, str]:
    payload = payload_for(digest, reference, **critical)
    return payload, signature_of(key, payload)
