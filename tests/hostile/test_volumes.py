"""Volumes and mounts whose content, links or archives are hostile: nothing outside is read, changed or given away."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.images import add_symlink, busybox_layer, docker_archive
from tests.support.leaks import entries

NONE = ("--network", "none")
LINKS = "docker.io/me/links:1"


@pytest.fixture
def outside(rl: Rootless, tmp_path: Path) -> Iterator[Path]:
    """A directory of the host's that must stay as it is."""
    place = rl.place / f"outside-{tmp_path.name}"
    place.mkdir()
    (place / "file").write_text("mine\n")
    yield place
    assert entries(place) == ["file"]
    assert (place / "file").read_text() == "mine\n"
    assert {path.lstat().st_uid for path in (place, place / "file")} == {os.getuid()}


@pytest.fixture
def links(rl: Rootless, tmp_path: Path, outside: Path) -> str:
    """The name of an image with links: /out to the host's `outside`, /up to the directories above, /p to /proc."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add_symlink(tar, "out", str(outside))
        add_symlink(tar, "up", "../../../../.." + str(outside))
        add_symlink(tar, "p", "/proc")
    path = docker_archive(tmp_path / "links.tar", [busybox_layer(), out.getvalue()], names=[LINKS])
    rl("load", "-q", "-i", str(path))
    return LINKS


def run(rl: Rootless, *words: str) -> str:
    return rl.out("run", "--rm", *NONE, *words)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


def write(path: Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            tar.addfile(member)
    return str(path)


KINDS = ("up", "absolute-link", "hard-link", "hard-link-up", "cut", "garbage", "empty", "file-above")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_damaged_or_leads_out_changes_nothing(
    rl: Rootless, image: str, outside: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "t.tar"
    good = entry("good")
    if kind == "up":
        write(path, good, entry(f"../../../../../..{outside}/evil"))
    elif kind == "absolute-link":
        write(path, good, entry("l", tarfile.SYMTYPE, "x/../../../y"), entry("l", tarfile.LNKTYPE, "../../etc/passwd"))
    elif kind == "hard-link":
        write(path, good, entry("h", tarfile.LNKTYPE, f"{outside}/file"))
    elif kind == "hard-link-up":
        write(path, good, entry("h", tarfile.LNKTYPE, f"../../../../../..{outside}/file"))
    elif kind == "file-above":
        write(path, good, entry("good/below"))
    elif kind == "cut":
        path.write_bytes(Path(write(path, good, entry("x" * 200))).read_bytes()[:1200])
    else:
        path.write_bytes(b"not a tar archive" * 1000 if kind == "garbage" else b"")
    rl("volume", "create", "v")
    before = Path(rl.out("volume", "inspect", "-f", "{{.Mountpoint}}", "v"))
    done = rl("volume", "import", "v", str(path), check=False)
    assert entries(before) == []
    assert entries(rl.root / "tmp") == []
    if kind != "empty":
        assert done.returncode == 125, done
        assert "importing into v: " in done.stderr
    assert "internal error" not in done.stderr
    rl("volume", "rm", "v")


def test_links_of_an_archive_and_of_the_volume_are_not_followed(
    rl: Rootless, image: str, outside: Path, tmp_path: Path
) -> None:
    run(rl, "-v", "v:/x", image, "sh", "-c", f"ln -s {outside} /x/planted; ln -s {outside}/file /x/file")
    members = [
        entry("l", tarfile.SYMTYPE, str(outside)),
        entry("l/evil"),
        entry("planted", tarfile.DIRTYPE),
        entry("planted/evil"),
        entry("file"),
        entry("null", tarfile.CHRTYPE),
    ]
    done = rl("volume", "import", "v", write(tmp_path / "t.tar", *members))
    assert "1 devices or attributes could not be made" in done.stderr
    assert run(rl, "-v", "v:/x", image, "sh", "-c", "stat -c %F /x/planted /x/file; ls /x/planted").split("\n") == [
        "directory",
        "regular empty file",
        "evil",
    ]
    rl("volume", "rm", "v")


def test_archives_may_be_deep(rl: Rootless, image: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.tar", entry("d/" * 1500 + "f"))
    rl("volume", "create", "v")
    rl("volume", "import", "v", path)
    again = rl("volume", "import", "v", path, check=False)
    assert again.returncode == 125
    assert "more than 200 levels of directories" in again.stderr
    given = rl("run", "--rm", *NONE, "-v", "v:/x:U", image, "true", check=False)
    assert given.returncode == 125
    assert "more than 200 levels of directories" in given.stderr
    rl("volume", "rm", "v")


def test_u_gives_away_neither_home_through_a_volume_nor_the_store(rl: Rootless, links: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(rl.root)
    home = rl.environment["HOME"]
    rl("volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", f"device={home}", "home")
    for source in ("home", str(rl.root), str(rl.place), str(rl.root / "layers"), str(link)):
        done = rl("run", "--rm", *NONE, "-u", "5", "-v", f"{source}:/x:U", links, "true", check=False)
        assert (done.returncode, "U would give all of" in done.stderr) == (125, True), source
    for path in (Path(home), rl.root, rl.place, rl.root / "layers"):
        assert path.lstat().st_uid == os.getuid()
    rl("volume", "rm", "home")
    rl("volume", "create", "mine")
    data = rl.out("volume", "mount", "mine")
    assert run(rl, "-u", "5", "-v", f"{data}:/x:U", links, "stat", "-c", "%u", "/x") == "5"
    rl("volume", "rm", "mine")


def test_u_follows_no_link_and_enters_no_other_mount(rl: Rootless, image: str, outside: Path, tmp_path: Path) -> None:
    place = rl.place / f"given-{tmp_path.name}"
    place.mkdir()
    (place / "directory").symlink_to(outside)
    (place / "file").symlink_to(outside / "file")
    assert run(rl, "-u", "5", "-v", f"{place}:/x:U", image, "stat", "-c", "%u", "/x", "/x/file") == "5\n5"
    run(rl, "-v", f"{place}:/x:U", image, "true")
    assert {path.lstat().st_uid for path in (place, place / "file")} == {os.getuid()}


def test_u_while_the_tree_changes_underneath(rl: Rootless, image: str, outside: Path, tmp_path: Path) -> None:
    swap = f"mkdir d; touch d/file; while :; do mv d e; ln -s {outside} d; rm d; mv e d; done"
    rl("run", "-d", "--name", "racer", *NONE, "-v", "v:/x", "-w", "/x", image, "sh", "-c", swap)
    wait_until(lambda: rl("exec", "racer", "test", "-e", "/x/e", check=False).returncode == 0)
    for user in ("5", "0") * 4:
        done = rl("run", "--rm", *NONE, "-u", user, "-v", "v:/x:U", image, "true", check=False)
        assert done.returncode in (0, 125), done
        assert "internal error" not in done.stderr
    rl("rm", "-f", "-t", "0", "racer")
    rl("volume", "rm", "v")


@pytest.mark.parametrize("subpath", ["out", "../../../../../..", "/", "deep/out", "proc"])
def test_a_part_of_a_volume_is_never_outside_of_it(rl: Rootless, image: str, outside: Path, subpath: str) -> None:
    script = "cd /x; mkdir deep; ln -s / out; ln -s ../../../../../.. deep/out; ln -s /proc/1/root proc; touch here"
    run(rl, "-v", "v:/x", image, "sh", "-ec", script)
    words = ("run", "--rm", *NONE, "--mount", f"type=volume,src=v,dst=/x,subpath={subpath}", image, "ls", "/x")
    done = rl(*words, check=False)
    if subpath == "proc":
        assert done.returncode == 125
        assert "Too many levels of symbolic links" in done.stderr, "it leads to itself, not to the host's /proc"
    else:
        assert done.stdout.split() == ["deep", "here", "out", "proc"]
    rl("volume", "rm", "v")


def test_a_part_of_an_image_is_never_outside_of_it(rl: Rootless, image: str, links: str, outside: Path) -> None:
    for subpath in ("/out", "/up"):
        done = rl(
            "run",
            "--rm",
            *NONE,
            "--mount",
            f"type=image,src={links},dst=/x,subpath={subpath}",
            image,
            "ls",
            check=False,
        )
        assert done.returncode == 125
        assert "there is no such path in it" in done.stderr
    rl("rmi", links)


@pytest.mark.parametrize("place", ["/out", "/up/sub", "/out/../../../../x"])
def test_destinations_through_links_of_the_image_stay_inside(
    rl: Rootless, links: str, outside: Path, place: str
) -> None:
    (source := rl.place / f"source-{outside.name}").mkdir()
    (source / "shown").write_text("1")
    for words in (
        ("-v", f"{source}:{place}:O"),
        ("-v", f"{source}:{place}"),
        ("--mount", f"type=image,src={links},dst={place}"),
        ("--mount", f"type=ramfs,dst={place}"),
        ("--tmpfs", place),
        ("-v", f"v:{place}"),
        ("--mount", f"type=glob,src={source}/*,dst={place}"),
    ):
        run(rl, *words, links, "true")
        assert entries(outside) == ["file"]
    rl("volume", "rm", "v")
    rl("rmi", links)


def test_nothing_is_copied_from_where_a_link_leaves_the_image(rl: Rootless, links: str, outside: Path) -> None:
    for words in (("--tmpfs", "/p/sys"), ("-v", "v:/p/fs"), ("--tmpfs", "/p")):
        done = rl("run", "--rm", *NONE, *words, links, "ls", words[-1].partition(":")[2] or words[-1], check=False)
        assert done.stdout == "", done
        assert "internal error" not in done.stderr
    rl("volume", "rm", "-f", "v")
    rl("rmi", links)


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.45, 0.6])
def test_killed_while_files_come_in(rl: Rootless, image: str, tmp_path: Path, delay: float) -> None:
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(4000):
            member = tarfile.TarInfo(f"d{number % 40}/f{number}")
            member.size, member.uid = 3000, 1000
            tar.addfile(member, io.BytesIO(b"x" * 3000))
    rl("volume", "create", "v")
    for words in (("import", "v", str(path)), ("create", "-d", "image", "-o", f"image={image}", "copy")):
        process = rl.popen("volume", *words)
        time.sleep(delay)  # wherever it has come by then
        process.kill()
        process.communicate()
    rl("volume", "import", "v", str(path))
    rl("volume", "create", "--ignore", "-d", "image", "-o", f"image={image}", "copy")
    script = "cat /x/*/* | wc -c; ls /c/bin/busybox"
    assert run(rl, "-v", "v:/x", "-v", "copy:/c", image, "sh", "-c", script) == f"{4000 * 3000}\n/c/bin/busybox"
    wait_until(lambda: entries(rl.root / "tmp") == [], what="what the killed ones left is swept")
    rl("volume", "rm", "v", "copy")
