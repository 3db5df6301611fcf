"""No home, no runtime directory, nowhere to write, no room, few descriptors, few processes (HOSTILE 28 and 32)."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rootless.kernel.mounts import MS_BIND, MS_RDONLY, MS_REMOUNT, mount
from tests.support.command import Rootless, executable, wait_until
from tests.support.hosts import OddHost

QUIET = ("--network", "none")


def without(rl: Rootless, *names: str, **others: str) -> dict[str, str]:
    return {name: value for name, value in rl.environment.items() if name not in names} | others


def run(environment: dict[str, str], *args: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [executable(), *args],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        **more,
    )


# Home and runtime directory


def test_without_home_the_store_is_in_the_home_of_the_password_file(fresh: Rootless) -> None:
    environment = without(fresh, "HOME", "ROOTLESS_ROOT")
    done = run(environment, "info", "--format", "{{.Store.GraphRoot}}", "--help")
    assert done.returncode == 0
    code = "from rootless.paths import data_root; print(data_root())"
    python = Path(executable()).with_name("python")
    for home in ({}, {"HOME": ""}, {"HOME": "not/absolute"}):
        found = subprocess.run([python, "-c", code], env=environment | home, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == pwd.getpwuid(os.getuid()).pw_dir + "/.local/share/rootless"


def test_a_home_that_cannot_be_made_is_named(fresh: Rootless) -> None:
    for home, why in (("/nonexistent/home", "Permission denied"), ("/proc/home", "No such file or directory")):
        environment = without(fresh, "ROOTLESS_ROOT", HOME=home)
        for words in (("images",), ("ps",), ("run", "busybox")):
            done = run(environment, *words)
            assert (done.returncode, done.stdout) == (125, "")
            assert done.stderr.startswith("Error: making /")
            assert why in done.stderr
            assert "--root" in done.stderr


@pytest.mark.parametrize("directory", [None, "/nonexistent", "/", "relative", ""])
def test_without_a_runtime_directory_of_ours_a_private_one_is_used(
    rl: Rootless, image: str, directory: str | None
) -> None:
    environment = without(rl, "ROOTLESS_RUNROOT", "XDG_RUNTIME_DIR")
    if directory is not None:
        environment["XDG_RUNTIME_DIR"] = directory
    done = run(environment, "run", "--rm", image, "id", "-u")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    private = os.stat(f"/tmp/rootless-run-{os.getuid()}")
    assert (private.st_uid, private.st_mode & 0o777) == (os.getuid(), 0o700)


@pytest.mark.parametrize("place", ["/root/run", "/run/nowhere", "/etc", "/proc/run", "/dev/null"])
def test_a_runtime_directory_that_cannot_be_ours_is_refused(rl: Rootless, image: str, place: str) -> None:
    done = run(without(rl, ROOTLESS_RUNROOT=place), "run", "--rm", *QUIET, image, "id")
    assert (done.returncode, done.stdout) == (125, "")
    assert place in done.stderr
    assert "--runroot" in done.stderr or "move it away" in done.stderr
    assert rl.out("ps", "-aq") == ""


@pytest.mark.parametrize("place", ["/etc", "/proc/x", "/sys/x", "/etc/passwd", "/etc/passwd/x"])
def test_a_store_that_cannot_be_ours_is_refused(rl: Rootless, place: str) -> None:
    for words in (("images",), ("run", "--rm", "busybox")):
        done = run(without(rl, ROOTLESS_ROOT=place), *words)
        assert (done.returncode, done.stdout) == (125, "")
        assert place in done.stderr
        assert "internal error" not in done.stderr


# Read-only


def test_a_store_that_became_read_only_can_be_looked_at_and_says_why_not_more(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    root = str(fresh.root)

    def lock() -> None:
        mount(root, root, None, MS_BIND)
        mount(None, root, None, MS_BIND | MS_REMOUNT | MS_RDONLY)

    before = OddHost(fresh, tmp_path / "before")
    assert before("load", "-q", "-i", str(busybox))[0] == 0
    assert before("run", "--name", "c", *QUIET, image, "echo", "said")[1] == "said\n"
    host = OddHost(fresh, tmp_path / "after", prepare=lock)
    assert host("images", "--format", "{{.Repository}}") == (0, "docker.io/library/busybox\n", "")
    assert host("ps", "-a", "--format", "{{.Names}}") == (0, "c\n", "")
    assert host("logs", "c") == (0, "said\n", "")
    for words in (
        ("run", "--rm", *QUIET, image, "id"),
        ("create", image),
        ("start", "c"),
        ("load", "-i", str(busybox)),
        ("rm", "c"),
        ("rmi", "-f", image),
    ):
        code, output, errors = host(*words)
        assert (code, output) == (125, ""), words
        assert "ead-only" in errors or "readonly" in errors, words
        assert "internal error" not in errors, words
    assert before("rm", "c")[0] == 0


# Full


def small_disk(place: Path, size: str) -> Callable[[], None]:
    us = os.getuid(), os.getgid()

    def prepare() -> None:
        mount("tmpfs", str(place), "tmpfs", 0, f"mode=700,size={size},uid={us[0]},gid={us[1]}")

    return prepare


def test_an_image_that_does_not_fit_is_refused_and_leaves_nothing(
    fresh: Rootless, tmp_path: Path, busybox: Path
) -> None:
    fresh.root.mkdir()
    host = OddHost(fresh, tmp_path / "hosts", prepare=small_disk(fresh.root, "1m"))
    for load in (f"load -i {busybox}", f"load < {busybox}", f"import {busybox} x", f"import - x < {busybox}"):
        code, output, errors = host.script(
            f"rootless {load}; code=$?; cd {fresh.root}; ls tmp layers blobs/sha256; rootless images -q; exit $code"
        )
        assert code == 125
        assert [line for line in output.splitlines() if line and not line.endswith(":")] == [], load
        assert "No space left on device" in errors, load
        assert "Error: No space" not in errors, load
        assert "hint: " in errors, load


def test_a_disk_that_a_container_has_filled_can_be_emptied(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    fresh.root.mkdir()
    host = OddHost(fresh, tmp_path / "hosts", prepare=small_disk(fresh.root, "72m"))
    fill = "dd if=/dev/zero of=/full bs=64k 2>/dev/null; exit 3"
    _, output, errors = host.script(f"""
        rootless load -q -i {busybox} >/dev/null
        rootless run --network none --name filler {image} sh -c '{fill}'; echo ran $?
        rootless run --rm --network none {image} sh -c '{fill}'; echo ran $?
        rootless ps -a --format '{{{{.Names}}}} {{{{.ExitCode}}}}'
        rootless --storage-driver vfs run --rm --network none {image} true; echo copied $?
        rootless rm -a >/dev/null; echo removed $?
        rootless run --rm --network none {image} echo works
        ls {fresh.root}/containers {fresh.root}/tmp {fresh.runroot}/containers | grep -v :
        stat -c %s {fresh.root}/reserve
    """)
    assert output.split("\n")[:2] == ["ran 3", "ran 3"], errors
    lines = [line for line in output.splitlines() if line]
    assert lines[2:] == ["filler 3", "copied 125", "removed 0", "works", str(1 << 20)], errors
    assert errors.count("Error:") == 1
    assert "No space left on device" in errors


def test_the_lifecycle_of_containers_on_a_disk_that_is_full(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    """What runs is looked at, stopped and removed; what cannot be started is refused and stays as it was."""
    fresh.root.mkdir()
    host = OddHost(fresh, tmp_path / "hosts", prepare=small_disk(fresh.root, "72m"))
    _, output, errors = host.script(f"""
        rootless load -q -i {busybox} >/dev/null
        rootless run -d --network none --name runs {image} sleep 1000 >/dev/null
        rootless run -d --rm --network none --name goes {image} sleep 1000 >/dev/null
        rootless run --network none --name ran {image} true
        rootless create --network none --name made {image} echo works >/dev/null
        cat /dev/zero > {fresh.root}/full 2>/dev/null
        for n in 0 1 2 3 4 5 6 7 8 9; do echo > {fresh.root}/full$n; done 2>/dev/null
        rootless ps -a --format '{{{{.Names}}}} {{{{.State}}}}' | sort; echo listed
        rootless exec runs echo entered
        rootless create --network none --name last {image} >/dev/null 2>&1  # has what was kept for this day
        cat /dev/zero > {fresh.root}/full-again 2>/dev/null
        rootless create --network none --name more {image}; echo created $?
        rootless start -a made; echo started $?
        rootless stop -t 0 runs goes; echo stopped $?
        rootless rm -f -t 0 runs ran; echo removed $?
        rm {fresh.root}/full*
        rootless ps -a --format '{{{{.Names}}}} {{{{.State}}}}' | grep -v last | sort
        rootless rm -f made; echo removed $?
        rootless run --rm --network none {image} echo works
        rootless rm -a -f >/dev/null
        ls {fresh.root}/containers {fresh.root}/tmp {fresh.runroot}/containers | grep -v :
    """)
    assert "internal error" not in errors, errors
    lines = [line for line in output.splitlines() if line]
    assert lines[:7] == [
        "goes running",
        "made created",
        "ran exited",
        "runs running",
        "listed",
        "entered",
        "created 125",
    ], errors
    assert "stopped 0" in lines, errors
    assert lines.count("removed 0") == 2, errors
    assert lines[-1] == "works", errors
    assert "No space left on device" in errors


def test_a_disk_without_inodes_refuses_and_can_be_emptied(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    fresh.root.mkdir()
    host = OddHost(fresh, tmp_path / "hosts", prepare=small_disk(fresh.root, "200m,nr_inodes=1000"))
    use_up = "n=0; while echo > /$n; do n=$((n+1)); done 2>/dev/null; exit 4"
    _, output, errors = host.script(f"""
        rootless load -q -i {busybox} >/dev/null
        rootless run --network none --name filler {image} sh -c '{use_up}'; echo ran $?
        rootless create {image}; echo created $?
        rootless ps -a --format '{{{{.Names}}}} {{{{.ExitCode}}}}'
        rootless rm -a >/dev/null; echo removed $?
        rootless run --rm --network none {image} echo works
    """)
    assert output == "ran 4\ncreated 125\nfiller 4\nremoved 0\nworks\n", errors
    assert errors.count("Error:") == 1
    assert "No space left on device" in errors
    assert "df -i" in errors


# Limits


def limited(what: int, number: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (number, number))


def test_64_descriptors_are_enough(fresh: Rootless, busybox: Path, image: str) -> None:
    few: Any = {"preexec_fn": limited(resource.RLIMIT_NOFILE, 64)}
    fresh("load", "-q", "-i", str(busybox), **few)
    fresh("run", "-d", "--name", "c", "-p", "80", image, "sleep", "100", **few)
    assert fresh.out("exec", "c", "id", "-u", **few) == "0"
    assert fresh.out("run", "--rm", image, "id", "-u", **few) == "0"
    assert fresh.out("save", image, **few) != ""
    fresh("rm", "-f", "-t", "0", "c", **few)
    fresh("rmi", image, **few)


def test_too_few_descriptors_are_an_error(rl: Rootless, image: str) -> None:
    for number in range(5, 20, 2):
        done = rl("run", "--rm", image, "true", check=False, preexec_fn=limited(resource.RLIMIT_NOFILE, number))
        if done.returncode == 0:
            break
        assert done.stdout == ""
        assert done.stderr, number
        assert "internal error" not in done.stderr, number
    wait_until(lambda: rl.out("ps", "-aq") == "")


def threads_of_ours() -> int:
    us = str(os.getuid())
    listed = subprocess.run(["ps", "-L", "-u", us, "--no-headers"], capture_output=True, text=True, check=True)
    return len(listed.stdout.splitlines()) - 1


def test_a_process_limit_is_named(rl: Rootless, image: str) -> None:
    seen = set()
    for more in (0, 1, 2, 3):
        limit = limited(resource.RLIMIT_NPROC, threads_of_ours() + more)
        done = rl("run", "--rm", image, "true", check=False, preexec_fn=limit)
        seen.add(done.returncode)
        if done.returncode:
            assert (done.returncode, done.stdout) == (125, "")
            assert "Resource temporarily unavailable" in done.stderr
            assert "ulimit -u" in done.stderr
    assert 125 in seen
    assert rl.out("ps", "-aq") == ""


def test_a_process_limit_is_named_by_load_too(fresh: Rootless, busybox: Path) -> None:
    for more in range(1, 9):
        limit = limited(resource.RLIMIT_NPROC, threads_of_ours() + more)
        done = fresh("load", "-q", "-i", str(busybox), check=False, preexec_fn=limit)
        if done.returncode == 0:
            break
        assert (done.returncode, done.stdout) == (125, "")
        assert "ulimit -u" in done.stderr
        assert os.listdir(fresh.root / "layers") == []
