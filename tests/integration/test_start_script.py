"""README's first command, as an ordinary user in a tree of its own: a container prints from inside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import remove_store

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(240)
def test_start_installs_the_command_and_runs_a_container_without_a_registry(tmp_path: Path) -> None:
    tree, home = tmp_path / "tree", tmp_path / "home"
    shutil.copytree(CHECKOUT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache"))
    home.mkdir()
    runtime = tmp_path / "xdg"
    runtime.mkdir(mode=0o700)
    environment = {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "XDG_RUNTIME_DIR": str(runtime),
        "LANG": "C.UTF-8",
    }
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    try:
        # Port 1 answers no one: the image has to be built on the spot.
        done = subprocess.run(
            [tree / "contrib" / "start", "localhost:1/nothing/here:latest"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=220,
        )
        assert done.returncode == 0, done.stderr
        assert "Hello from first-light, as uid=0(root)" in done.stdout
        assert "127.0.0.1/8" in done.stdout
        assert f"0{os.getuid():>21}" in done.stdout.replace("\t", " ") or str(os.getuid()) in done.stdout
        assert " on / type " in done.stdout
        command = home / ".local" / "bin" / "rootless"
        again = subprocess.run(
            [command, "run", "--rm", "--network", "none", "busybox", "echo", "hi"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert again.stdout == "hi\n", again.stderr
    finally:
        remove_store(home)
