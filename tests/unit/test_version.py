"""`version`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rootless.engine.version import VERSION, describe

ROOT = Path(__file__).resolve().parents[2]


def version(*args: str) -> str:
    code = "import sys; from rootless.cli.main import main; sys.exit(main(['rootless', *sys.argv[1:]]))"
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_the_table_names_version_and_platform() -> None:
    lines = dict(line.split(":", 1) for line in version("version").splitlines())
    assert lines["Version"].strip() == VERSION
    assert lines["OS/Arch"].strip() == describe()["OsArch"]
    assert describe()["OsArch"].startswith("linux/")


def test_the_option_prints_one_line() -> None:
    assert version("--version") == f"rootless version {VERSION}\n"
    assert version("-v") == f"rootless version {VERSION}\n"


@pytest.mark.parametrize("template", ["{{.Client.Version}}", "{{.Server.Version}}"])
def test_templates_find_client_and_server(template: str) -> None:
    assert version("version", "--format", template) == f"{VERSION}\n"


def test_json_has_podmans_keys() -> None:
    client = json.loads(version("version", "--format", "json"))["Client"]
    podman = {"APIVersion", "Version", "GoVersion", "GitCommit", "BuiltTime", "Built", "BuildOrigin", "OsArch", "Os"}
    assert podman <= client.keys()


def test_nothing_is_imported_that_takes_time() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from rootless.cli.main import main\n"
        "main(['rootless', 'version']); print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert not {"typing", "re", "json", "dataclasses", "_ctypes", "importlib.metadata"} & set(done.stderr.split())


def test_no_api_is_claimed_that_nobody_serves() -> None:
    assert describe()["APIVersion"] == VERSION
