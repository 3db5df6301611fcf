"""All drivers show the same root file system of the same layers, and keep what a container changes."""

from __future__ import annotations

import fcntl
import marshal
import os
import shutil
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from rootless.errors import StorageError, UsageError
from rootless.kernel.btrfs import create_subvolume, snapshot
from rootless.kernel.libc import ioctl_number
from storage import drivers
from storage.drivers import DRIVERS, bases, choose_driver, mount_rootfs, prepare, remove_container_files, rootfs_plan
from storage.layers.store import LayerStore
from tests.conftest import need
from tests.support.command import wait_until
from tests.support.extraction import Facts, Layers, digest, look, member, tar
from tests.support.filesystems import directory_on, on_btrfs, shared_bytes

DIR, LINK, HARD, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE


# Drivers, where needed with the file system on which they are tried beside that of the temporary files.
PLACES = [*(name for name in DRIVERS if name != "btrfs"), "btrfs@btrfs", "overlay@btrfs", "vfs@btrfs", "vfs@xfs"]


@pytest.fixture(params=PLACES)
def driver(request: pytest.FixtureRequest) -> str:
    name = str(request.param).partition("@")[0]
    if name == "fuse-overlayfs":
        need("fuse-overlayfs")
    return name


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty directory, on the file system that the driver's parameter names."""
    kind = request.node.callspec.params["driver"].partition("@")[2] if "driver" in request.fixturenames else ""
    with directory_on(kind) if kind else nullcontext(tmp_path) as directory:
        yield directory


@pytest.fixture
def layers(place: Path) -> Iterator[Layers]:
    made = Layers(place)
    yield made
    made.close()


class Container:
    """A root file system on `driver`; `visit` calls a function with the path where it is mounted."""

    def __init__(self, layers: Layers, driver: str, diff_ids: list[str], name: str = "c1") -> None:
        self.layers = layers
        self.driver = driver
        self.diff_ids = diff_ids
        self.directory = layers.layout.container(name)
        os.mkdir(self.directory)
        prepare(driver, layers.layout, self.directory, diff_ids, lambda: layers.namespace)
        self.target = str(layers.place / f"target-{name}")
        os.mkdir(self.target)

    def visit(self, func: Callable[[str], Any], read_only: bool = False, volatile: bool = False) -> Any:
        plan = rootfs_plan(self.driver, self.layers.layout, self.directory, self.diff_ids, read_only, volatile)
        plan = marshal.loads(marshal.dumps(plan))
        return self.layers.namespace.run(_mounted, plan, self.target, func, mount_ns=True)

    def remove(self) -> None:
        remove_container_files(self.directory, lambda: self.layers.namespace)
        assert not os.path.exists(self.directory)


def _mounted(plan: dict[str, Any], target: str, func: Callable[[str], Any]) -> Any:
    os.umask(0)
    mount_rootfs(plan, target)
    return func(target)


def names_below(top: str) -> list[str]:
    return sorted(look(top))


def two_layers(layers: Layers) -> list[str]:
    low = tar(
        member("", DIR, mode=0o755),
        member("etc", DIR, mode=0o755),
        member("etc/kept", data=b"kept", uid=3, gid=4, mode=0o4640, mtime=5),
        member("etc/gone", data=b"gone"),
        member("opaque", DIR),
        member("opaque/hidden", data=b"1"),
        member("tree", DIR),
        member("tree/deep", DIR),
        member("tree/deep/file", data=b"1"),
        member("link", LINK, linkname="etc/kept", uid=6),
        member("one", data=b"same"),
        member("two", HARD, linkname="one"),
        member("queue", FIFO, mode=0o600),
        member("becomes-dir", data=b"1"),
        member("becomes-file", DIR),
        member("becomes-file/x", data=b"1"),
        member("noted", pax_headers={"SCHILY.xattr.user.note": "1"}),
    )
    high = tar(
        member("etc", DIR, mode=0o711, mtime=9),
        member("etc/.wh.gone"),
        member("etc/added", data=b"added"),
        member("opaque", DIR),
        member("opaque/.wh..wh..opq"),
        member("opaque/shown", data=b"1"),
        member(".wh.tree"),
        member("becomes-dir", DIR),
        member("becomes-dir/y", data=b"1"),
        member("becomes-file", data=b"1"),
    )
    return [layers.put(low).diff_id, layers.put(high).diff_id]


