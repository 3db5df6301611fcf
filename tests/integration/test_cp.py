"""`cp`: the rules of names (compared with podman 5.4: see CASES), owners, streams, volumes, states."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable

NONE = ("--network", "none")
# What each case finds at the target's side, and at the source's.
TARGETS = """
    mkdir -p d/tree taken/file; echo old > f; echo old > d/tree/kept; echo x > taken/tree
    ln -s d ld; ln -s f lf; ln -s nothing dangling
"""
SOURCES = """
    mkdir -p tree/inner; echo new > file; echo new > tree/inner/x; ln -s inner tree/link
    ln -s file lfile; ln -s tree ltree
"""
REFUSED = "refused"
# Podman 5.4 answers alike, but for what it does with links on the host, and with "tree" to "new/" (here as Docker).
# (source, target, option) -> where "new" is to be found below the target's side; what is refused changes nothing.
CASES = {
    ("file", "new", ""): "new",
    ("file", "new/", ""): REFUSED,
    ("file", "f", ""): "f",
    ("file", "f/", ""): REFUSED,
    ("file", "d", ""): "d/file",
    ("file", "d/", ""): "d/file",
    ("file", "d/.", ""): "d/file",
    ("file", "ld", ""): "d/file",
    ("file", "lf", ""): "f",
    ("file", "dangling", ""): "nothing",
    ("file", "no/new", ""): REFUSED,
    ("file", "taken", ""): REFUSED,
    ("file", "taken", "--overwrite"): "taken/file",
    ("file/", "new", ""): REFUSED,
    ("lfile", "new", ""): "new",
    ("lfile", "d", ""): "d/lfile",
    ("tree", "new", ""): "new/inner/x",
    ("tree", "new/", ""): "new/inner/x",
    ("tree", "d", ""): "d/tree/inner/x",
    ("tree", "d/", ""): "d/tree/inner/x",
    ("tree", "ld", ""): "d/tree/inner/x",
    ("tree", "f", ""): REFUSED,
    ("tree", "f", "--overwrite"): REFUSED,
    ("tree", "no/new", ""): REFUSED,
    ("tree", "taken", ""): REFUSED,
    ("tree", "taken", "--overwrite"): "taken/tree/inner/x",
    ("tree/", "d", ""): "d/tree/inner/x",
    ("tree/.", "d", ""): "d/inner/x",
    ("tree/.", "d/tree", ""): "d/tree/inner/x",
    ("tree/.", "new", ""): "new/inner/x",
    ("ltree", "d", ""): "d/ltree/inner/x",
    ("ltree/.", "d", ""): "d/inner/x",
    ("none", "d", ""): REFUSED,
}


def tar_of(*members: tuple[str, str | bytes], **more: object) -> bytes:
    """A tar of files (content as bytes) and links (their target as text); a name that ends in / is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if more.pop("gz", False) else "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            for key, value in more.items():
                setattr(info, key, value)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            elif name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def stream(rl: Rootless, *args: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([executable(), "cp", *args], input=data, capture_output=True, env=rl.environment, timeout=60)


def files_in(rl: Rootless, place: str) -> dict[str, tuple[int, int, int, bytes]]:
    """Name -> (mode, uid, gid, content or link) of all below a path of a container."""
    done = stream(rl, place, "-")
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else member.linkname.encode()
            found[member.name] = (member.mode, member.uid, member.gid, content)
        return found


def prepare(rl: Rootless, image: str, base: Path) -> None:
    """Containers `running` and `stopped`, and the host, each with trees of their own for every case."""
    script = "".join(f"mkdir -p /w/{n}/from; cd /w/{n}; {TARGETS} cd from; {SOURCES}\n" for n in range(len(CASES)))
    rl("run", "--name", "stopped", *NONE, image, "sh", "-ec", script)
    rl("run", "-d", "--name", "running", *NONE, image, "sh", "-ec", script + "touch /ready; sleep 1000")
    (base / "w").mkdir()
    subprocess.run(["sh", "-ec", script.replace("/w/", f"{base}/w/")], check=True)
    while rl("exec", "running", "test", "-e", "/ready", check=False).returncode:
        time.sleep(0.05)


def contents(rl: Rootless, place: str) -> dict[str, bytes]:
    """Path -> content of the files at a side of a copy, link -> its target."""
    if ":" in place:
        return {name.removeprefix("./"): found[3] for name, found in files_in(rl, f"{place}/.").items()}
    found = {}
    for path in Path(place).rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(place))] = os.readlink(path).encode()
        elif path.is_file():
            found[str(path.relative_to(place))] = path.read_bytes()
    return found


