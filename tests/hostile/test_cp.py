"""`cp` with containers that race, lead astray and hold up (HOSTILE 19): nothing of the host is read or written."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.test_cp import NONE, files_in, stream, tar_of
from tests.support.command import Rootless

# Directories and links change places as fast as they can; what the links lead to exists on the host, and in here.
SWAP = """
    mkdir -p /x/real "$HOST"; echo inside > /x/real/file; echo inside > "$HOST/file"; touch /ready
    while :; do
        mv /x/real /x/place; mv /x/place /x/real; ln -s "$HOST" /x/place; rm /x/place
        ln -s ../../../../../../"$HOST" /x/place; rm /x/place; ln -s /proc/1/root/"$HOST" /x/place; rm /x/place
    done
"""


@pytest.fixture
def racing(rl: Rootless, image: str, tmp_path: Path) -> Path:
    """A container `c` at work on /x/place; the directory of the host that its links are meant to reach."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").write_text("of the host")
    rl("run", "-d", "--name", "c", *NONE, "-e", f"HOST={host}", image, "sh", "-c", SWAP)
    while rl("exec", "c", "test", "-e", "/ready", check=False).returncode:
        time.sleep(0.05)
    return host


def test_links_that_change_while_files_come_out(rl: Rootless, racing: Path, tmp_path: Path) -> None:
    seen = set()
    for n in range(12):
        for what in ("/x/place/file", "/x/place/.", "/x"):
            done = stream(rl, f"c:{what}", "-")
            assert b"of the host" not in done.stdout
            assert b"Traceback" not in done.stderr
            seen.add(done.returncode)
        rl("cp", "c:/x", f"{tmp_path}/out{n}", check=False)
    assert 0 in seen
    assert not [path for path in tmp_path.glob("out*/**/file") if "of the host" in path.read_text()]


