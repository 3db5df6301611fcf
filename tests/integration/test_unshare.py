"""`rootless unshare`, and root file systems mounted inside it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.command import Rootless, executable
from tests.support.images import NAME
from tests.support.leaks import assert_nothing_left

NONE = ("--network", "none")


def inside(rl: Rootless, script: str) -> subprocess.CompletedProcess[str]:
    path = f"{os.path.dirname(executable())}:{rl.environment['PATH']}"
    return rl("unshare", "sh", "-ec", script, env={"PATH": path}, check=False)


def test_a_command_is_root_over_the_ids_of_containers(rl: Rootless, image: str) -> None:
    done = inside(rl, "id -u; touch f; chown 5:6 f; stat -c %u:%g f; rm f; echo $ROOTLESS_ROOT; exit 7")
    assert (done.returncode, done.stdout.split()) == (7, ["0", "5:6", str(rl.root)])


@pytest.mark.parametrize(
    ("word", "code"), [("nothing-of-this-name", 127), ("/nothing/here", 127), ("/etc/passwd", 126)]
)
def test_what_cannot_be_executed_ends_with_the_usual_codes(rl: Rootless, word: str, code: int) -> None:
    done = rl("unshare", word, check=False)
    assert done.returncode == code
    assert word in done.stderr


def test_the_network_namespace_is_refused(rl: Rootless) -> None:
    done = rl("unshare", "--rootless-netns", "true", check=False)
    assert done.returncode == 125
    assert "not supported yet" in done.stderr


def test_the_store_works_inside(rl: Rootless, image: str) -> None:
    script = """
        rootless images -q
        rootless run -d --name inner --network none busybox sleep 60 >/dev/null
        rootless exec inner id -u
        rootless inspect inner --format '{{.State.Status}}'
        rootless ps --format '{{.Names}}'
        rootless unshare id -u
        rootless rm -f -t 0 inner
    """
    done = inside(rl, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-5:] == ["0", "running", "inner", "0", "inner"]


def test_mounting_outside_is_refused_with_the_way(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image)
    for words in (
        ("image", "mount", image),
        ("image", "mount"),
        ("mount", "c"),
        ("mount",),
        ("image", "unmount", "-a"),
    ):
        done = rl(*words, check=False)
        assert done.returncode == 125
        assert "rootless unshare" in done.stderr


def test_images_are_mounted_read_only_on_every_driver(each_driver: Rootless) -> None:
    script = f"""
        path=$(rootless image mount {NAME})
        test -x $path/bin/busybox
        ! touch $path/new 2>/dev/null
        test "$(rootless image mount {NAME})" = $path
        rootless image mount --format json
        rootless image unmount {NAME} >/dev/null
        test -z "$(rootless image mount)"
        rootless image mount --all >/dev/null
    """
    done = inside(each_driver, script)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["Names"] == [NAME]
    assert found["mountpoint"].endswith(found["id"])
    assert_nothing_left(each_driver.place, each_driver.root, each_driver.runroot)


def test_a_container_is_changed_from_outside_on_every_driver(each_driver: Rootless) -> None:
    each_driver("create", "--name", "c", *NONE, NAME, "stat", "-c", "%u:%g", "/new")
    script = """
        path=$(rootless mount c)
        touch $path/new; chown 5:6 $path/new
        rootless mount --no-trunc
        rootless unmount c
        ! rootless unmount c 2>/dev/null
        rootless mount c >/dev/null
    """
    done = inside(each_driver, script)
    assert done.returncode == 0, done.stderr
    identity, path, name = done.stdout.split()
    assert (identity, name) == (each_driver.inspect("c")["Id"], "c")
    assert path.endswith(f"{identity}/merged")
    assert each_driver.out("start", "-a", "c") == "5:6"


def test_a_mounted_container_can_be_removed(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image)
    done = inside(rl, "rootless mount c >/dev/null; rootless rm c; rootless ps -aq")
    assert (done.returncode, done.stdout) == (0, "c\n"), done.stderr


def test_a_running_container_is_mounted_read_only(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", "echo mine > /mine; sleep 60")
    rl("exec", "c", "sh", "-c", "until test -s /mine; do sleep 0.05; done")
    done = inside(rl, "path=$(rootless mount c); cat $path/mine; ! touch $path/x 2>/dev/null")
    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert "read-only" in done.stderr


def test_a_container_that_was_started_outside_is_not_entered_from_inside(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "60")
    done = inside(rl, "rootless exec c true")
    assert done.returncode == 125
    assert "outside of `rootless unshare`" in done.stderr
    assert inside(rl, "rootless stop -t 0 c").stdout == "c\n"
    assert rl.status("c") == "exited"


def test_a_container_that_was_started_inside_is_reached_from_outside(rl: Rootless, image: str) -> None:
    inside(rl, "rootless run -d --name c --network none busybox sleep 60")
    assert rl.out("exec", "c", "id", "-u") == "0"
    rl("rm", "-f", "-t", "0", "c")


def test_what_is_mounted_writable_is_written_by_nobody_else(rl: Rootless, image: str) -> None:
    """Two overlays on one upper directory are undefined: while one namespace has it, start, cp and others stay off."""
    rl("create", "--name", "c", *NONE, image, "cat", "/new")
    script = """
        path=$(rootless mount c)
        echo first > $path/new
        ! rootless start c || exit 3
        ! echo x | rootless cp - c:/ || exit 4
        echo ready; read line
    """
    path = f"{os.path.dirname(executable())}:{rl.environment['PATH']}"
    other = rl.popen("unshare", "sh", "-ec", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": path})
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"ready"
        refused = rl("start", "c", check=False)
        assert refused.returncode == 125
        assert "its files are mounted" in refused.stderr
        assert rl("restart", "c", check=False).returncode == 125
        assert "its files are mounted" in rl("cp", __file__, "c:/x", check=False).stderr
        again = inside(rl, "path=$(rootless mount c); cat $path/new; ! touch $path/x 2>/dev/null")
        assert (again.returncode, again.stdout) == (0, "first\n"), again.stderr
        assert "is mounted elsewhere: mounted read-only" in again.stderr
    finally:
        other.kill()
        other.wait()
    assert rl.out("start", "-a", "c") == "first"
    assert rl.status("c") == "exited"


def session(command: Rootless, script: str) -> subprocess.Popen[bytes]:
    """A shell in `unshare` that has run `script`, and ends with its standard input."""
    path = f"{os.path.dirname(executable())}:{command.environment['PATH']}"
    script += "\necho ready; read line"
    other = command.popen(
        "unshare", "sh", "-ec", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": path}
    )
    assert other.stdout is not None
    assert other.stdout.readline().strip() == b"ready"
    return other


def end(other: subprocess.Popen[bytes]) -> bytes:
    """Let a session go on to its end; what it said meanwhile."""
    said, _ = other.communicate(b"go\n", timeout=30)
    return said


def test_a_mount_in_one_unshare_is_known_in_another(each_driver: Rootless) -> None:
    """Neither sees the other's mounts, nor the processes that came there later."""
    each_driver("create", "--name", "c", *NONE, NAME, "true")
    other = session(each_driver, "sh -c 'rootless mount c >/dev/null'")
    shared = each_driver.inspect("c")["Driver"] in ("btrfs", "vfs")
    try:
        there = inside(each_driver, "rootless start c")
        assert there.returncode == (0 if shared else 125)
        assert shared or "its files are mounted" in there.stderr
        assert each_driver("start", "c", check=False).returncode == there.returncode
    finally:
        end(other)
    each_driver("start", "-a", "c")


