"""Machines for the tests of this directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.vm import Machine, base_disk, things_to_give


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Path:
    base_disk()
    need("docker-registry")
    return things_to_give(tmp_path_factory.mktemp("given"), busybox, Path(shutil.which("docker-registry") or ""))


@pytest.fixture
def machine(tmp_path: Path, given: Path) -> Machine:
    """A machine as it is delivered."""
    return Machine(base_disk(), tmp_path, given)
