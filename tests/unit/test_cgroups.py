"""Control groups: where they are found, what is delegated, and what limits become. No group is made here."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from rootless.engine.cgroups import confine
from rootless.engine.cgroups.limits import limits_of
from rootless.engine.cgroups.usage import count
from rootless.engine.cgroups.userbus import Bus, Writer, named
from rootless.engine.request import LIMITS, CreateRequest
from rootless.errors import KernelError, RootlessError, UsageError
from rootless.kernel import cgroups


def written(**options: Any) -> dict[str, str]:
    return {limit.file: limit.value for limit in limits_of(CreateRequest("i", **options))}


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({"memory": "64m"}, {"memory.max": "67108864", "memory.swap.max": "67108864"}),
        ({"memory": "64m", "memory_swap": "100m"}, {"memory.max": "67108864", "memory.swap.max": "37748736"}),
        ({"memory": "64m", "memory_swap": "64m"}, {"memory.max": "67108864", "memory.swap.max": "0"}),
        ({"memory": "64m", "memory_swap": "-1"}, {"memory.max": "67108864", "memory.swap.max": "max"}),
        ({"memory": "0"}, {"memory.max": "max", "memory.swap.max": "max"}),
        ({"memory_reservation": "32m"}, {"memory.low": "33554432"}),
        ({"memory_swappiness": -1}, {}),
        ({"cpus": "1.5"}, {"cpu.max": "150000 100000"}),
        ({"cpus": "0"}, {"cpu.max": "max 100000"}),
        ({"cpus": "0.01"}, {"cpu.max": "1000 100000"}),
        ({"cpu_quota": 20000}, {"cpu.max": "20000 100000"}),
        ({"cpu_quota": -1}, {"cpu.max": "max 100000"}),
        ({"cpu_quota": 20000, "cpu_period": 50000}, {"cpu.max": "20000 50000"}),
        ({"cpu_period": 50000}, {"cpu.max": "max 50000"}),
        ({"cpu_shares": 2}, {"cpu.weight": "1"}),
        ({"cpu_shares": 1024}, {"cpu.weight": "39"}),
        ({"cpu_shares": 262144}, {"cpu.weight": "10000"}),
        ({"cpuset_cpus": "0-1,3", "cpuset_mems": "0"}, {"cpuset.cpus": "0-1,3", "cpuset.mems": "0"}),
        ({"pids_limit": 50}, {"pids.max": "50"}),
        ({"pids_limit": -1}, {"pids.max": "max"}),
        ({"blkio_weight": 10}, {"io.bfq.weight": "default 10"}),
        ({"cgroup_conf": ["memory.high=max"]}, {"memory.high": "max"}),
    ],
    ids=str,
)
def test_limits_as_files(options: dict[str, Any], files: dict[str, str]) -> None:
    assert written(**options) == files


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": "-1"}, "--memory"),
        ({"memory": "4k"}, "512k"),
        ({"memory": "lots"}, "--memory"),
        ({"memory": "99999999999999999999g"}, "--memory"),
        ({"memory_swap": "1g"}, "needs --memory"),
        ({"memory": "64m", "memory_swap": "32m"}, "--memory-swap 32m"),
        ({"memory": "64m", "memory_reservation": "65m"}, "--memory-reservation"),
        ({"memory_swappiness": 10}, "version 2"),
        ({"oom_kill_disable": True}, "version 2"),
        ({"cpus": "0.0001"}, "0.01"),
        ({"cpus": "many"}, "--cpus"),
        ({"cpus": "nan"}, "--cpus"),
        ({"cpus": "-2"}, "--cpus"),
        ({"cpus": "inf"}, "--cpus"),
        ({"cpus": "1", "cpu_quota": 1000}, "contradicts"),
        ({"cpu_quota": 10}, "--cpu-quota 10"),
        ({"cpu_period": 10}, "--cpu-period 10"),
        ({"cpu_shares": 1}, "--cpu-shares 1"),
        ({"cpuset_cpus": "1-"}, "--cpuset-cpus"),
        ({"cpuset_cpus": "3-1"}, "--cpuset-cpus"),
        ({"cpuset_mems": "0\n1"}, "--cpuset-mems"),
        ({"pids_limit": -7}, "--pids-limit"),
        ({"blkio_weight": 5}, "--blkio-weight"),
        ({"blkio_weight_device": ["/dev/null:100"]}, "not a block device"),
        ({"blkio_weight_device": ["100"]}, "--blkio-weight-device"),
        ({"device_read_bps": ["/no/such/device:1m"]}, "/no/such/device"),
        ({"device_write_iops": ["/dev/null:many"]}, "--device-write-iops"),
        ({"cgroup_conf": ["memory.high"]}, "--cgroup-conf"),
        ({"cgroup_conf": ["cgroup.procs=1"]}, "--cgroup-conf"),
        ({"cgroup_conf": ["a.b/../../x=1"]}, "--cgroup-conf"),
    ],
    ids=str,
)
def test_limits_that_are_none(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        limits_of(CreateRequest("i", **options))
    assert said in str(caught.value)


def test_rates_of_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootless.engine.cgroups.limits._device", lambda path, option: "8:0")
    request = CreateRequest("i", device_read_bps=["/dev/sda:1m"], device_write_iops=["/dev/sda:7"])
    assert [(limit.file, limit.value) for limit in limits_of(request)] == [
        ("io.max", "8:0 rbps=1048576"),
        ("io.max", "8:0 wiops=7"),
    ]


def test_every_limit_confines() -> None:
    assert not CreateRequest("i").confined
    for name in LIMITS:
        kind = getattr(CreateRequest("i"), name)
        value: Any = ["x"] if kind == [] else True if kind is False else 1
        assert CreateRequest("i", **{name: value}).confined, name


@pytest.mark.parametrize(
    ("options", "confined"),
    [
        ({"memory": "0", "cpus": "0", "memory_reservation": "0"}, False),
        ({"pids_limit": -1, "cpu_quota": -1, "memory_swappiness": -1}, False),
        ({"memory": "0", "pids_limit": 20}, True),
        ({"cpuset_cpus": "0"}, True),
        ({"memory": "-1"}, True),
        ({"memory_swappiness": 0}, True),
    ],
    ids=str,
)
def test_no_limit_takes_no_group(options: dict[str, Any], confined: bool) -> None:
    assert CreateRequest("i", **options).confined is confined


def test_contradictions_about_groups() -> None:
    for options in (
        {"cgroups": "disabled", "memory": "64m"},
        {"cgroups": "split", "cgroup_parent": "/x"},
        {"cgroups": "everything"},
    ):
        with pytest.raises(UsageError):
            confine.check(CreateRequest("i", **options))


def test_a_parent_that_is_none() -> None:
    with pytest.raises(RootlessError):
        confine.check(CreateRequest("i", cgroup_parent="../../etc"))


class Tree:
    """Directories that look like control groups, and extended attributes of theirs."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self.marked: set[str] = set()
        monkeypatch.setattr(os, "getxattr", self._getxattr)

    def _getxattr(self, path: str, name: str) -> bytes:
        if path not in self.marked:
            raise OSError(61, "No data available")
        return b"1"

    def group(self, name: str, ours: bool = True) -> str:
        path = self.top / name
        path.mkdir(parents=True)
        for file in ("cgroup.procs", "cgroup.subtree_control", "cgroup.controllers"):
            (path / file).touch(0o644 if ours else 0o444)
        if not ours:
            path.chmod(0o555)
        return str(path)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_without_systemd_a_group_that_is_ours_to_write_is_delegated(tree: Tree) -> None:
    assert cgroups.delegated(ours := tree.group("a")) == ours
    assert cgroups.delegated(tree.group("b", ours=False)) == ""
    assert cgroups.delegated("") == ""