def without_places(tree: dict[str, Facts]) -> dict[str, Facts]:
    """The facts that do not depend on where files lie, and without the root's time."""
    for facts in tree.values():
        for key in ("inode", "blocks"):
            facts.pop(key, None)
        if facts["kind"] == "dir":
            facts.pop("size", None)
    tree[""].pop("mtime")
    return tree


def test_layers_are_stacked(layers: Layers, driver: str) -> None:
    container = Container(layers, driver, two_layers(layers))
    tree = without_places(container.visit(look))
    assert sorted(tree) == [
        "",
        "becomes-dir",
        "becomes-dir/y",
        "becomes-file",
        "etc",
        "etc/added",
        "etc/kept",
        "link",
        "noted",
        "one",
        "opaque",
        "opaque/shown",
        "queue",
        "two",
    ]
    kept = tree["etc/kept"]
    assert (kept["uid"], kept["gid"], kept["mode"], kept["mtime"]) == (3, 4, 0o4640, 5_000_000_000)
    assert (tree["etc"]["mode"], tree["etc"]["mtime"]) == (0o711, 9_000_000_000)
    assert (tree["link"]["target"], tree["link"]["uid"]) == ("etc/kept", 6)
    assert tree["one"]["links"] == tree["two"]["links"] == 2
    assert tree["noted"]["xattrs"] == {"user.note": b"1"}
    assert (tree["queue"]["kind"], tree["queue"]["mode"]) == ("fifo", 0o600)
    container.remove()


def change(top: str) -> None:
    os.unlink(f"{top}/etc/kept")
    shutil.rmtree(f"{top}/opaque")
    os.mkdir(f"{top}/opaque")
    Path(f"{top}/opaque/mine").write_text("x")
    Path(f"{top}/etc/added").write_text("changed")
    os.chown(f"{top}/etc/added", 1000, 1000)
    os.rename(f"{top}/link", f"{top}/renamed")
    os.mkdir(f"{top}/private", 0)


def test_changes_are_kept_and_the_layers_stay_as_they_are(layers: Layers, driver: str) -> None:
    diff_ids = two_layers(layers)
    before = [layers.tree(diff_id) for diff_id in diff_ids]
    container = Container(layers, driver, diff_ids)
    container.visit(change)
    tree = container.visit(look)
    assert "etc/kept" not in tree
    assert "link" not in tree
    assert {name for name in tree if name.startswith("opaque")} == {"opaque", "opaque/mine"}
    assert (tree["etc/added"]["sha256"], tree["etc/added"]["uid"]) == (digest(b"changed"), 1000)
    assert tree["renamed"]["target"] == "etc/kept"
    assert [layers.tree(diff_id) for diff_id in diff_ids] == before
    container.remove()


def test_a_container_that_need_not_last_can_be_started_again(layers: Layers, driver: str) -> None:
    container = Container(layers, driver, two_layers(layers))
    container.visit(change, volatile=True)
    for volatile in (True, False, True):
        assert "opaque/mine" in container.visit(look, volatile=volatile)
    container.remove()


def test_containers_of_one_image_do_not_see_each_other(layers: Layers, driver: str) -> None:
    diff_ids = two_layers(layers)
    one, two = (Container(layers, driver, diff_ids, name) for name in ("c1", "c2"))
    one.visit(change)
    assert "opaque/mine" not in two.visit(look)
    one.remove()
    assert "etc/kept" in two.visit(look)


def test_nothing_can_be_written_through_a_read_only_view(layers: Layers, driver: str) -> None:
    for diff_ids in (two_layers(layers), two_layers(layers)[:1]):
        container = Container(layers, driver, diff_ids, f"c{len(diff_ids)}")
        with pytest.raises(OSError, match="Read-only"):
            container.visit(change, read_only=True)


