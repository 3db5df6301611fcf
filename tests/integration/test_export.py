"""`export`: the files of a container as a tar that every tool reads, and of which `import` makes the same tree."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.command import Rootless, executable
from tests.support.trees import described, exported

NONE = ("--network", "none")
SCRIPT = """
    mkdir -p /srv/made/deep; echo hi > /srv/made/deep/file; ln /srv/made/deep/file /srv/made/again
    ln -s ../nowhere /srv/made/link; mkfifo /srv/made/fifo; chown 1000:10 /srv/made/again; chmod 4750 /srv/made/again
    mkdir -m 1777 /srv/made/open; chown 65000:65001 /srv/made/open; touch -d '1969-12-31 23:00:00' /srv/made/old
    rm /etc/group; rm -r /home; mkdir /home; echo f > /home/new; chmod 711 /
    echo text > "/srv/made/$(printf 'long%.0s' $(seq 60))"; echo > "$(printf '/srv/made/\\303\\244 \\377')"
    truncate -s 3000000 /srv/made/sparse; echo end >> /srv/made/sparse
"""


def test_what_is_exported_is_imported_as_the_same_tree(each_driver: Rootless, image: str, tmp_path: Path) -> None:
    rl = each_driver
    rl("run", "--name", "c", *NONE, "--tmpfs", "/scratch", "-v", "/volume", image, "sh", "-ec", SCRIPT)
    path = tmp_path / "tree.tar"
    rl("export", "-o", str(path), "c")
    tree = described(path.read_bytes())
    assert exported(rl, "c") == path.read_bytes()
    assert {"etc/passwd", "home/new", "scratch", "volume", "srv/made/deep/file", "bin/busybox"} <= {*tree}
    assert "etc/group" not in tree
    assert "home/alice" not in tree
    assert tree["."][1:4] == ("0o711", (0, 0), "0")
    assert tree["srv/made/again"][:3] == (tarfile.REGTYPE, "0o4750", (1000, 10))
    assert tree["srv/made/deep/file"][0] == tarfile.LNKTYPE
    assert tree["srv/made/open"][1:3] == ("0o1777", (65000, 65001))
    assert tree["srv/made/old"][3] == "-3600"
    rl("import", "-q", str(path), "imported:1")
    rl("create", "--name", "again", *NONE, "imported:1", "true")
    assert described(exported(rl, "again")) == tree


def test_names_are_sorted_and_tools_read_it(rl: Rootless, image: str, tmp_path: Path) -> None:
    need("bsdtar")
    rl("create", "--name", "c", *NONE, image)
    path = tmp_path / "tree.tar"
    rl("export", "--output", str(path), "c")
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert names == sorted(names, key=lambda name: name.split("/"))
    for tool in (["tar", "-t", "-f"], ["bsdtar", "-t", "-f"]):
        listed = subprocess.run([*tool, str(path)], capture_output=True, text=True, check=True)
        assert [line.rstrip("/") for line in listed.stdout.splitlines()] == names
        assert listed.stderr == ""


def test_a_running_container_shows_what_is_in_it_now(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "60")
    rl("exec", "c", "sh", "-c", "echo now > /srv/now")
    assert described(exported(rl, "c"))["srv/now"][6] == b"now\n"


def test_attributes_travel(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image)
    upper = Path(rl.inspect("c")["GraphDriver"]["Data"]["UpperDir"])
    (upper / "file").write_text("x")
    os.setxattr(upper / "file", "user.mine", b"\0\xff=1")
    os.setxattr(upper / "file", "user.overlay.origin", b"not an image's")
    os.setxattr(upper / "file", "user.containers.override_stat", b"7:8:04755")
    (upper / "file").chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(exported(rl, "c"))) as tar:
        member = tar.getmember("file")
    assert (member.uid, member.gid, oct(member.mode)) == (7, 8, "0o4755")
    kept = {key for key in member.pax_headers if key.startswith("SCHILY")}
    assert kept == {"SCHILY.xattr.user.mine"}


def test_a_terminal_is_refused_and_files_appear_when_they_are_whole(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("create", "--name", "c", *NONE, image)
    control, terminal = pty.openpty()
    done = subprocess.run(
        [executable(), "export", "c"], stdout=terminal, stderr=subprocess.PIPE, env=rl.environment, text=True
    )
    os.close(control)
    os.close(terminal)
    assert done.returncode == 125
    assert done.stderr == "Error: refusing to export to terminal. Use -o flag or redirect\n"
    kept = tmp_path / "kept"
    kept.write_text("kept")
    assert rl("export", "-o", str(kept), "nothing", check=False).returncode == 125
    assert kept.read_text() == "kept"
    assert os.listdir(tmp_path) == ["kept"]
    assert rl("export", "-o", str(tmp_path / "no" / "file"), "c", check=False).returncode == 125


def test_a_reader_that_leaves_and_a_file_that_is_appended_to(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("create", "--name", "c", *NONE, image)
    line = 'rootless="$1"; "$rootless" export c | head -c 100 | wc -c; "$rootless" export c >> "$2"'
    path = tmp_path / "appended"
    path.write_text("before")
    done = subprocess.run(
        ["sh", "-c", line, "sh", executable(), str(path)], env=rl.environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "100"
    assert "internal" not in done.stderr
    assert path.read_bytes() == b"before" + exported(rl, "c")


@pytest.mark.parametrize("size", [1 << 40, 15 << 40])
def test_huge_files_of_nothing_cost_nothing(rl: Rootless, image: str, size: int) -> None:
    done = rl(
        "run", "--name", "c", *NONE, image, "sh", "-c", f"truncate -s {size} /huge && echo x >> /huge", check=False
    )
    if done.returncode:
        pytest.skip("the file system takes no such file")
    data = exported(rl, "c")
    assert len(data) < 20 << 20
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getmember("huge").size > 1 << 40
