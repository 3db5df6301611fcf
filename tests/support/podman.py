"""The host's podman with a store of its own; it only ever saves, loads, pulls and imports here."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import remove_store


class Podman:
    """Podman below `place` (its paths may have 50 characters at most), with the storage driver `driver`."""

    def __init__(self, place: Path, driver: str = "vfs") -> None:
        self.place = place
        self.driver = driver
        self.runtime = place / "runtime"
        for directory in (place / "home", self.runtime):
            directory.mkdir(mode=0o700, parents=True)

    @property
    def root(self) -> Path:
        return self.place / "root"

    def __call__(self, *args: str) -> str:
        options = ["--root", str(self.root), "--runroot", f"{self.place}/run", "--storage-driver", self.driver]
        environment = {
            "HOME": str(self.place / "home"),
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        done = subprocess.run(["podman", *options, *args], capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, f"podman {' '.join(args)}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("image", "inspect", name))[0]
        return found

    def close(self) -> None:
        """End the process that podman leaves behind to keep its user namespace, and remove its store."""
        self("system", "migrate")
        remove_store(self.place)


@contextmanager
def own_podman(driver: str = "vfs") -> Iterator[Podman]:
    made = Podman(Path(tempfile.mkdtemp(prefix="podman-")), driver)
    try:
        yield made
    finally:
        made.close()