@pytest.mark.parametrize("way", ["into a running one", "out of a running one", "into a stopped one", "between two"])
def test_where_a_copy_goes(rl: Rootless, image: str, tmp_path: Path, way: str) -> None:
    prepare(rl, image, tmp_path)
    sides = {
        "into a running one": (f"{tmp_path}/w", "running:/w"),
        "out of a running one": ("running:/w", f"{tmp_path}/w"),
        "into a stopped one": (f"{tmp_path}/w", "stopped:/w"),
        "between two": ("stopped:/w", "running:/w"),
    }
    source, target = sides[way]
    wrong: list[object] = []
    before = {name[2:]: content for name, content in contents(rl, target).items() if name.startswith("0/")}
    for n, ((what, where, option), _) in enumerate(CASES.items()):
        words = [option] if option else []
        done = rl("cp", *words, f"{source}/{n}/from/{what}", f"{target}/{n}/{where}", check=False)
        assert done.returncode in (0, 125), done.stderr
        if (done.returncode == 125) != (CASES[what, where, option] == REFUSED):
            wrong.append((what, where, option, done.returncode, done.stderr))
    after = contents(rl, target)
    for n, (case, expected) in enumerate(CASES.items()):
        found = {name.partition("/")[2]: content for name, content in after.items() if name.startswith(f"{n}/")}
        fresh = {name for name, content in found.items() if before.get(name) != content and content == b"new\n"}
        lost = before.keys() - found.keys() - {"taken/tree"}
        if fresh != ({expected} - {REFUSED}) or lost:
            wrong.append((*case, fresh, lost))
    assert not wrong


def test_a_container_that_does_not_run_on_every_driver(each_driver: Rootless, image: str, tmp_path: Path) -> None:
    rl = each_driver
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("hello")
    rl(
        "create",
        "--name",
        "c",
        *NONE,
        "-v",
        "data:/var",
        "--user",
        "1000:10",
        image,
        "sh",
        "-c",
        "cat /srv/file /var/f",
    )
    rl("cp", f"{tmp_path}/tree/.", "c:/srv")
    rl("cp", f"{tmp_path}/tree/file", "c:/var/f")
    assert files_in(rl, "c:/srv/file")["file"] == (0o644, 1000, 10, b"hello")
    assert rl.out("start", "-a", "c") == "hellohello"
    rl("cp", "c:/var/f", f"{tmp_path}/out")
    assert (tmp_path / "out").read_text() == "hello"
    assert [line for line in rl.out("diff", "c").splitlines() if "rootless" in line] == []


def test_a_running_container_on_every_driver(each_driver: Rootless, image: str, tmp_path: Path) -> None:
    rl = each_driver
    rl("run", "-d", "--name", "c", *NONE, "-v", "data:/data", "--tmpfs", "/scratch", image, "sleep", "1000")
    (tmp_path / "file").write_text("hello")
    for place in ("/data", "/scratch", "/root", "/etc/hosts"):
        rl("cp", f"{tmp_path}/file", f"c:{place}")
    assert rl.out("exec", "c", "cat", "/data/file", "/scratch/file", "/root/file", "/etc/hosts") == "hello" * 4
    rl("pause", "c", check=False)
    rl("cp", "c:/scratch", f"{tmp_path}/back")
    assert (tmp_path / "back/file").read_text() == "hello"
    rl("unpause", "c", check=False)