def test_links_that_change_while_files_go_in(rl: Rootless, racing: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/file").write_text("new")
    data = tar_of(("x/place/", b""), ("x/place/more", b"new"), ("x/place/deep/file", b"new"))
    came = 0
    for _ in range(12):
        for source, target in (("new/.", "/x/place"), ("new/file", "/x/place/file"), ("new", "/x/place/")):
            came += rl("cp", f"{tmp_path}/{source}", f"c:{target}", check=False).returncode == 0
        came += stream(rl, "--overwrite", "-", "c:/", data=data).returncode == 0
    assert came
    assert [path.name for path in racing.iterdir()] == ["file"]
    assert (racing / "file").read_text() == "of the host"


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_links_that_lead_out(rl: Rootless, image: str, tmp_path: Path, state: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    links = f"ln -s {outside} /a; ln -s ../../../..{outside} /b; ln -s /proc/self/root{outside} /c"
    links += f"; ln -s {outside}/new /d"
    rl(
        "run",
        *(["-d"] if state == "running" else []),
        "--name",
        "c",
        *NONE,
        image,
        "sh",
        "-c",
        f"{links}; touch /ready" + ("; sleep 1000" if state == "running" else ""),
    )
    while stream(rl, "c:/ready", "-").returncode:
        time.sleep(0.05)
    (tmp_path / "file").write_text("new")
    for link in "abc":
        assert rl("cp", f"c:/{link}/secret", f"{tmp_path}/got", check=False).returncode == 125
        assert rl("cp", f"{tmp_path}/file", f"c:/{link}/secret", check=False).returncode == 125
    assert rl("cp", f"{tmp_path}/file", "c:/d", check=False).returncode == 125
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "of the host"
    rl("cp", "c:/a", f"{tmp_path}/got", check=False)
    assert not (tmp_path / "got").exists()


def test_links_among_the_copied_are_not_followed_on_the_host(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", "mkdir -p /t/sub; echo new > /t/sub/file; sleep 1000")
    there, outside = tmp_path / "there", tmp_path / "outside"
    for directory in (there, outside):
        directory.mkdir()
    (there / "sub").symlink_to(outside)
    done = rl("cp", "c:/t/.", str(there), check=False)
    assert done.returncode == 125
    assert "sub is a file or link there" in done.stderr
    rl("cp", "--overwrite", "c:/t/.", str(there))
    assert (there / "sub/file").read_text() == "new\n"
    assert not [*outside.iterdir()]


@pytest.mark.parametrize(
    "name", ["../up", "a/../../up", "/../up", "ok/../../../up"], ids=lambda name: name.replace("/", "-")
)
def test_archives_with_names_that_climb(rl: Rootless, image: str, name: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "1000")
    done = stream(rl, "-", "c:/srv", data=tar_of(("fine", b"1"), (name, b"2")))
    assert done.returncode == 125
    assert b"leads out of the directory" in done.stderr
    assert rl("exec", "c", "test", "-e", "/up", check=False).returncode == 1


def test_hard_links_and_devices_of_archives(rl: Rootless, image: str) -> None:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in (
            ("disk", tarfile.BLKTYPE, ""),
            ("zero", tarfile.CHRTYPE, ""),
            ("pw", tarfile.LNKTYPE, "../etc/passwd"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor, info.devminor = kind, link, 1, 5
            tar.addfile(info)
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "1000")
    done = stream(rl, "-", "c:/srv", data=buffer.getvalue())
    assert done.returncode == 125
    assert b"leads out" in done.stderr
    done = stream(rl, "-", "c:/srv", data=buffer.getvalue()[:1024])
    assert done.returncode == 0
    assert b"2 devices were left out" in done.stderr
    assert rl.out("exec", "c", "ls", "-A", "/srv") == ""


def test_strange_files_hold_nobody_up(rl: Rootless, image: str, tmp_path: Path) -> None:
    script = "rm /etc/passwd; mkfifo /etc/passwd /srv/fifo; ln -s /srv /srv/loop; ln -s self /srv/self; sleep 1000"
    rl("run", "-d", "--name", "c", *NONE, "--user", "0", image, "sh", "-c", script)
    rl("run", "-d", "--name", "user", *NONE, "--user", "alice", image, "sleep", "1000")
    rl("exec", "-u", "0", "user", "sh", "-c", "rm /etc/passwd; mkfifo /etc/passwd")
    (tmp_path / "file").write_text("x")
    rl("cp", f"{tmp_path}/file", "c:/srv/file", timeout=20)
    done = rl("cp", f"{tmp_path}/file", "user:/tmp/file", check=False, timeout=20)
    assert done.returncode == 125
    assert "/etc/passwd of the container" in done.stderr
    rl("cp", f"{tmp_path}/file", "c:/srv/fifo", timeout=20)  # replaced, not written to
    rl("cp", "c:/srv", f"{tmp_path}/out", timeout=20)
    assert (tmp_path / "out/fifo").read_text() == "x"
    assert rl("cp", f"{tmp_path}/file", "c:/srv/self", check=False, timeout=20).returncode == 125


def test_files_that_change_while_they_are_read(rl: Rootless, image: str, tmp_path: Path) -> None:
    script = """mkdir /t; touch /t/big /ready
        while :; do
            head -c 3000000 /dev/zero > /t/big; : > /t/big; rm -rf /t/d; mkdir -p /t/d/e; echo x > /t/d/e/f
        done"""
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", script)
    while rl("exec", "c", "test", "-e", "/ready", check=False).returncode:
        time.sleep(0.05)
    for n in range(30):
        done = rl("cp", "c:/t", f"{tmp_path}/out{n}", check=False)
        assert done.returncode == 0, done.stderr


def test_killed_in_the_middle_it_leaves_the_file_that_was_there(rl: Rootless, image: str) -> None:
    for name, verb in (("up", ["run", "-d"]), ("down", ["create"])):
        rl(*verb, "--name", name, *NONE, image, "sleep", "1000")
        stream(rl, "-", f"{name}:/srv", data=tar_of(("file", b"old")))
        reader, writer = os.pipe()
        copy = rl.popen("cp", "-", f"{name}:/srv", stdin=reader)
        os.close(reader)
        os.write(writer, tar_of(("file", b"new" * 100_000))[: 60 << 10])
        time.sleep(0.4)
        copy.send_signal(signal.SIGKILL)
        copy.communicate(timeout=20)
        os.close(writer)
        assert files_in(rl, f"{name}:/srv/file")["file"][3] == b"old"


def test_a_full_disk_is_told_and_what_was_there_stays(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("run", "-d", "--name", "c", *NONE, "--tmpfs", "/small:size=1m", image, "sleep", "1000")
    (tmp_path / "big").write_bytes(b"x" * (2 << 20))
    (tmp_path / "file").write_bytes(b"old")
    rl("cp", f"{tmp_path}/file", "c:/small/old")
    for target in ("/small/old", "/small/new"):
        done = rl("cp", f"{tmp_path}/big", f"c:{target}", check=False)
        assert done.returncode == 125
        assert "No space left on device" in done.stderr
    assert {name: found[3] for name, found in files_in(rl, "c:/small/.").items()} == {".": b"", "./old": b"old"}
