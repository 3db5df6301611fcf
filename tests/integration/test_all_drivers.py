"""Containers are the same on every storage driver: what they write, remove and rename, keep, share and leave."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.support.archives import layer
from tests.support.command import Rootless, wait_until
from tests.support.filesystems import shared_bytes
from tests.support.images import busybox_layer, docker_archive
from tests.support.leaks import assert_nothing_left

IMAGE = "docker.io/me/layered:1"
NONE = ("--network", "none")


@pytest.fixture
def rl(each_driver: Rootless, tmp_path: Path) -> Rootless:
    """`each_driver` with an image whose directory /lower comes from two layers, and which has a volume."""
    layers = [
        busybox_layer(),
        layer({"lower/one": b"1\n", "lower/sub/two": b"2\n", "kept/first": b"from the image\n"}),
        layer({"lower/three": b"3\n", "lower/sub/.wh.gone": b""}),
    ]
    config: dict[str, object] = {"Env": ["PATH=/bin"], "Cmd": ["sleep", "60"], "Volumes": {"/kept": {}}}
    path = docker_archive(tmp_path / "layered.tar", layers, names=[IMAGE], config=config)
    each_driver("load", "-q", "-i", str(path))
    return each_driver


def sh(rl: Rootless, script: str, *options: str) -> str:
    return rl.out("run", "--rm", *NONE, *options, IMAGE, "sh", "-ec", script)


def test_output_exit_code_and_the_drivers_name(rl: Rootless) -> None:
    driver = rl.environment["ROOTLESS_STORAGE_DRIVER"]
    assert rl.out("info", "--format", "{{.Store.GraphDriverName}}") == driver
    assert sh(rl, "echo hi; cat /lower/*e") == "hi\n1\n3"
    assert rl("run", "--rm", *NONE, IMAGE, "sh", "-c", "exit 7", check=False).returncode == 7
    assert rl("run", "--rm", *NONE, IMAGE, "nothing", check=False).returncode == 127
    rl("create", "--name", "c", *NONE, IMAGE)
    assert rl.inspect("c")["Driver"] == driver


def test_lower_files_are_changed_removed_and_made_again(rl: Rootless) -> None:
    script = """
        echo more >> /lower/one
        rm /lower/three && test ! -e /lower/three
        mkdir /lower/three && test -z "$(ls -A /lower/three)"
        rm -r /lower/sub && mkdir /lower/sub && touch /lower/sub/new
        chown alice:alice /lower/one && chmod 4640 /lower/one
        ln /lower/one /lower/again && ln -s one /lower/link
        find /lower | sort; cat /lower/one; stat -c '%U %a %h' /lower/link /lower/again
    """
    expected = ["/lower", "/lower/again", "/lower/link", "/lower/one", "/lower/sub", "/lower/sub/new", "/lower/three"]
    assert sh(rl, script).split("\n") == [*expected, "1", "more", "root 777 1", "alice 4640 2"]
    assert sh(rl, "cat /lower/one; cd /lower; echo *; echo sub/*") == "1\none sub three\nsub/two", "for others"


def test_a_lower_directory_is_renamed(rl: Rootless) -> None:
    script = "mv /lower /upper && test ! -e /lower && find /upper | sort && cat /upper/sub/two && mv /upper /lower"
    assert sh(rl, script).split() == ["/upper", "/upper/one", "/upper/sub", "/upper/sub/two", "/upper/three", "2"]


def test_changes_are_there_in_the_next_start_and_for_exec(rl: Rootless) -> None:
    rl("run", "-d", "--name", "c", *NONE, IMAGE, "sh", "-c", "echo started >> /log; tail -f /log")
    rl("exec", "c", "sh", "-ec", "rm /lower/one; mv /lower/sub /moved; echo x > /lower/new; mkdir -m 0 /private")
    rl("exec", "-u", "alice", "-w", "/tmp", "c", "sh", "-ec", "echo mine > file")
    wait_until(lambda: rl.out("logs", "c") == "started")
    rl("stop", "-t", "0", "c")
    assert rl.status("c") == "exited"
    rl("start", "c")
    wait_until(lambda: rl.out("logs", "c").split() == ["started"] * 3)
    assert rl.out("exec", "c", "ls", "/lower", "/moved").split() == ["/lower:", "new", "three", "/moved:", "two"]
    assert rl.out("exec", "c", "stat", "-c", "%U %a", "/tmp/file", "/private").split() == ["alice", "644", "root", "0"]
    rl("rm", "-f", "-t", "0", "c")
    assert_nothing_left(rl.place, rl.root, rl.runroot)
    assert "one" in sh(rl, "ls /lower"), "the image is as it was"


def test_a_read_only_container_writes_to_its_volumes_only(rl: Rootless, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    script = """
        for place in / /lower /bin; do if touch $place/x 2>/dev/null; then echo "written: $place"; fi; done
        if rm /lower/one 2>/dev/null; then echo removed; fi
        touch /kept/x /shared/x /tmp/x /cache/x; cat /lower/one
    """
    assert sh(rl, script, "--read-only", "-v", f"{shared}:/shared", "--tmpfs", "/cache") == "1"
    assert (shared / "x").exists()


def test_volumes(rl: Rootless, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "page").write_text("hello")
    assert sh(rl, "cat /lower/page; ls /lower", "-v", f"{site}:/lower:ro") == "hellopage"
    sh(rl, "echo more > /kept/second", "-v", "data:/kept")
    assert sh(rl, "ls /other; cat /other/first", "-v", "data:/other").split("\n") == [
        "first",
        "second",
        "from the image",
    ]
    assert sh(rl, "ls /kept") == "first", "the volume of the image is new for every container"


def test_the_size_of_a_container_is_what_it_has_written(rl: Rootless) -> None:
    def size() -> tuple[int, int]:
        found = json.loads(rl.out("ps", "-a", "-s", "--format", "json"))[0]["Size"]
        return found["rwSize"], found["rootFsSize"]

    rl("create", "--name", "c", *NONE, IMAGE, "sh", "-ec", "head -c 100000 /dev/zero > /new; echo 123 >> /lower/one")
    image = rl.inspect_image(IMAGE)["Size"]
    assert size() == (0, image)
    rl("start", "-a", "c")
    assert size() == (100_006, image + 100_006)


def test_twenty_at_once_have_files_of_their_own(rl: Rootless) -> None:
    def wrote_its_own(number: int) -> bool:
        return rl.out("exec", f"c{number}", "cat", "/lower/one") == str(number)

    used = _disk_use(rl.root)
    for number in range(20):
        rl("create", "--name", f"c{number}", *NONE, IMAGE, "sh", "-c", f"echo {number} > /lower/one; sleep 60")
    names = [f"c{number}" for number in range(20)]
    starts = [rl.popen("start", name) for name in names]
    for start in starts:
        _, said = start.communicate(timeout=60)
        assert start.returncode == 0, said
    assert len(rl.out("ps", "-q").split()) == 20
    for number in (0, 7, 19):
        wait_until(partial(wrote_its_own, number))
    driver = rl.environment["ROOTLESS_STORAGE_DRIVER"]
    if driver == "btrfs":
        for directory in (rl.root / "containers").iterdir():
            shared, total = shared_bytes(str(directory / "rootfs/bin/busybox"))
            assert shared == total > 0, "layers are shared"
    elif driver != "vfs":  # whose copies cost nothing only where files can be cloned: see test_drivers
        assert _disk_use(rl.root) - used < 20 * 256, "layers are shared"
    rl("rm", "-f", "-t", "0", *names)
    assert_nothing_left(rl.place, rl.root, rl.runroot)


def _disk_use(place: Path) -> int:
    """KiB of all that we may see below `place`."""
    done = subprocess.run(["du", "-sk", str(place)], check=False, capture_output=True, text=True)
    return int(done.stdout.split()[0])


@pytest.mark.parametrize(
    "words",
    [
        ("import", "/dev/null"),
        ("images",),
        ("ps",),
        ("rmi", "-a"),
        ("volume", "ls"),
        ("info",),
        ("doctor",),
        ("version",),
    ],
    ids=" ".join,
)
def test_a_driver_that_does_not_exist_is_refused_before_anything_is_done(
    fresh: Rootless, words: tuple[str, ...]
) -> None:
    done = fresh("--storage-driver", "bogus", *words, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "storage driver 'bogus': not known" in done.stderr
    if words[0] not in ("doctor", "version"):  # which need no store
        assert fresh(*words, check=False, env={"ROOTLESS_STORAGE_DRIVER": "bogus"}).stderr == done.stderr
    assert not fresh.root.exists()