def test_attributes_links_and_holes(rl: Rootless, image: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_text("x")
    os.link(tree / "deep/file", tree / "again")
    os.symlink("/etc/passwd", tree / "link")
    os.mkfifo(tree / "fifo")
    os.setxattr(tree / "deep/file", "user.note", b"kept")
    with open(tree / "holes", "wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    os.chmod(tree / "again", 0o4751)
    os.chmod(tree / "deep", 0o700)
    os.utime(tree / "deep", ns=(1, 1_000_000_001))
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "1000")
    rl("cp", str(tree), "c:/srv")
    shown = rl.out("exec", "c", "sh", "-c", "cd /srv/tree; stat -c '%n %a %h %Y' again deep; readlink link; du holes")
    lines = shown.splitlines()
    assert lines[0].split()[:3] == ["again", "4751", "2"]
    assert lines[1] == f"deep 700 {lines[1].split()[2]} 1"
    assert lines[2] == "/etc/passwd"
    assert int(lines[3].split()[0]) < 1000
    rl("cp", "c:/srv/tree", f"{tmp_path}/back")
    back = tmp_path / "back"
    assert os.getxattr(back / "deep/file", "user.note") == b"kept"
    assert os.stat(back / "again").st_ino == os.stat(back / "deep/file").st_ino
    assert (
        stat.S_IMODE(os.stat(back / "again").st_mode) == 0o751
    )  # a container's program is not to run as us for others
    assert os.stat(back / "again").st_uid == os.getuid()
    assert os.stat(back / "deep").st_mtime_ns == 1_000_000_001
    assert os.stat(back / "holes").st_blocks < 1000
    assert (back / "holes").read_bytes()[-3:] == b"end"
    assert stat.S_ISFIFO(os.stat(back / "fifo").st_mode)
    assert os.readlink(back / "link") == "/etc/passwd"


def test_owners(rl: Rootless, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    rl("run", "-d", "--name", "c", *NONE, "--user", "alice", image, "sleep", "1000")
    uid, gid = (int(rl.out("exec", "c", "id", flag)) for flag in ("-u", "-g"))
    assert uid
    rl("cp", f"{tmp_path}/file", "c:/tmp/his")
    rl("cp", "--archive=false", f"{tmp_path}/file", "c:/tmp/ours")
    assert files_in(rl, "c:/tmp/his")["his"][1:3] == (uid, gid)
    assert files_in(rl, "c:/tmp/ours")["ours"][1:3] == (0, 0)
    assert stream(rl, "-a=false", "-", "c:/tmp", data=tar_of(("third", b""), uid=7, gid=8)).returncode == 0
    assert files_in(rl, "c:/tmp/third")["third"][1:3] == (7, 8)


def test_archives_on_standard_streams(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", "ln -s /usr /usual; ln -s /nowhere /lost; sleep 1000")
    data = tar_of(("usual/x", b"1"), ("./usual/deep/y", b"2"), ("usual/", b""), ("lost/z", b"3"), gz=True)
    done = stream(rl, "-", "c:/", data=data)
    assert done.returncode == 0, done.stderr
    assert rl.out("exec", "c", "cat", "/usr/x", "/usr/deep/y", "/nowhere/z") == "123"
    assert {"deep", "deep/y"} <= {*files_in(rl, "c:/usr/deep")}
    assert [*files_in(rl, "c:/usr/deep/.")] == [".", "./y"]
    assert stream(rl, "-", "c:/etc/passwd", data=data).returncode == 125
    assert stream(rl, "-", "c:/missing", data=data).returncode == 125
    done = stream(rl, "-", "c:/tmp", data=b"no tar at all" * 100)
    assert done.returncode == 125
    assert b"not a tar archive" in done.stderr
    done = stream(rl, "-", "c:/tmp", data=tar_of(("a", b"x" * 5000))[:2048])
    assert done.returncode == 125
    assert rl.out("exec", "c", "ls", "-A", "/tmp") == ""


def test_relative_paths_begin_at_the_working_directory(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("create", "--name", "c", *NONE, "--workdir", "/srv", image, "true")
    (tmp_path / "a:b").write_text("colon")
    rl("cp", "./a:b", "c:named", cwd=tmp_path)
    rl("cp", "a:b", "c:again", cwd=tmp_path)
    assert files_in(rl, "c:/srv/named")["named"][3] == files_in(rl, "c:again")["again"][3] == b"colon"


@pytest.mark.parametrize(
    "words",
    [("a", "b"), ("-", "-"), ("-", "b"), ("nosuch:/a", "b"), ("a", "nosuch:/b"), ("c:", "b"), ("c:/dev/null", "b")],
)
def test_what_makes_no_sense(rl: Rootless, image: str, tmp_path: Path, words: tuple[str, str]) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "1000")
    done = rl("cp", *words, check=False, cwd=tmp_path)
    assert done.returncode == 125
    assert done.stderr.startswith("Error: ")
    assert not [*tmp_path.glob("b*")]


def test_a_start_waits_for_what_is_written(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image, "cat", "/srv/late")
    reader, writer = os.pipe()
    copy = rl.popen("cp", "-", "c:/srv", stdin=reader)
    os.close(reader)
    data = tar_of(("late", b"there"))
    os.write(writer, data[:512])
    time.sleep(0.5)  # it is at it; were it not, the test would pass all the same
    start = rl.popen("start", "-a", "c")
    time.sleep(0.3)
    assert start.poll() is None
    os.write(writer, data[512:])
    os.close(writer)
    assert start.communicate(timeout=30)[0] == b"there"
    assert copy.wait(timeout=30) == 0


def test_a_read_only_container_is_not_written_to(rl: Rootless, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, verb in (("up", ["run", "-d"]), ("down", ["create"])):
        rl(*verb, "--name", name, *NONE, "--read-only", "-v", "v:/data", image, "sleep", "1000")
        done = rl("cp", f"{tmp_path}/file", f"{name}:/etc/file", check=False)
        assert done.returncode == 125
        assert "ead-only" in done.stderr
        rl("cp", f"{tmp_path}/file", f"{name}:/data/{name}")
        assert files_in(rl, f"{name}:/data/{name}")[name][3] == b"x"


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_from_one_place_of_a_container_to_another(rl: Rootless, image: str, state: str) -> None:
    rl(*(["run", "-d"] if state == "running" else ["create"]), "--name", "c", *NONE, image, "sleep", "1000")
    stream(
        rl, "-", "c:/srv", data=tar_of(("a/", b""), ("a/file", b"1" * 400_000), ("a/deep/", b""), ("a/deep/x", b"2"))
    )
    rl("cp", "c:/srv/a", "c:/tmp")
    rl("cp", "c:/srv/a/deep/x", "c:/tmp/a/file")
    found = files_in(rl, "c:/tmp/a")
    assert (found["a/file"][3], found["a/deep/x"][3]) == (b"2", b"2")
    for target in ("/srv/a", "/srv/a/deep/new", "/srv/a/deep"):
        done = rl("cp", "c:/srv/a", f"c:{target}", check=False)
        assert done.returncode == 125
        assert "into itself" in done.stderr
    assert rl("cp", "c:/srv/none", "c:/tmp", check=False).returncode == 125


def test_inside_unshare(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("create", "--name", "down", *NONE, image, "true")
    rl("run", "-d", "--name", "up", *NONE, image, "sleep", "1000")
    rl("unshare", executable(), "cp", "down:/etc/passwd", f"{tmp_path}/passwd")
    assert (tmp_path / "passwd").read_text().startswith("root:")
    done = rl("unshare", executable(), "cp", "up:/etc/passwd", f"{tmp_path}/other", check=False)
    assert done.returncode == 125
    assert "outside of the user namespace" in done.stderr
