"""`system check`: sound stores are found sound, each damage is named and mended, or what mends it is said."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rootless.kernel.idmaps import default_user_map
from rootless.kernel.userns import UserNamespace
from tests.conftest import need, remove_store
from tests.support.command import Rootless
from tests.support.extraction import look
from tests.support.images import busybox_layer, docker_archive
from tests.support.leaks import entries
from tests.support.odd_layer import odd_layer

NAME = "docker.io/me/odd:1"
QUIET = ("--network", "none")


@pytest.fixture(scope="module")
def namespace() -> UserNamespace:
    return UserNamespace.create(default_user_map())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout of an image whose layers are compressed, so that a store keeps their blobs."""
    need("skopeo")
    place = tmp_path_factory.mktemp("odd")
    archive = docker_archive(place / "odd.tar", [busybox_layer(), odd_layer()], names=[NAME])
    command = ["skopeo", "copy", "-q", f"docker-archive:{archive}", f"oci:{place}/oci:{NAME}"]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(place)})
    return place


@pytest.fixture
def blobless(fresh: Rootless, pristine: Path) -> Rootless:
    fresh("load", "-q", "-i", str(pristine / "odd.tar"))
    return fresh


@pytest.fixture
def kept(fresh: Rootless, pristine: Path) -> Rootless:
    fresh("load", "-q", "-i", str(pristine / "oci"))
    assert len(entries(fresh.root / "blobs/sha256")) == 2
    return fresh


def diffs(rl: Rootless) -> list[Path]:
    """The layers' directories, the lowest first."""
    found = rl.inspect_image(NAME)["RootFS"]["Layers"]
    return [rl.root / "layers" / digest.removeprefix("sha256:") for digest in found]


def check(rl: Rootless, *words: str) -> dict[str, Any]:
    done = rl("system", "check", "--format", "json", *words, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1), done.stderr
    assert found["ok"] is (not found["damage"])
    return found


def only(rl: Rootless, *words: str) -> dict[str, Any]:
    found = check(rl, *words)["damage"]
    assert len(found) == 1, found
    return dict(found[0])


def test_a_sound_store_is_found_sound(kept: Rootless) -> None:
    kept("run", "--name", "c", *QUIET, NAME, "touch", "/file")
    kept("volume", "create", "v")
    for words in ((), ("--quick",), ("--max", "0s"), ("--repair",)):
        found = check(kept, *words)
        assert found["damage"] == []
        assert found["checked"] == {"image": 1, "container": 1, "volume": 1, "layer": 2, "blob": 2}
    said = kept.out("system", "check")
    assert said == "Looked at 1 image, 1 container, 1 volume, 2 layers, 2 blobs: all is well"


def facts(namespace: UserNamespace, layer: Path) -> dict[str, Any]:
    """All that can be seen of a layer, but where it lies on the disk, and times, of which not all are in the tar."""
    found = namespace.run(look, str(layer / "diff"))
    passing = ("mtime", "inode", "blocks")
    return {path: {key: value for key, value in one.items() if key not in passing} for path, one in found.items()}


def flip(path: str) -> None:
    found = os.stat(path)
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def plant(path: str) -> None:
    Path(path).write_text("evil")


def relink(diff: str) -> None:
    os.unlink(diff + "/link")
    os.symlink("etc", diff + "/link")


def make_directory(diff: str) -> None:
    os.unlink(diff + "/suid")
    os.mkdir(diff + "/suid")


