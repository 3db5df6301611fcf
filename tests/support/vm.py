"""A Debian machine with systemd under qemu, whose disk lives on from boot to boot. contrib/vm makes the disk that each
begins with.

Killing qemu alone would be a mild power cut: what the machine has written stays in our page cache. So its writes are
recorded (qemu's blklogwrites), and the disk that it wakes up with has those up to its last flush, and of the later
ones some: what a disk with a write cache owes nobody is lost at random.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
_GUEST_PYTHON = "3.11"  # Debian bookworm's
_SECTOR = 512
_FLUSH, _DISCARD = 1, 4  # flags of an entry
_INSTALL = """\
set -e
chmod 666 /dev/fuse
modprobe tun && chmod 666 /dev/net/tun
place=/home/alice/rootless
if [ ! -e $place ]; then
    mkdir -p $place
    tar -C $place -xf /given/engine.tar
    cp /given/busybox.tar /given/docker-registry /given/registry.yml /home/alice/
    chown -R alice: /home/alice
    sync
fi
"""
_REGISTRY = """\
version: 0.1
storage: {filesystem: {rootdirectory: /home/alice/registry}}
http: {addr: "127.0.0.1:5000"}
"""


class Cut:
    """A boot whose power was cut: what it had printed, and its disk as it would be, had that happened earlier."""

    def __init__(self, told: str, moments: list[tuple[int, str]], before: Path, log: Path) -> None:
        self.told = told
        self._moments = moments
        self._before = before
        self._log = log
        self._entries = _writes(log)

    def moment(self, at: float, chance: random.Random, disk: Path) -> str:
        """Make `disk` as it was when `at` (0 to 1) of all that was written after the first line had been printed was
        written; what had been printed by then, at least."""
        first = next(size for size, told in self._moments if told)
        end = first + int(at * (self._log.stat().st_size - first))
        entries = [entry for entry in self._entries if entry.end <= end]
        flushed = max((n for n, entry in enumerate(entries) if entry.flush), default=0)
        kept = chance.choice((0.0, 0.5, 0.9))
        _copy_sparse(self._before, disk)
        with open(self._log, "rb") as log, open(disk, "r+b") as target:
            for n, entry in enumerate(entries):
                if n <= flushed or chance.random() < kept:
                    log.seek(entry.data)
                    target.seek(entry.offset)
                    target.write(log.read(entry.length))
        return next((told for size, told in reversed(self._moments) if size <= end), "")


class _Write:
    """An entry of the log: `length` bytes for `offset` of the disk, kept at `data`; `end` is where the entry ends."""

    def __init__(self, data: int, offset: int, length: int, flush: bool) -> None:
        self.data = data
        self.offset = offset
        self.length = length
        self.flush = flush
        self.end = data + length


def _writes(log: Path) -> list[_Write]:
    """What blklogwrites has recorded: the format of the kernel's dm-log-writes, in sectors."""
    found = []
    place, size = _SECTOR, log.stat().st_size
    with open(log, "rb") as file:
        while place + _SECTOR <= size:
            file.seek(place)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", file.read(32))
            if not sectors and not flags:
                break
            length = 0 if flags & _DISCARD else sectors * _SECTOR
            found.append(_Write(place + _SECTOR, sector * _SECTOR, length, bool(flags & _FLUSH)))
            place += _SECTOR + length
    return found


