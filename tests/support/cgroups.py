"""A control group that is ours: contrib/test makes one when root starts it, and says where by ROOTLESS_TEST_CGROUP. The
tests themselves run beside it, in a group where containers get none; commands are put into one below it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rootless.kernel.cgroups import directory_of
from tests.support.command import Rootless


class Grouped(Rootless):
    """Runs `rootless` in the control group `group`."""

    def __init__(self, place: Path, group: Path) -> None:
        super().__init__(place)
        self.group = group

    def _join(self) -> None:
        (self.group / "cgroup.procs").write_text("0")

    def __call__(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return super().__call__(*args, preexec_fn=self._join, **more)

    def popen(self, *args: str, **more: Any) -> subprocess.Popen[bytes]:
        return super().popen(*args, preexec_fn=self._join, **more)

    def groups(self) -> list[str]:
        """Names of the groups in that one."""
        return sorted(path.name for path in self.group.iterdir() if path.is_dir())

    def group_of(self, name: str) -> Path:
        """The group of a container that runs."""
        found = directory_of(self.inspect(name)["State"]["Pid"])
        assert found.startswith(f"{self.group}/rootless-"), found
        return Path(found)


@contextmanager
def group_of_ours() -> Iterator[Path]:
    """An empty control group that is ours; the test is skipped where there can be none."""
    top = os.environ.get("ROOTLESS_TEST_CGROUP", "")
    if not top or not os.access(f"{top}/cgroup.procs", os.W_OK):
        pytest.skip("no control group is delegated to the tests: contrib/test does so where root starts it")
    made = Path(tempfile.mkdtemp(dir=top))
    try:
        yield made
    finally:
        deadline = time.monotonic() + 5
        while True:
            try:
                made.rmdir()
                break
            except OSError:
                assert time.monotonic() < deadline, f"left behind: {[str(path) for path in made.glob('*/')]}"
                time.sleep(0.05)
