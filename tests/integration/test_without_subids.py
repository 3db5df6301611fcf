"""One user id (HOSTILE 33): what works then, the one warning, and images that are used with one id and with many."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rootless.kernel.idmaps import default_user_map
from tests.support.command import Rootless, executable
from tests.support.hosts import ENTRY, OddHost
from tests.support.images import add_directory, add_file, busybox_layer, docker_archive
from tests.support.layers import make_image
from tests.support.pulling import OPEN, registry
from tests.support.registry import Registry

__all__ = ["registry"]

QUIET = ("--network", "none")


def with_one_id(rl: Rootless, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command where no_new_privs takes newuidmap its power away."""
    return subprocess.run(
        ["setpriv", "--no-new-privs", executable(), *args],
        env={**rl.environment, **more},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def warned(done: subprocess.CompletedProcess[str], reason: str = "no_new_privs") -> bool:
    """Whether it worked, with exactly one warning, which names cause and remedy."""
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning:") == 1, done.stderr
    return reason in done.stderr and "`rootless doctor`" in done.stderr


@pytest.fixture
def many_ids() -> None:
    base = default_user_map()
    if base.single:
        pytest.skip(f"needs subordinate ids: {base.reason}")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """An archive of an image in which another user than root has files that nobody else may read."""
    return docker_archive(tmp_path / "private.tar", [busybox_layer(), private_layer()], names=["private:latest"])


def private_layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add_directory(tar, "private", 0o700, 1000, 1000)
        add_file(tar, "private/file", b"content\n", 0o600, 1000, 1000)
    return out.getvalue()


def test_every_command_that_makes_something_of_ids_warns_once_and_the_others_do_not(
    fresh: Rootless, busybox: Path, image: str, tmp_path: Path
) -> None:
    assert warned(with_one_id(fresh, "load", "-i", str(busybox)))
    with open(tmp_path / "rootfs.tar", "wb") as file:
        file.write(busybox_layer())
    assert warned(with_one_id(fresh, "import", "-q", str(tmp_path / "rootfs.tar"), "imported"))
    done = with_one_id(fresh, "run", "--rm", "imported", "sh", "-c", "id -u; id -G; stat -c %u /home/alice")
    assert warned(done)
    assert done.stdout == "0\n0\n0\n"
    assert warned(with_one_id(fresh, "create", "--name", "c", *QUIET, image, "sh", "-c", "echo said; exec sleep 100"))
    assert warned(with_one_id(fresh, "create", "--name", "e", *QUIET, image, "true"))
    assert warned(with_one_id(fresh, "start", "c", "e"))
    assert warned(with_one_id(fresh, "restart", "-t", "0", "c", "e"))
    assert warned(with_one_id(fresh, "run", "-d", "--name", "d", *QUIET, image, "sleep", "100"))
    time.sleep(0.2)
    for words in (
        ("ps",),
        ("images",),
        ("logs", "c"),
        ("exec", "c", "id"),
        ("inspect", "c"),
        ("image", "inspect", image),
        ("stop", "-t", "0", "c"),
        ("rm", "-f", "-t", "0", "c", "d", "e"),
        ("rmi", "-a"),
    ):
        done = with_one_id(fresh, *words)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_drivers_work_with_one_id(empty_each_driver: Rootless, busybox: Path, image: str) -> None:
    rl = empty_each_driver
    assert with_one_id(rl, "load", "-q", "-i", str(busybox)).returncode == 0
    script = "echo new > /home/alice/x; rm -r /srv; mkdir /srv; touch /srv/y; stat -c %u /home/alice/x; ls /srv"
    done = with_one_id(rl, "run", "--name", "c", *QUIET, image, "sh", "-c", script)
    assert warned(done)
    assert done.stdout == "0\ny\n"
    assert with_one_id(rl, "rm", "c").returncode == 0


def test_another_user_is_refused_with_the_way_out(fresh: Rootless, busybox: Path, image: str) -> None:
    with_one_id(fresh, "load", "-q", "-i", str(busybox))
    for user in ("1000", "alice", "5:5"):
        done = with_one_id(fresh, "run", "--rm", *QUIET, "-u", user, image, "id")
        assert (done.returncode, done.stdout) == (125, "")
        assert "containers have one user and one group here, those of root" in done.stderr
        assert "hint: leave --user out" in done.stderr


def malformed(place: Path) -> None:
    for name in ("newuidmap", "newgidmap"):
        (place / name).chmod(0o755)


@pytest.mark.parametrize(
    ("subids", "tools", "reason"),
    [
        ("", None, "no subordinate ids that can be used for"),
        ("somebodyelse:2000:60000\n", None, "in /etc/subuid"),
        (f"{os.getuid()}:x:y\n{os.getuid()}:5\njunk\n{os.getuid()}:99999999999:5\n", None, "in /etc/subuid"),
        (ENTRY, malformed, "newuidmap is neither set-user-ID root nor has it file capabilities"),
    ],
)
def test_hosts_that_give_no_ids(
    fresh: Rootless,
    tmp_path: Path,
    busybox: Path,
    image: str,
    subids: str,
    tools: Callable[[Path], None] | None,
    reason: str,
) -> None:
    host = OddHost(fresh, tmp_path / "hosts", subids=subids, tools=tools)
    for words, output in (
        (("load", "-q", "-i", str(busybox)), f"Loaded image: {image}\n"),
        (("run", "--rm", *QUIET, image, "id", "-u"), "0\n"),
    ):
        done = subprocess.CompletedProcess(words, *host(*words))
        assert warned(done, reason)
        assert done.stdout == output


def test_overlapping_ranges_give_the_ids_that_they_hold_together(
    fresh: Rootless, tmp_path: Path, busybox: Path, image: str
) -> None:
    us = os.getuid()
    host = OddHost(fresh, tmp_path / "hosts", subids=f"{us}:2000:3000\n{us}:2500:3000\n{us}:bad:1\n")
    assert host("load", "-q", "-i", str(busybox))[::2] == (0, "")
    script = "id -u; stat -c %u /home/alice; awk '{ n += $3 } END { print n }' /proc/self/uid_map"
    assert host("run", "--rm", *QUIET, "-u", "1000", image, "sh", "-c", script) == (0, "1000\n1000\n3501\n", "")


def test_without_newuidmap_in_the_path(fresh: Rootless, busybox: Path, image: str, tmp_path: Path) -> None:
    load = fresh("load", "-q", "-i", str(busybox), env={"PATH": str(tmp_path)})
    run = fresh("run", "--rm", *QUIET, image, "id", "-u", env={"PATH": str(tmp_path)})
    assert warned(load, "newuidmap is not installed")
    assert warned(run, "newuidmap is not installed")
    assert run.stdout == "0\n"


# One store, used with one id and with many


def owner(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_image_loaded_with_one_id_has_its_owners_once_there_are_many(
    empty_each_driver: Rootless, private: Path, many_ids: None
) -> None:
    rl = empty_each_driver
    run = ("run", "--rm", *QUIET, "private", "stat", "-c", "%u", "/private/file")
    with_one_id(rl, "load", "-q", "-i", str(private))
    assert owner(with_one_id(rl, *run)) == "0"
    assert owner(rl(*run)) == "1000"
    assert owner(with_one_id(rl, *run)) == "0"
    rl("rmi", "private")
    assert os.listdir(rl.root / "layers") == []


def test_an_image_loaded_with_many_ids_works_with_one(
    empty_each_driver: Rootless, busybox: Path, image: str, many_ids: None
) -> None:
    rl = empty_each_driver
    run = ("run", "--rm", *QUIET, image, "sh", "-c", "echo > /home/alice/x; stat -c %u /home/alice")
    rl("load", "-q", "-i", str(busybox))
    assert owner(with_one_id(rl, *run)) == "0"
    assert owner(rl(*run)) == "1000"


def test_files_that_one_id_may_not_read_are_an_error_until_the_image_is_loaded_again(
    fresh: Rootless, private: Path, many_ids: None
) -> None:
    fresh("load", "-q", "-i", str(private))
    run = ("run", "--rm", *QUIET, "private", "cat", "/private/file")
    done = with_one_id(fresh, *run)
    assert (done.returncode, done.stdout) == (125, "")
    assert "it was unpacked with subordinate ids" in done.stderr
    assert "load the image again" in done.stderr
    assert fresh.out("ps", "-aq") == ""
    assert os.listdir(fresh.root / "tmp") == []
    with_one_id(fresh, "load", "-q", "-i", str(private))
    assert with_one_id(fresh, *run).stdout == "content\n"
    assert fresh.out(*run) == "content"


@pytest.mark.parametrize("first", ["one", "many"])
def test_a_pulled_image_is_unpacked_again_from_what_was_pulled(
    fresh: Rootless, registry: Registry, first: str, many_ids: None
) -> None:
    name = registry.push(f"ids/{first}", make_image([busybox_layer(), private_layer()]))
    run = ("run", "--rm", *QUIET, name, "stat", "-c", "%u", "/private/file")
    if first == "one":
        assert warned(with_one_id(fresh, "pull", "-q", OPEN, name))
        assert owner(fresh(*run)) == "1000"
    else:
        fresh("pull", "-q", OPEN, name)
    done = with_one_id(fresh, *run)
    assert warned(done)
    assert owner(done) == "0"


def test_an_image_removed_with_one_id_is_cleared_away_when_there_are_many(
    fresh: Rootless, private: Path, busybox: Path, many_ids: None
) -> None:
    fresh("load", "-q", "-i", str(private))
    done = with_one_id(fresh, "rmi", "private")
    assert (done.returncode, done.stderr) == (0, "")
    assert with_one_id(fresh, "load", "-q", "-i", str(busybox)).returncode == 0
    fresh("load", "-q", "-i", str(private))
    assert os.listdir(fresh.root / "tmp") == []


def test_a_container_of_many_ids_that_cannot_be_removed_with_one_says_so_and_goes_later(
    fresh: Rootless, busybox: Path, image: str, many_ids: None
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    script = "mkdir /mine; touch /mine/x; chmod 700 /mine; chown -R 1000:1000 /mine"
    fresh("run", "--name", "c", *QUIET, image, "sh", "-c", script)
    done = with_one_id(fresh, "rm", "c")
    assert done.returncode == 125
    assert "an id that is not mapped now" in done.stderr
    fresh("rm", "c", check=False)
    assert fresh.out("ps", "-aq") == ""
    assert os.listdir(fresh.root / "containers") == []
