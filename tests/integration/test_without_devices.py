"""Hosts that lack device nodes (HOSTILE 34): what can work does, the rest says what is missing and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.hosts import OddHost, hide_devices


def without(fresh: Rootless, tmp_path: Path, busybox: Path, device: str) -> OddHost:
    if not os.path.exists("/dev/" + device):
        pytest.skip(f"needs a /dev/{device} to hide")
    host = OddHost(fresh, tmp_path / "hosts", prepare=hide_devices(tmp_path, device))
    assert host("load", "-q", "-i", str(busybox))[0] == 0
    return host


def test_without_tun_a_network_is_refused_with_the_commands_that_mend_it(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    host = without(fresh, tmp_path, busybox, "net/tun")
    for options in ((), ("-d",), ("-d", "-p", "80")):
        code, output, errors = host("run", "--rm", *options, image, "id")
        assert (code, output) == (125, "")
        assert "/dev/net/tun" in errors
        assert "modprobe tun" in errors
        assert "--network none" in errors
    assert host("ps", "-aq")[1] == ""


@pytest.mark.parametrize("network", ["none", "host"])
def test_without_tun_the_other_networks_work(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str, network: str
) -> None:
    host = without(fresh, tmp_path, busybox, "net/tun")
    assert host("run", "--rm", "--network", network, image, "echo", "works") == (0, "works\n", "")


def test_without_fuse_overlays_work_and_the_fuse_driver_says_why_not(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    host = without(fresh, tmp_path, busybox, "fuse")
    for driver in ("overlay", "vfs"):
        done = host("--storage-driver", driver, "run", "--rm", "--network", "none", image, "echo", "works")
        assert done == (0, "works\n", "")
    run = ("run", "--rm", "--network", "none", image, "true")
    code, _, errors = host("--storage-driver", "fuse-overlayfs", *run)
    assert code == 125
    assert "storage driver fuse-overlayfs: /dev/fuse is not there" in errors
    assert "modprobe fuse" in errors
    assert host("ps", "-aq")[1] == ""