def test_a_unit_of_systemd_must_be_delegated(tree: Tree) -> None:
    scope = tree.group("user.slice/x.scope")
    below = tree.group("user.slice/x.scope/mine")
    assert (cgroups.delegated(scope), cgroups.delegated(below)) == ("", "")
    tree.marked.add(scope)
    assert (cgroups.delegated(scope), cgroups.delegated(below)) == (scope, below)


def test_that_systemd_of_the_user_has_its_unit_makes_none_of_its_units_ours(tree: Tree) -> None:
    tree.marked.add(tree.group("user@1.service"))
    assert cgroups.delegated(tree.group("user@1.service/app.slice/terminal.scope")) == ""


def test_those_who_had_to_make_room_find_the_group_above(tree: Tree) -> None:
    ours = tree.group("a")
    assert cgroups.delegated(tree.group(f"a/{cgroups.LEAF}")) == ours


@pytest.mark.parametrize(
    ("mountinfo", "found"),
    [
        ("1 2 0:1 / /proc rw - proc proc rw\n", None),
        ("1 2 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", ("/sys/fs/cgroup/unified", "/")),
        ("1 2 0:1 /user\\040s /a\\134b\\040c rw shared:1 - cgroup2 x rw\n", ("/a\\b c", "/user s")),
        ("1 2 0:1 /part /a rw - cgroup2 x rw\n1 2 0:1 / /b rw - cgroup2 x rw\n", ("/b", "/")),
    ],
)
def test_where_the_hierarchy_is_mounted(
    mountinfo: str, found: tuple[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(mountinfo)
    real = open
    monkeypatch.setattr(
        "builtins.open",
        lambda name, *rest, **more: real(
            tmp_path / "mountinfo" if name == "/proc/self/mountinfo" else name, *rest, **more
        ),
    )
    assert cgroups.find_mount() == found


def test_what_a_group_counts(tmp_path: Path) -> None:
    for name, text in {
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        "memory.current": "4096\n",
        "memory.max": "max\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n",
        "pids.current": "3\n",
        "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n",
        "io.pressure": "some avg10=0.10 avg60=0 avg300=0 total=1\nfull avg10=0.05 avg60=0 avg300=0 total=1\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = count(str(tmp_path))
    assert (found.cpu, found.memory, found.limit, found.read, found.written, found.pids) == (1.5, 4096, None, 11, 22, 3)
    assert found.pressure == {"cpu": (1.5, 0.0), "io": (0.1, 0.05)}
    assert count(str(tmp_path / "gone")).cpu is None


class Peer(threading.Thread):
    """A bus that takes one connection, greets, and answers each call with the next of `answers`."""

    def __init__(self, place: Path, answers: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.address = str(place / "bus")
        self.calls: list[bytes] = []
        self._answers = answers
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.address)
        self._server.listen()
        self.start()

    def run(self) -> None:
        link, _ = self._server.accept()
        greeting = b""
        while not greeting.endswith(b"BEGIN\r\n"):
            greeting += link.recv(1)
            if greeting.endswith(b"\r\n") and b"BEGIN" not in greeting:
                link.sendall(b"OK 0123\r\n")
        self.calls.append(greeting)
        for answer in self._answers:
            head = link.recv(16, socket.MSG_WAITALL)
            length, fields = struct.unpack("<I", head[4:8])[0], struct.unpack("<I", head[12:16])[0]
            self.calls.append(head + link.recv(fields + -fields % 8 + length, socket.MSG_WAITALL))
            link.sendall(answer)
        link.close()


def answer(kind: int, serial: int, text: str = "") -> bytes:
    body = bytes(Writer().string(text).data) if text else b""
    fields = struct.pack("<BB1sxI", 5, 1, b"u", serial)
    if text:
        fields += struct.pack("<BB1sxB1sx", 8, 1, b"g", 1, b"s")
    head = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 9, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


def test_a_call_over_the_bus_and_its_answers(tmp_path: Path) -> None:
    signal = answer(4, 0, "NameAcquired")
    peer = Peer(tmp_path, [signal + answer(2, 1), answer(2, 2), answer(3, 3, "no such unit")])
    bus = Bus(peer.address)
    body = Writer().string("a").array(8, [named("PIDs", "au", [7]), named("Delegate", "b", True)])
    bus.call("dest", "/path", "iface", "Member", "sa(sv)", bytes(body.data))
    with pytest.raises(KernelError, match="no such unit"):
        bus.call("dest", "/path", "iface", "Member")
    bus.close()
    assert f"AUTH EXTERNAL {str(os.geteuid()).encode().hex()}".encode() in peer.calls[0]
    sent = peer.calls[2]
    # Fields: code, signature of the value, the value; each at a multiple of eight.
    assert sent[:4] == b"l\1\0\1"
    assert b"\1\1o\0\5\0\0\0/path\0" in sent
    assert b"\6\1s\0\4\0\0\0dest\0" in sent
    assert b"\x08\1g\0\6sa(sv)\0" in sent
    assert sent.endswith(bytes(body.data))


def test_values_stand_at_their_alignment() -> None:
    data = bytes(Writer().string("a").array(8, [named("PIDs", "au", [7])]).data)
    assert data == (
        b"\1\0\0\0a\0\0\0"
        + struct.pack("<I", 24) + bytes(4)
        + b"\4\0\0\0PIDs\0" + b"\2au\0" + bytes(3) + b"\4\0\0\0" + b"\7\0\0\0"
    )  # fmt: skip


def test_a_bus_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="No such file"):
        Bus(str(tmp_path / "nothing"))
