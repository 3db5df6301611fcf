"""Volumes made with options, of an image, of a directory of the user's, and in memory; how they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.leaks import entries

NONE = ("--network", "none")


def run(rl: Rootless, *words: str) -> str:
    return rl.out("run", "--rm", *NONE, *words)


def create(rl: Rootless, name: str, *options: str) -> None:
    rl("volume", "create", *(word for option in options for word in ("--opt", option)), name)


def shown(rl: Rootless, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(rl.out("volume", "inspect", name))[0]
    return found


@pytest.fixture
def rl(fresh: Rootless, busybox: Path) -> Rootless:
    fresh("load", "-q", "-i", str(busybox))
    return fresh


def test_an_owner_of_its_own(rl: Rootless, image: str) -> None:
    create(rl, "own", "o=uid=5,gid=6")
    found = shown(rl, "own")
    assert (found["UID"], found["GID"], found["NeedsChown"], found["NeedsCopyUp"]) == (5, 6, False, True)
    script = "stat -c %u:%g /home /home/alice"
    assert run(rl, "-u", "9", "-v", "own:/home", image, "sh", "-c", script) == "5:6\n1000:1000"
    assert shown(rl, "own")["NeedsCopyUp"] is False


@pytest.mark.parametrize("option", ["nocopy", "o=nocopy"])
def test_nothing_is_copied_into_it(rl: Rootless, image: str, option: str) -> None:
    create(rl, "bare", option)
    assert shown(rl, "bare")["NeedsCopyUp"] is False
    assert run(rl, "-v", "bare:/home", image, "ls", "/home") == ""


def test_memory_is_each_containers_own(rl: Rootless, image: str) -> None:
    create(rl, "memory", "type=tmpfs", "device=tmpfs", "o=size=1m,mode=0700,noexec")
    script = "stat -c %a /home; ls /home; touch /home/new; grep ' /home ' /proc/mounts"
    for _ in range(2):
        said = run(rl, "-v", "memory:/home", image, "sh", "-c", script).split("\n")
        assert said[:2] == ["700", "alice"]
        assert said[2].startswith("tmpfs /home tmpfs rw,nosuid,nodev,noexec")
        assert "size=1024k" in said[2]
    for form in (("-v", "memory:/x:O"), ("--mount", "type=volume,src=memory,dst=/x,subpath=a")):
        done = rl("run", "--rm", *NONE, *form, image, "true", check=False)
        assert done.returncode == 125
        assert "it is in memory" in done.stderr


def test_a_directory_of_the_users(rl: Rootless, image: str, tmp_path: Path) -> None:
    place = tmp_path / "site"
    place.mkdir()
    create(rl, "site", "type=none", "o=bind", f"device={place}")
    create(rl, "looked-at", "type=none", "o=bind,ro", f"device={place}")
    run(rl, "-v", "site:/home", image, "sh", "-c", "test -d /home/alice && echo mine > /home/f")
    assert (place / "f").read_text() == "mine\n"
    assert run(rl, "-v", "looked-at:/x", image, "sh", "-c", "touch /x/g 2>/dev/null || cat /x/f") == "mine"
    rl("volume", "rm", "site")
    assert (place / "f").exists(), "the directory is the user's"
    (place / "f").unlink()
    (place / "alice").rmdir()
    place.rmdir()
    done = rl("run", "--rm", *NONE, "-v", "looked-at:/x", image, "true", check=False)
    assert done.returncode == 125
    assert "is not there any more" in done.stderr


def test_a_copy_of_an_image_that_several_containers_write_to(rl: Rootless, image: str) -> None:
    rl("volume", "create", "-d", "image", "-o", f"image={image}", "tools")
    found = shown(rl, "tools")
    assert (found["Driver"], found["Options"], found["NeedsChown"]) == ("image", {"image": image}, False)
    run(rl, "-u", "0", "-v", "tools:/x", image, "sh", "-c", "echo 1 > /x/new; rm -r /x/srv")
    assert run(
        rl, "-v", "tools:/y", image, "sh", "-c", "cat /y/new; stat -c %u /y/home/alice; ls -d /y/srv 2>&1 || :"
    ) == ("1\n1000\nls: /y/srv: No such file or directory")
    assert run(rl, image, "ls", "-d", "/srv") == "/srv"
    rl("volume", "rm", "tools")
    assert entries(rl.root / "volumes") == entries(rl.root / "tmp") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "o=size=10m"), "only root may set"),
        (("-o", "o=inodes=10"), "only root may set"),
        (("-o", "type=nfs", "-o", "device=:/x"), "only root may mount that"),
        (("-o", "device=/tmp"), "without a type"),
        (("-o", "type=none", "-o", "o=bind", "-o", "device=/no/such"), "no such directory"),
        (("-o", "type=none", "-o", "o=bind", "-o", "device=here"), "not an absolute path"),
        (("-o", "type=none", "-o", "o=bind,uid=5", "-o", "device=/tmp"), "keeps its owner"),
        (("-o", "type=tmpfs", "-o", "o=fast"), "o=fast: not known"),
        (("-o", "bogus=1"), "'bogus' is not known"),
        (("-o", "type=tmpfs", "-o", "type=tmpfs"), "given twice"),
        (("-o", "o=uid=root"), "not an id"),
        (("-o", "o=uid=99999999"), "giving the volume to 99999999:0"),
        (("-d", "image"), "needs an image"),
        (("-d", "image", "-o", "image=nowhere"), "there is no such image"),
        (("-d", "image", "-o", "o=uid=5", "-o", "image=busybox"), "'o' is not known"),
    ],
)
def test_options_that_are_refused_make_nothing(rl: Rootless, words: tuple[str, ...], said: str) -> None:
    done = rl("volume", "create", *words, "wrong", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert said in done.stderr
    assert rl.out("volume", "ls", "-q") == ""
    assert entries(rl.root / "volumes") == entries(rl.root / "tmp") == []


def test_filters_by_option_and_scope(rl: Rootless) -> None:
    create(rl, "memory", "type=tmpfs", "o=size=1m")
    create(rl, "plain")

    def names(*filters: str) -> list[str]:
        return rl.out("volume", "ls", "-q", *(word for text in filters for word in ("-f", text))).split()

    assert names("opt=type") == names("opt=type=tmpfs") == names("opt=o=size=1m") == ["memory"]
    assert names("opt=type=bind") == names("scope=global") == []
    assert names("scope=local") == ["memory", "plain"]


def test_an_existing_volume_stays_as_it_is(rl: Rootless) -> None:
    create(rl, "one", "type=tmpfs")
    assert rl.out("volume", "create", "--ignore", "-o", "o=uid=5", "one") == "one"
    assert shown(rl, "one")["Options"] == {"type": "tmpfs"}
    assert rl("volume", "create", "-o", "o=uid=5", "one", check=False).returncode == 125
    assert entries(rl.root / "tmp") == []


def test_where_the_files_are(rl: Rootless) -> None:
    create(rl, "plain")
    create(rl, "memory", "type=tmpfs")
    assert rl.out("volume", "mount", "plain") == str(rl.root / "volumes/plain/_data")
    assert rl.out("volume", "unmount", "plain") == "plain"
    done = rl("volume", "mount", "memory", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "rootless unshare" in done.stderr
    assert rl("volume", "mount", "nothing", check=False).returncode == 125
