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