class Machine:
    """Boots run one after the other; `given` is shown read-only at /given."""

    def __init__(self, base: Path, place: Path, given: Path) -> None:
        self._base = base
        self._place = place
        self._given = given
        self.disk = place / "disk.img"
        self._boots = 0
        _copy_sparse(base / "disk.img", self.disk)

    def run(self, script: str, timeout: float = 300, disks: Sequence[Path] = ()) -> str:
        """Boot, run a shell script as root to its end, and switch off; what it printed. The script has to succeed.
        `disks` are there as /dev/vdb and so on."""
        drives = [f"driver=raw,file.filename={disk},file.cache.no-flush=on" for disk in (self.disk, *disks)]
        told, code, _ = self._boot(script, timeout, None, drives)
        assert code is not None, f"the machine did not come to the end of the script: {told[-2000:]}"
        assert code == 0, f"the script ended with {code}: {told[-2000:]}"
        return told

    def cut(self, script: str, when: Callable[[str], bool], timeout: float = 300) -> Cut:
        """Boot, run a script, and cut the power as soon as `when` is true of what has been printed.

        The machine's disk stays as it was before: `Cut.moment` makes the one that is found afterwards.
        """
        disk, log = self._place / "running.img", self._place / "log.img"
        _copy_sparse(self.disk, disk)
        log.write_bytes(b"")
        recorded = f"driver=blklogwrites,log.driver=file,log.filename={log},log.cache.no-flush=on"
        recorded += f",file.driver=file,file.filename={disk},file.cache.no-flush=on"
        told, code, moments = self._boot(script, timeout, when, [recorded], log)
        disk.unlink()
        assert code is None, f"the script ended by itself with {code}: {told[-2000:]}"
        assert when(told), f"nothing came of it within {timeout} s: {told[-2000:]}"
        return Cut(told, moments, self.disk, log)

    def _boot(
        self,
        script: str,
        timeout: float,
        when: Callable[[str], bool] | None,
        drives: Sequence[str],
        log: Path | None = None,
    ) -> tuple[str, int | None, list[tuple[int, str]]]:
        """What was printed; the exit code of the script, if any; how long `log` was when what had been printed."""
        self._boots += 1
        task = self._place / f"task-{self._boots}"
        task.mkdir()
        task.chmod(0o777)
        (task / "script").write_text(_INSTALL + script)
        output = task / "output"
        machine = subprocess.Popen(
            [
                "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-smp", "2",
                "-display", "none", "-no-reboot", "-nic", "none",
                "-kernel", str(self._base / "kernel"), "-initrd", str(self._base / "initrd"),
                "-append", "root=/dev/vda rw console=ttyS0 quiet",
                *(word for drive in drives for word in ("-drive", f"if=virtio,cache=writeback,{drive}")),
                "-fsdev", f"local,id=task,path={task},security_model=none",
                "-device", "virtio-9p-pci,fsdev=task,mount_tag=task",
                "-fsdev", f"local,id=given,path={self._given},security_model=none,readonly=on",
                "-device", "virtio-9p-pci,fsdev=given,mount_tag=given",
                "-serial", f"file:{task}/console", "-serial", f"file:{output}",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        moments: list[tuple[int, str]] = []
        deadline = time.monotonic() + timeout
        try:
            while machine.poll() is None and _number(task / "code") is None and time.monotonic() < deadline:
                time.sleep(0.1)
                told = _text(output)
                if log is not None and (not moments or moments[-1][1] != told):
                    moments.append((log.stat().st_size, told))
                if when is not None and when(told):
                    break
        finally:
            machine.kill()
            machine.wait()
        return _text(output), _number(task / "code"), moments


def _copy_sparse(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True)


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""


def words_after(told: str, first: str) -> list[str]:
    """The other words of the first line that begins with the word `first`."""
    return next((line.split()[1:] for line in told.splitlines() if line.split()[:1] == [first]), [])


def _number(path: Path) -> int | None:
    """What the machine has written there; None until it has: the file is there a moment before its content."""
    text = _text(path).strip()
    return int(text) if text else None


def base_disk() -> Path:
    """Where contrib/vm has made the disk; the test is skipped where nobody has asked for machines."""
    place = os.environ.get("ROOTLESS_TEST_VM")
    if not place or not os.path.exists(f"{place}/built"):
        pytest.skip("no virtual machine is asked for: contrib/vm test makes one and runs these tests")
    return Path(place)


def things_to_give(place: Path, archive: Path, registry: Path) -> Path:
    """A directory with the engine, what it needs, an image and a registry's program, for the machine to install."""
    engine = place / "engine"
    (engine / "bin").mkdir(parents=True)
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    words += [str(engine / f"lib/python{_GUEST_PYTHON}/site-packages"), "--python-version", _GUEST_PYTHON]
    subprocess.run([*words, "--only-binary=:all:", str(TREE)], check=True)
    shutil.copy(TREE / "contrib/launcher", engine / "bin/rootless")
    (engine / "bin/python").symlink_to("/usr/bin/python3")
    # One file: thousands of small ones take minutes through 9p.
    subprocess.run(["tar", "-C", str(engine), "-cf", str(place / "engine.tar"), "."], check=True)
    shutil.rmtree(engine)
    shutil.copy(archive, place / "busybox.tar")
    shutil.copy(registry, place / "docker-registry")
    (place / "registry.yml").write_text(_REGISTRY)
    return place