def test_a_mount_counts_until_the_last_of_its_files_is_let_go(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image, "true")
    other = session(rl, "cd $(rootless mount c); exec 9>kept; cd /; rootless unmount --force c >/dev/null")
    try:
        assert "its files are mounted" in rl("start", "c", check=False).stderr
    finally:
        end(other)
    rl("start", "-a", "c")


def test_an_image_that_is_removed_stays_where_it_is_mounted(each_driver: Rootless) -> None:
    other = session(each_driver, f"path=$(rootless image mount {NAME})")
    other.kill()
    other.wait()
    script = f"path=$(rootless image mount {NAME})\necho ready; read line; cat $path/bin/busybox | wc -c; read line"
    path = f"{os.path.dirname(executable())}:{each_driver.environment['PATH']}"
    other = each_driver.popen(
        "unshare", "sh", "-ec", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": path}
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline().strip() == b"ready"
    size = each_driver.out("run", "--rm", *NONE, NAME, "stat", "-c", "%s", "/bin/busybox")
    each_driver("rmi", NAME)
    each_driver("system", "prune", "--force")
    inside(each_driver, "rootless image prune --force")
    other.stdin.write(b"go\n")
    other.stdin.flush()
    assert other.stdout.readline().decode().strip() == size
    end(other)
    each_driver("system", "prune", "--force")
    assert os.listdir(each_driver.root / "layers") == []
    assert os.listdir(each_driver.root / "leases") == []


def test_what_a_killed_image_mount_leaves_is_taken_away(fresh: Rootless) -> None:
    leases = fresh.root / "leases"
    (leases / ("a" * 16)).mkdir(parents=True)
    (leases / ("b" * 16) / "upper").mkdir(parents=True)
    (leases / ("b" * 16) / "work").mkdir()
    fresh("system", "check")
    fresh("image", "prune", "--force")
    assert os.listdir(leases) == []