@pytest.mark.parametrize("count", [57, 58, 127])
def test_many_layers(layers: Layers, driver: str, count: int) -> None:
    diff_ids = []
    for number in range(count):
        data = tar(member(f"f{number}", data=b"%d" % number), member("last", data=b"%d" % number))
        diff_ids.append(layers.put(data).diff_id)
    container = Container(layers, driver, diff_ids)
    tree = container.visit(look)
    assert len(tree) == count + 2
    assert tree["last"]["sha256"] == digest(b"%d" % (count - 1))
    container.remove()


def test_more_layers_than_the_kernel_stacks_are_refused_with_a_way_out(layers: Layers) -> None:
    diff_ids = [f"{number:064x}" for number in range(501)]
    for diff_id in diff_ids:
        os.makedirs(layers.layout.diff(diff_id))
    with pytest.raises(StorageError, match="500 at most") as caught:
        rootfs_plan("overlay", layers.layout, layers.layout.container("c"), diff_ids)
    assert "vfs" in (caught.value.hint or "")


def test_an_opaque_root_hides_all_below(layers: Layers, driver: str) -> None:
    low = layers.put(tar(member("low"), member("dir", DIR))).diff_id
    high = layers.put(tar(member(".wh..wh..opq"), member("high"))).diff_id
    assert Container(layers, driver, [low, high]).visit(names_below) == ["", "high"]


def test_an_image_without_layers(layers: Layers, driver: str) -> None:
    container = Container(layers, driver, [])
    assert container.visit(names_below) == [""]
    container.visit(lambda top: os.mkdir(f"{top}/made"))
    assert container.visit(names_below) == ["", "made"]
    container.remove()


def test_the_root_has_the_mode_that_the_image_gives_it(layers: Layers, driver: str) -> None:
    diff_id = layers.put(tar(member("./", DIR, mode=0o1711), member("f"))).diff_id
    assert Container(layers, driver, [diff_id]).visit(look)[""]["mode"] == 0o1711


def test_a_store_whose_path_holds_what_mount_options_use(place: Path, driver: str) -> None:
    place = place / ("a,b\\d=e f" if driver == "fuse-overlayfs" else "a,b:c\\d=e f")
    place.mkdir()
    layers = Layers(place)
    container = Container(layers, driver, two_layers(layers))
    assert "etc/added" in container.visit(look)
    container.remove()
    layers.close()


def test_layers_made_for_one_driver_serve_another_after_changes(layers: Layers) -> None:
    """What a container deleted through one overlay is deleted for the other."""
    need("fuse-overlayfs")
    diff_ids = two_layers(layers)
    for number, (first, second) in enumerate([("overlay", "fuse-overlayfs"), ("fuse-overlayfs", "overlay")]):
        container = Container(layers, first, diff_ids, f"c{number}")
        container.visit(lambda top: os.unlink(f"{top}/etc/kept"))
        container.driver = second
        assert "etc/kept" not in container.visit(look)


def test_fuse_overlayfs_ends_with_the_last_mount(layers: Layers) -> None:
    need("fuse-overlayfs")
    container = Container(layers, "fuse-overlayfs", two_layers(layers))
    container.visit(look)
    pid = int(Path(container.directory, "fuse-overlayfs.pid").read_text())
    end = time.monotonic() + 5
    while _serves(pid):
        assert time.monotonic() < end, "fuse-overlayfs outlives its mount"
        time.sleep(0.02)


def _serves(pid: int) -> bool:
    try:
        return "fuse-overlayfs" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_what_fuse_overlayfs_says_reaches_the_user(layers: Layers) -> None:
    need("fuse-overlayfs")
    container = Container(layers, "fuse-overlayfs", two_layers(layers))
    container.diff_ids = ["0" * 64]
    with pytest.raises(StorageError, match="fuse-overlayfs: cannot read lower dirs: No such file"):
        container.visit(look)


def test_a_colon_in_the_path_of_the_store_is_too_much_for_fuse_overlayfs(tmp_path: Path) -> None:
    need("fuse-overlayfs")
    (tmp_path / "a:b").mkdir()
    layers = Layers(tmp_path / "a:b")
    container = Container(layers, "fuse-overlayfs", two_layers(layers))
    with pytest.raises(StorageError, match="colon"):
        container.visit(look)
    layers.close()


