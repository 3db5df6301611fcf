"""The installed `rootless` command with a store of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def executable() -> str:
    """The command beside this interpreter (the virtual environment that runs the tests)."""
    beside = Path(sys.executable).with_name("rootless")
    found = str(beside) if beside.exists() else shutil.which("rootless")
    assert found, "the rootless command is not installed beside this interpreter: pip install -e ."
    return found


class Rootless:
    """Runs `rootless` with its own --root and --runroot (through the environment, as a user's shell would)."""

    def __init__(self, place: Path, driver: str | None = None) -> None:
        self.place = place
        self.root = place / "root"
        self.runroot = place / "run"
        self.environment = {
            "HOME": str(place / "home"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(place / "xdg"),
            "ROOTLESS_ROOT": str(self.root),
            "ROOTLESS_RUNROOT": str(self.runroot),
        }
        if driver:
            self.environment["ROOTLESS_STORAGE_DRIVER"] = driver
        for directory in (place / "home", place / "xdg"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __call__(
        self,
        *args: str,
        input: str | bytes | None = None,
        check: bool = True,
        timeout: float = 60,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end; text in and out. With `check`, a non-zero exit fails the test and shows stderr."""
        if isinstance(input, bytes):
            input = input.decode()
        if input is None and "stdin" not in more:
            more["stdin"] = subprocess.DEVNULL
        done = subprocess.run(
            [executable(), *args],
            input=input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**self.environment, **(env or {})},
            **more,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"rootless {' '.join(args)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def out(self, *args: str, **more: Any) -> str:
        """Standard output of a successful run, without the last newline."""
        return self(*args, **more).stdout.rstrip("\n")

    def popen(self, *args: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([executable(), *args], env={**self.environment, **(env or {})}, **more)

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out("inspect", name))[0]
        return found

    def inspect_image(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out("image", "inspect", name))[0]
        return found

    def status(self, name: str) -> str:
        return str(self.inspect(name)["State"]["Status"])


def wait_until(condition: Callable[[], object], seconds: float = 10, what: str = "the condition") -> None:
    """Poll until `condition()` is true; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.02)
