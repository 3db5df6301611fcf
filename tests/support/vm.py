"""A Debian machine with systemd under qemu, whose disk lives on from boot to boot. contrib/vm makes the disk that each
begins with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
_GUEST_PYTHON = "3.11"  # Debian bookworm's
_INSTALL = """\
set -e
chmod 666 /dev/fuse
modprobe tun && chmod 666 /dev/net/tun
place=/home/alice/rootless
if [ ! -e $place ]; then
    mkdir -p $place/bin $place/lib/python{version}
    cp -r /given/site $place/lib/python{version}/site-packages
    cp /given/launcher $place/bin/rootless
    cp /given/busybox.tar /home/alice/
    ln -s /usr/bin/python3 $place/bin/python
    chown -R alice: $place /home/alice/busybox.tar
    sync
fi
"""


class Machine:
    """Boots run one after the other; `given` is shown read-only at /given."""

    def __init__(self, base: Path, place: Path, given: Path) -> None:
        self._base = base
        self._place = place
        self._given = given
        self._disk = place / "disk.qcow2"
        self._boots = 0
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base / "disk.img"), str(self._disk)]
        subprocess.run(words, check=True)

    def run(self, script: str, timeout: float = 300) -> str:
        """Boot, run a shell script as root to its end, and switch off; what it printed. The script has to succeed."""
        told, code = self._boot(script, timeout, None)
        assert code is not None, f"the machine did not come to the end of the script: {told[-2000:]}"
        assert code == 0, f"the script ended with {code}: {told[-2000:]}"
        return told

    def cut(self, script: str, when: Callable[[str], bool], timeout: float = 300) -> str:
        """Boot, run a script, and cut the power as soon as `when` is true of what has been printed; what that was."""
        told, code = self._boot(script, timeout, when)
        assert code is None, f"the script ended by itself with {code}: {told[-2000:]}"
        assert when(told), f"nothing came of it within {timeout} s: {told[-2000:]}"
        return told

    def _boot(self, script: str, timeout: float, when: Callable[[str], bool] | None) -> tuple[str, int | None]:
        self._boots += 1
        task = self._place / f"task-{self._boots}"
        task.mkdir()
        task.chmod(0o777)
        (task / "script").write_text(_INSTALL.format(version=_GUEST_PYTHON) + script)
        output = task / "output"
        machine = subprocess.Popen(
            [
                "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-smp", "2",
                "-display", "none", "-no-reboot", "-nic", "none",
                "-kernel", str(self._base / "kernel"), "-initrd", str(self._base / "initrd"),
                "-append", "root=/dev/vda rw console=ttyS0 quiet",
                "-drive", f"file={self._disk},format=qcow2,if=virtio,cache=writeback",
                "-fsdev", f"local,id=task,path={task},security_model=none",
                "-device", "virtio-9p-pci,fsdev=task,mount_tag=task",
                "-fsdev", f"local,id=given,path={self._given},security_model=none,readonly=on",
                "-device", "virtio-9p-pci,fsdev=given,mount_tag=given",
                "-serial", f"file:{task}/console", "-serial", f"file:{output}",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + timeout
        try:
            while machine.poll() is None and not (task / "code").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
                if when is not None and when(_text(output)):
                    break
        finally:
            machine.kill()
            machine.wait()
        code = task / "code"
        return _text(output), int(code.read_text()) if code.exists() else None


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""


def base_disk() -> Path:
    """Where contrib/vm has made the disk; the test is skipped where nobody has asked for machines."""
    place = os.environ.get("ROOTLESS_TEST_VM")
    if not place or not os.path.exists(f"{place}/built"):
        pytest.skip("no virtual machine is asked for: contrib/vm test makes one and runs these tests")
    return Path(place)


def things_to_give(place: Path, archive: Path) -> Path:
    """A directory with the engine, what it needs, and an image, for the machine to install."""
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    words += [str(place / "site"), "--python-version", _GUEST_PYTHON, "--only-binary=:all:", str(TREE)]
    subprocess.run(words, check=True)
    shutil.copy(TREE / "contrib/launcher", place / "launcher")
    shutil.copy(archive, place / "busybox.tar")
    return place