def test_vfs_shares_nothing_and_keeps_holes(layers: Layers) -> None:
    with open(layers.place / "sparse", "wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    data = subprocess.run(["tar", "-cS", "-C", str(layers.place), "sparse"], stdout=subprocess.PIPE, check=True).stdout
    container = Container(layers, "vfs", [layers.put(data).diff_id])
    facts = container.visit(look)["sparse"]
    assert facts["size"] == (8 << 20) + 3
    assert facts["blocks"] < 100


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_copies_share_their_blocks_where_files_can_be_cloned(kind: str) -> None:
    """As the file system says of a file's blocks, and of the room that is left."""
    with directory_on(kind) as directory:
        layers = Layers(directory)
        diff_id = layers.put(tar(member("big", data=os.urandom(8 << 20)), member("small", data=b"x"))).diff_id
        os.sync()
        before = _used(directory)
        containers = [Container(layers, "vfs", [diff_id], f"c{number}") for number in range(8)]
        os.sync()
        assert _used(directory) - before < 8 << 20, "eight copies take less than one"
        for container in containers:
            shared, total = shared_bytes(container.directory + "/rootfs/big")
            assert shared == total >= 8 << 20
        containers[0].visit(lambda top: Path(f"{top}/big").write_bytes(b"mine"))
        assert [Path(c.directory, "rootfs/big").stat().st_size for c in containers] == [4, *[8 << 20] * 7]
        layers.close()


def _used(directory: Path) -> int:
    room = os.statvfs(directory)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def test_btrfs_makes_one_base_for_all_and_collects_it_with_the_image() -> None:
    with directory_on("btrfs") as directory:
        layers = Layers(directory)
        diff_ids = two_layers(layers)
        with ThreadPoolExecutor(4) as pool:
            containers = list(pool.map(lambda name: Container(layers, "btrfs", diff_ids, name), ["a", "b", "c", "d"]))
        assert os.listdir(layers.layout.bases) == [bases.base_name(diff_ids)]
        base = f"{layers.layout.bases}/{bases.base_name(diff_ids)}/rootfs"
        assert os.stat(base).st_dev != os.stat(containers[0].directory).st_dev, "a subvolume"
        before = layers.look(base)
        containers[0].visit(change)
        assert layers.look(base) == before
        assert bases.unused(layers.layout, [diff_ids[:1], diff_ids]) == []
        assert bases.unused(layers.layout, [diff_ids[:1]]) == [bases.base_name(diff_ids)]
        for container in containers:
            container.remove()
        assert layers.leftovers() == []
        layers.close()


def test_btrfs_takes_a_base_whose_root_belongs_to_another_id() -> None:
    with directory_on("btrfs") as directory:
        layers = Layers(directory)
        diff_id = layers.put(tar(member("./", DIR, mode=0o700, uid=7, gid=8), member("f", uid=7))).diff_id
        container = Container(layers, "btrfs", [diff_id])
        root = container.visit(look)[""]
        assert (root["uid"], root["gid"], root["mode"]) == (7, 8, 0o700)
        container.remove()
        layers.close()


def test_a_base_is_made_anew_where_a_collector_was_faster() -> None:
    """The directory is opened, renamed away by another process, and only then locked."""
    with directory_on("btrfs") as directory:
        layers = Layers(directory)
        diff_ids = two_layers(layers)
        bases.open_base(layers.layout, diff_ids, lambda: layers.namespace).close()
        path = f"{layers.layout.bases}/{bases.base_name(diff_ids)}"
        held = os.open(path, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(bases.open_base, layers.layout, diff_ids, lambda: layers.namespace)
            wait_until(lambda: _waits_for_lock(held), what="waiting for the lock")
            gone = f"{layers.layout.tmp}/gone-1"
            os.rename(path, gone)
            os.close(held)
            base = waiting.result(20)
        assert base.path == path + "/rootfs"
        assert "etc/added" in layers.look(base.path)
        base.close()
        LayerStore(layers.layout, lambda: layers.namespace).sweep()
        assert layers.leftovers() == []
        layers.close()


def _waits_for_lock(descriptor: int) -> bool:
    number = os.fstat(descriptor).st_ino
    return any("->" in line and f":{number} " in line for line in Path("/proc/locks").read_text().splitlines())


@pytest.mark.parametrize("driver", ["btrfs", "vfs"])
def test_subvolumes_that_a_container_made_are_removed_with_it(driver: str) -> None:
    """One inside the other, read-only, and with a tree in it that is deeper than descriptors are held."""
    with directory_on("btrfs") as directory:
        layers = Layers(directory)
        container = Container(layers, driver, two_layers(layers))
        container.visit(_make_subvolumes)
        container.remove()
        layers.close()


def _make_subvolumes(top: str) -> None:
    outer = os.open(top, os.O_RDONLY)
    create_subvolume(outer, "sub")
    deep = "/".join(["deep"] * 60)
    for path in (f"{top}/{deep}", f"{top}/sub/{deep}"):
        os.makedirs(path)
    inner = os.open(f"{top}/sub", os.O_RDONLY)
    create_subvolume(inner, "again")
    Path(f"{top}/sub/again/file").write_text("x")
    snapshot(outer, "copy", inner)
    for name in ("sub/again", "sub", "copy"):
        directory = os.open(f"{top}/{name}", os.O_RDONLY)
        fcntl.ioctl(directory, ioctl_number(True, 0x94, 26, 8), struct.pack("=Q", 2))  # read-only from now on
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(f"{top}/{name}/new")


def test_btrfs_is_refused_where_the_store_is_elsewhere(tmp_path: Path) -> None:
    if on_btrfs(tmp_path):
        pytest.skip("the temporary files are on btrfs")
    layers = Layers(tmp_path)
    with pytest.raises(StorageError, match="is not on btrfs") as caught:
        choose_driver(layers.layout, "btrfs")
    assert "--root" in (caught.value.hint or "")
    assert layers.leftovers() == []
    layers.close()


def test_overlay_is_the_choice_on_btrfs_too() -> None:
    with directory_on("btrfs") as directory:
        layers = Layers(directory)
        assert choose_driver(layers.layout, None) == "overlay"
        assert choose_driver(layers.layout, "btrfs") == "btrfs"
        layers.close()


def test_the_probe_is_remembered_until_the_kernel_changes(layers: Layers) -> None:
    first = choose_driver(layers.layout, None)
    assert first in DRIVERS
    file = Path(layers.layout.driver_file)
    seen = file.read_text()
    file.write_text(seen.replace(f'"default":"{first}"', '"default":"fuse-overlayfs"'))
    assert choose_driver(layers.layout, None) == "fuse-overlayfs"
    file.write_text(seen.replace(os.uname().release, "1.0"))
    assert choose_driver(layers.layout, None) == first
    for damaged in ("", "{}", "[]", '{"kernel":1}', "\0"):
        file.write_text(damaged)
        assert choose_driver(layers.layout, None) == first


def test_unknown_and_impossible_drivers_are_refused(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="zfs"):
        choose_driver(layers.layout, "zfs")
    monkeypatch.setenv("PATH", "/nonexistent" + os.pathsep + _path_without("fuse-overlayfs", layers.place))
    with pytest.raises(StorageError, match="fuse-overlayfs is not installed") as caught:
        choose_driver(layers.layout, "fuse-overlayfs")
    assert "install" in (caught.value.hint or "")
    monkeypatch.undo()
    if shutil.which("fuse-overlayfs"):
        assert choose_driver(layers.layout, "fuse-overlayfs") == "fuse-overlayfs", "noticed once it is there"


def _path_without(program: str, place: Path) -> str:
    """A directory with all that the probe needs, but for `program`."""
    directory = place / "bin"
    directory.mkdir()
    for name in ("newuidmap", "newgidmap"):
        found = shutil.which(name)
        if found:
            (directory / name).symlink_to(found)
    assert not (directory / program).exists()
    return str(directory)


def test_the_hot_part_imports_little() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); "
        "import storage.drivers.overlay, storage.layout; "
        "print(*sorted(set(sys.modules) - before))"
    )
    root = str(Path(drivers.__file__).parents[2])
    run = subprocess.run(["python3", "-I", "-S", "-c", code, root], capture_output=True, text=True, check=True)
    heavy = {"re", "enum", "typing", "dataclasses", "json", "pathlib", "subprocess", "ctypes", "shutil", "collections"}
    assert not heavy & set(run.stdout.split())
