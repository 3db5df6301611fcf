"""`volume export` and `volume import`: what goes out comes back the same, whatever packs it."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.archives import archive
from tests.support.command import Rootless, executable
from tests.support.leaks import entries

NONE = ("--network", "none")
FILL = """
cd /x; mkdir -p a/b 'odd name'; echo 1 > a/f; ln a/f a/again; ln -s ../f a/b/link; mkfifo pipe
chown 1000:10 a/f; chmod 4751 a/f; chmod 1777 a; echo 2 > .wh.kept; touch "odd name/$(printf 'new\\nline')"
dd if=/dev/zero of=sparse bs=1 count=1 seek=8M 2>/dev/null; chown 5:6 . && chmod 2750 .
"""


@pytest.fixture
def rl(fresh: Rootless, busybox: Path) -> Rootless:
    fresh("load", "-q", "-i", str(busybox))
    return fresh


def sh(rl: Rootless, volume: str, script: str, image: str) -> str:
    return rl.out("run", "--rm", *NONE, "-v", f"{volume}:/x", image, "sh", "-ec", script)


def test_files_come_back_as_they_went(rl: Rootless, image: str, tmp_path: Path) -> None:
    listing = "cd /x; find . -print0 | sort -z | xargs -0 stat -c '%n %F %a %u:%g %h %Y %s'; readlink a/b/link"
    sh(rl, "first", FILL, image)
    path = tmp_path / "first.tar"
    assert rl.out("volume", "export", "first", "--output", str(path)) == ""
    assert path.stat().st_size < 1 << 20, "holes are not written out"
    rl("volume", "create", "second")
    rl("volume", "import", "second", str(path))
    assert sh(rl, "second", listing, image) == sh(rl, "first", listing, image)
    again = tmp_path / "second.tar"
    rl("volume", "export", "-o", str(again), "second")
    assert again.read_bytes() == path.read_bytes()
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert {"a/b/link", ".wh.kept", "pipe"} <= set(names)
        assert tar.getmember("a/again").mode == 0o4751
        assert (tar.getmember("a/again").uid, tar.getmember("a/again").gid) == (1000, 10)
    assert entries(rl.root / "tmp") == []


@pytest.mark.parametrize("packer", ["cat", "gzip", "zstd", "xz", "bzip2"])
def test_streams_plain_and_compressed(rl: Rootless, image: str, packer: str) -> None:
    need(packer)
    sh(rl, "first", "echo 1 > /x/f", image)
    rl("volume", "create", "second")
    environment = rl.environment
    exported = subprocess.run(
        [executable(), "volume", "export", "first"], env=environment, capture_output=True, check=True
    )
    packed = subprocess.run(
        [packer, "-c"][: 1 if packer == "cat" else 2], input=exported.stdout, capture_output=True, check=True
    )
    for words in ((), ("-",)):
        subprocess.run(
            [executable(), "volume", "import", "second", *words], env=environment, input=packed.stdout, check=True
        )
        assert sh(rl, "second", "cat /x/f; rm /x/f", image) == "1"


def test_what_is_imported_lies_over_what_is_there(rl: Rootless, image: str, tmp_path: Path) -> None:
    sh(rl, "v", "cd /x; mkdir -p d/sub file-to-be; echo old > d/both; echo stays > d/only; ln -s d to-be-dir", image)
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("to-be-dir", tarfile.DIRTYPE), ("file-to-be", tarfile.REGTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid = kind, 0o711, 7
            tar.addfile(entry)
    archive(tmp_path / "u.tar", {"d/both": b"new\n", "d/new": b"new\n"})
    rl("volume", "import", "v", str(tmp_path / "t.tar"))
    rl("volume", "import", "v", str(tmp_path / "u.tar"))
    script = "cd /x; ls -A d; cat d/both d/only; stat -c '%n %F %a %u' d to-be-dir file-to-be"
    assert sh(rl, "v", script, image).split("\n") == [
        "both",
        "new",
        "only",
        "sub",
        "new",
        "stays",
        "d directory 711 7",
        "to-be-dir directory 711 7",
        "file-to-be regular empty file 711 7",
    ]
    assert entries(rl.root / "tmp") == []


def test_what_is_imported_counts_as_the_users(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("volume", "create", "v")
    rl("volume", "import", "v", str(archive(tmp_path / "t.tar", {"f": b"1"})))
    done = rl.out("run", "--rm", *NONE, "-u", "9", "-v", "v:/home", image, "sh", "-c", "stat -c %u /home; ls /home")
    assert done == "0\nf", "no new owner, and no files of the image"


def test_a_directory_of_the_users_goes_out_but_nothing_in(rl: Rootless, tmp_path: Path) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "page").write_text("1")
    rl("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={place}", "site")
    path = tmp_path / "site.tar"
    rl("volume", "export", "site", "-o", str(path))
    with tarfile.open(path) as tar:
        assert tar.getnames() == [".", "page"]
    refused = rl("volume", "import", "site", str(path), check=False)
    assert refused.returncode == 125
    assert f"tar -C {place} -xf FILE" in refused.stderr
    rl("volume", "create", "-o", "type=tmpfs", "memory")
    for words in (("export", "memory"), ("import", "memory", str(path))):
        refused = rl("volume", *words, check=False)
        assert (refused.returncode, refused.stdout) == (125, "")
        assert "in the memory of containers" in refused.stderr


def test_what_cannot_be(rl: Rootless, tmp_path: Path) -> None:
    rl("volume", "create", "v")
    for words, said in (
        (("export", "nothing"), "no such volume"),
        (("import", "nothing", "x.tar"), "no such volume"),
        (("import", "v", str(tmp_path / "missing")), "no such file"),
        (("import", "v", str(tmp_path)), "Is a directory"),
        (("export", "v", "-o", str(tmp_path / "no/where")), "No such file or directory"),
    ):
        done = rl("volume", *words, check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert said in done.stderr
    assert entries(tmp_path) == ["store"]


def test_the_same_files_make_the_same_bytes(rl: Rootless, image: str) -> None:
    digests = set()
    for name, order in (("one", "b a c"), ("two", "c b a")):
        sh(rl, name, f"cd /x; for n in {order}; do echo $n > $n; touch -d @1 $n; done; touch -d @1 .", image)
        done = subprocess.run(
            [executable(), "volume", "export", name], env=rl.environment, capture_output=True, check=True
        )
        digests.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(digests) == 1