DAMAGES: dict[str, tuple[Callable[[str], object], str, str]] = {
    "a file shorter": (lambda diff: os.truncate(diff + "/shared/file", 1), "shared/file: it has 1 bytes, not 3", "tar"),
    "a file missing": (lambda diff: os.unlink(diff + "/twice"), "twice: it is missing", "tar"),
    "a file too many": (lambda diff: plant(diff + "/tmp/evil"), "tmp/evil: it does not belong there", ""),
    "a mode": (lambda diff: os.chmod(diff + "/tmp", 0o777), "tmp: its mode is 0777, not 1777", ""),
    "an owner": (lambda diff: os.chown(diff + "/fifo", 8, 0), "fifo: it belongs to 8:0, not to 9:0", ""),
    "an owner of a link": (
        lambda diff: os.lchown(diff + "/link", 8, 0),
        "link: it belongs to 8:0, not to 3:0",
        "",
    ),
    "an attribute gone": (lambda diff: os.removexattr(diff + "/noted", "user.me"), "user.me is missing", ""),
    "an attribute more": (lambda diff: os.setxattr(diff + "/old", "user.x", b""), "user.x does not belong", ""),
    "opaque": (
        lambda diff: os.setxattr(diff + "/described", "user.overlay.opaque", b"y"),
        "described: it hides what is below",
        "",
    ),
    "not opaque": (
        lambda diff: os.removexattr(diff + "/home", "user.overlay.opaque"),
        "home: it does not hide what is below",
        "",
    ),
    "a mark of deletion": (lambda diff: os.unlink(diff + "/gone"), "gone: it is missing", ""),
    "a time": (lambda diff: os.utime(diff + "/twice", (1, 1)), "twice: it was changed at another time", ""),
    "a link elsewhere": (relink, "link: it leads elsewhere", ""),
    "a kind": (make_directory, "suid: it is a directory, not a file", "tar"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_a_layer_looks_like_is_compared_with_its_record(
    kept: Rootless, namespace: UserNamespace, what: str
) -> None:
    damage, line, kind = DAMAGES[what]
    layer = diffs(kept)[1]
    before = facts(namespace, layer)
    namespace.run(lambda: damage(str(layer / "diff")) and None)
    quick = only(kept, "--quick")
    assert (quick["kind"], quick["name"], quick["images"]) == ("layer", layer.name, [NAME])
    assert any(line in one for one in quick["what"]), quick
    full = only(kept)
    assert any(one.startswith(("its files make", "rebuilding")) for one in full["what"]) is (kind == "tar"), full
    assert "system check --repair" in full["mend"]
    assert kept("system", "check", "--repair").stdout.count("mended") == 1
    assert facts(namespace, layer) == before
    assert check(kept, "--max", "0s")["damage"] == []


def test_a_byte_that_looks_like_none_is_found_by_reading(kept: Rootless, namespace: UserNamespace) -> None:
    layer = diffs(kept)[1]
    namespace.run(flip, str(layer / "diff/shared/file"))
    assert check(kept, "--quick")["ok"]
    assert "its files make a tar with the digest" in only(kept)["what"][0]
    assert check(kept, "--repair")["mended"][0]["name"] == layer.name
    assert (layer / "diff/shared/file").read_text() == "yes"


def test_without_blob_the_looks_are_mended_and_the_content_is_said_to_be_lost(
    blobless: Rootless, namespace: UserNamespace
) -> None:
    layer = diffs(blobless)[1]
    namespace.run(os.chmod, str(layer / "diff/suid"), 0o600)
    assert sorted(only(blobless)["what"]) == ["hard: its mode is 0600, not 4755", "suid: its mode is 0600, not 4755"]
    assert check(blobless, "--repair")["ok"]
    assert check(blobless)["ok"]
    namespace.run(flip, str(layer / "diff/shared/file"))
    blobless("create", "--name", "c", *QUIET, NAME)
    left = check(blobless, "--repair")["damage"][0]
    assert "not mended: " in "\n".join(left["what"])
    assert "--repair --force" in left["mend"]
    assert blobless.out("images", "-q"), "nothing was removed"
    assert check(blobless, "--repair", "--force")["ok"]
    assert blobless.out("images", "-q") == blobless.out("ps", "-aq") == ""
    assert entries(blobless.root / "layers") == []


def test_no_layer_is_replaced_under_a_running_container(kept: Rootless, namespace: UserNamespace) -> None:
    kept("run", "-d", "--name", "c", *QUIET, NAME, "sleep", "100")
    layer = diffs(kept)[1]
    namespace.run(os.chmod, str(layer / "diff/twice"), 0o600)
    inode = (layer / "diff").stat().st_ino
    for words in (("--repair",), ("--repair", "--force")):
        left = check(kept, *words)["damage"][0]
        assert "in use by c" in "\n".join(left["what"])
        assert "rootless stop c" in left["mend"]
        assert (layer / "diff").stat().st_ino == inode
        assert kept.status("c") == "running"
    kept("stop", "-t", "0", "c")
    assert check(kept, "--repair")["ok"]
    kept("start", "c")
    assert kept.out("exec", "c", "stat", "-c", "%a", "/twice") == "644"


@pytest.mark.parametrize("size", [0, 40, 300])
def test_a_truncated_record_is_mended_out_of_the_blob(kept: Rootless, size: int) -> None:
    layer = diffs(kept)[1]
    whole = (layer / "record").read_bytes()
    os.truncate(layer / "record", min(size, len(whole) - 1))
    for words in ((), ("--quick",)):
        assert "record" in "\n".join(only(kept, *words)["what"]) or not words
    assert check(kept, "--repair")["ok"]
    assert (layer / "record").read_bytes() == whole


def test_a_missing_layer_is_extracted_from_its_blob(kept: Rootless) -> None:
    layer = diffs(kept)[0]
    remove_store(layer)
    assert only(kept)["what"] == ["its directory is missing"]
    assert check(kept, "--repair")["ok"]
    assert kept.out("run", "--rm", *QUIET, NAME, "cat", "/etc/not-executable") == "#!/bin/sh\necho no"


def test_a_damaged_blob_is_let_go_of(kept: Rootless) -> None:
    path = next((kept.root / "blobs/sha256").iterdir())
    flip(str(path))
    assert check(kept, "--quick")["ok"]
    damage = only(kept)
    assert (damage["kind"], damage["name"], damage["images"]) == ("blob", path.name, [NAME])
    os.truncate(path, 10)
    assert only(kept, "--quick")["what"][0].startswith("it has 10 bytes, not ")
    assert check(kept, "--repair")["ok"]
    assert not path.exists()
    kept("save", "-q", "-o", str(kept.place / "saved.tar"), NAME)


def test_a_damaged_blob_does_not_become_the_layer(kept: Rootless, namespace: UserNamespace) -> None:
    layer = diffs(kept)[1]
    for path in (kept.root / "blobs/sha256").iterdir():
        flip(str(path))
    namespace.run(flip, str(layer / "diff/shared/file"))
    left = check(kept, "--repair")["damage"]
    assert [damage["kind"] for damage in left] == ["layer"]
    assert namespace.run(look, str(layer / "diff"))["shared/file"]


def change(rl: Rootless, statement: str) -> None:
    connection = sqlite3.connect(rl.root / "db.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("fixture", ["kept", "blobless"])
def test_a_lost_row_of_a_layer_is_found_out_anew(request: pytest.FixtureRequest, fixture: str) -> None:
    rl: Rootless = request.getfixturevalue(fixture)
    layer = diffs(rl)[1]
    query = "SELECT size, tar_size, blob, blob_size, media_type FROM layers ORDER BY diff_id"
    before = rows(rl, query)
    change(rl, f"DELETE FROM layers WHERE diff_id = '{layer.name}'")
    assert only(rl)["what"] == ["the layer is used, and has no row"]
    if fixture == "blobless":
        rl("image", "prune", "-f")
        assert layer.is_dir(), "it is used: no garbage"
    assert check(rl, "--repair")["ok"]
    assert rows(rl, query) == before


def rows(rl: Rootless, query: str) -> list[Any]:
    connection = sqlite3.connect(rl.root / "db.sqlite")
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_lists_of_layers_and_dangling_rows_are_put_right(kept: Rootless) -> None:
    change(kept, "DELETE FROM image_layers WHERE position = 0")
    assert only(kept)["what"] == ["the list of its layers is not that of its configuration"]
    assert check(kept, "--repair")["ok"]
    assert kept.out("run", "--rm", *QUIET, NAME, "echo", "ok") == "ok"
    change(kept, "INSERT INTO image_names VALUES ('docker.io/library/nothing:1', 'feed')")
    assert "rows of image_names refer to it" in only(kept)["what"][0]
    assert check(kept, "--repair")["ok"]


def test_a_lost_configuration_costs_the_image_only_when_forced(kept: Rootless) -> None:
    change(kept, "UPDATE images SET config = replace(config, 'PATH', 'HTAP')")
    damage = only(kept)
    assert (damage["kind"], damage["what"]) == ("image", ["its configuration is not the one that its id names"])
    assert not check(kept, "--repair")["ok"]
    assert kept.out("images", "-q")
    assert check(kept, "--repair", "--force")["ok"]
    assert kept.out("images", "-q") == ""


def test_an_unreadable_database_is_the_only_thing_said(kept: Rootless) -> None:
    for name in entries(kept.root):
        if name.startswith("db.sqlite-"):
            (kept.root / name).unlink()
    (kept.root / "db.sqlite").write_bytes(b"SQLite format 3\0" + b"garbage " * 4000)
    damage = only(kept)
    assert damage["kind"] == "database"
    assert "rootless system reset" in damage["mend"]
    assert not check(kept, "--repair", "--force")["ok"]
    assert len(entries(kept.root / "layers")) == 2
    kept("system", "reset", "-f")
    assert not kept.root.exists()


def test_containers_without_their_files_and_files_without_container(kept: Rootless) -> None:
    identity = kept.out("create", "--name", "c", *QUIET, NAME)
    shutil.rmtree(kept.root / "containers" / identity)
    lost = kept.root / "containers" / ("0" * 64)
    (lost / "upper").mkdir(parents=True)
    (lost / "upper/mine").write_text("data")
    found = {damage["name"]: damage for damage in check(kept, "--max", "0s")["damage"]}
    assert sorted(found) == sorted(["c", str(lost)])
    assert not check(kept, "--max", "0s", "--repair")["ok"]
    assert (lost / "upper/mine").exists()
    assert check(kept, "--max", "0s", "--repair", "--force")["ok"]
    assert kept.out("ps", "-aq") == ""


def test_a_volume_without_a_row_becomes_one_again(kept: Rootless) -> None:
    kept("volume", "create", "mine")
    (kept.root / "volumes/mine/_data/file").write_text("data")
    change(kept, "DELETE FROM volumes")
    assert only(kept)["what"] == ["the volume is not in the database"]
    assert check(kept, "--repair")["ok"]
    assert kept.out("volume", "ls", "-q") == "mine"
    assert (kept.root / "volumes/mine/_data/file").read_text() == "data"


def test_leftovers_count_once_they_are_old(kept: Rootless) -> None:
    (kept.root / "tmp/layer-0123").mkdir()
    (kept.root / "tmp/unheard-of").write_text("")
    (kept.root / "leases/feed").write_text("")
    (kept.root / "tmp" / ("0" * 64 + ".partial")).write_text("")
    (kept.root / "layers" / ("1" * 64)).mkdir()
    (kept.root / "blobs/sha256" / ("2" * 64)).write_text("")
    assert check(kept)["ok"], "younger than a day"
    found = sorted(Path(damage["name"]).name for damage in check(kept, "--max", "0s")["damage"])
    assert found == ["1" * 64, "2" * 64, "feed", "layer-0123", "unheard-of"]
    assert check(kept, "--max", "0s", "--repair")["ok"]
    assert entries(kept.root / "tmp") == ["0" * 64 + ".partial"]


def test_what_is_being_added_is_no_leftover(kept: Rootless) -> None:
    """What a living process has locked is its own, and while it lives nobody knows what else is."""
    (kept.root / "tmp/layer-0123").mkdir()
    (kept.root / "layers" / ("1" * 64)).mkdir()
    (kept.root / "leases/feed").write_text("")
    locks = [os.open(kept.root / name, os.O_RDONLY) for name in ("tmp/layer-0123", "leases/feed")]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert check(kept, "--max", "0s", "--repair")["ok"]
    assert entries(kept.root / "tmp") == ["layer-0123"]
    assert len(entries(kept.root / "layers")) == 3
    for lock in locks:
        os.close(lock)
    assert len(check(kept, "--max", "0s")["damage"]) == 3
    assert check(kept, "--max", "0s", "--repair")["ok"]


def test_bad_words_are_refused(kept: Rootless) -> None:
    assert "goes with --repair" in kept("system", "check", "--force", check=False).stderr
    assert "--max soon" in kept("system", "check", "--max", "soon", check=False).stderr


def test_a_layer_in_use_that_lacks_what_lower_layers_tell_is_damaged(blobless: Rootless, pristine: Path) -> None:
    """As a kill between extraction and settling would leave it, if an image were to have it then."""
    layer = diffs(blobless)[1]
    other = Rootless(pristine / "other")
    killed = other(
        "load", "-q", "-i", str(pristine / "odd.tar"), check=False, env={"ROOTLESS_TEST_DIE_AT": "layers-recorded"}
    )
    assert killed.returncode == -9
    assert check(other)["ok"], "no image has it yet"
    assert (other.root / "layers" / layer.name / "notes").exists()
    remove_store(layer)
    (other.root / "layers" / layer.name).rename(layer)
    remove_store(other.place)
    assert only(blobless)["what"] == ["hard-below: it is missing", "shared/hard-below: it is missing"]
    assert check(blobless, "--repair")["ok"]
    assert blobless.out("run", "--rm", *QUIET, NAME, "head", "-n1", "/shared/hard-below") == "root:x:0:"
