"""Layers come out of their tars as GNU tar and Python's tarfile know them, and their tars come back byte for byte."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootless.errors import ImageError, StorageError
from rootless.kernel.idmaps import UserMap
from storage.layers.store import LayerStore
from tests.conftest import need
from tests.support.extraction import Layers, digest, member, tar

DIR, LINK, HARD, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[Layers]:
    made = Layers(tmp_path)
    yield made
    assert made.leftovers() == []
    made.close()


def test_every_kind_of_entry_arrives_with_its_attributes(layers: Layers) -> None:
    data = tar(
        member("bin", DIR, mode=0o1777, uid=1, gid=2, mtime=1234567890.25),
        member("bin/tool", data=b"#!\n", mode=0o4755, uid=33, gid=44, mtime=-7),
        member("bin/other", HARD, linkname="bin/tool"),
        member("lib", LINK, linkname="usr/lib", uid=5, gid=6, mtime=99),
        member("queue", FIFO, mode=0o620, uid=7),
        member("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("with xattr", pax_headers={"SCHILY.xattr.user.note": "é"}),
        member("empty", mode=0o000),
    )
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    assert info.diff_id == digest(data)
    assert info.skipped == 1  # the device
    assert sorted(tree) == ["", "bin", "bin/other", "bin/tool", "empty", "lib", "queue", "with xattr"]
    assert {key: tree["bin"][key] for key in ("kind", "mode", "uid", "gid", "mtime")} == {
        "kind": "dir",
        "mode": 0o1777,
        "uid": 1,
        "gid": 2,
        "mtime": 1234567890_250_000_000,
    }
    assert (tree["bin/tool"]["mode"], tree["bin/tool"]["uid"], tree["bin/tool"]["gid"]) == (0o4755, 33, 44)
    assert tree["bin/tool"]["mtime"] == -7_000_000_000
    assert tree["bin/other"]["inode"] == tree["bin/tool"]["inode"]
    assert (tree["lib"]["target"], tree["lib"]["uid"], tree["lib"]["mtime"]) == ("usr/lib", 5, 99_000_000_000)
    assert (tree["queue"]["kind"], tree["queue"]["mode"], tree["queue"]["uid"]) == ("fifo", 0o620, 7)
    assert tree["with xattr"]["xattrs"]["user.note"] == "é".encode()
    assert layers.rebuild(info.diff_id) == data


def test_file_capabilities_pass_through_the_user_namespace(layers: Layers) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_raw=ep, as in any image
    info = layers.put(
        tar(member("ping", pax_headers={"SCHILY.xattr.security.capability": capability.decode("latin1")}))
    )
    assert layers.tree(info.diff_id)["ping"]["xattrs"]["security.capability"] == capability


def test_files_below_a_setgid_directory_keep_their_own_group(layers: Layers) -> None:
    info = layers.put(tar(member("d", DIR, mode=0o2755, gid=9), member("d/f"), member("d/e", DIR)))
    tree = layers.tree(info.diff_id)
    assert (tree["d"]["mode"], tree["d/f"]["gid"], tree["d/e"]["gid"], tree["d/e"]["mode"]) == (0o2755, 0, 0, 0o755)


def test_whiteouts_and_opaque_directories(layers: Layers) -> None:
    data = tar(
        member("a", DIR),
        member("a/.wh..wh..opq"),
        member(".wh.gone"),
        member("deep/down/.wh.also"),
        member(".wh..wh.plnk"),
        member("x.wh.y"),
    )
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    assert tree["a"]["xattrs"] == {"user.overlay.opaque": b"y"}
    assert tree["gone"]["kind"] == tree["deep/down/also"]["kind"] == "whiteout"
    assert "x.wh.y" in tree
    assert not any(name.rpartition("/")[2].startswith(".wh.") for name in tree)
    assert layers.rebuild(info.diff_id) == data


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_and_a_directory_of_one_name_make_it_opaque(layers: Layers, order: int) -> None:
    members = [member(".wh.d"), member("d", DIR)][::order]
    info = layers.put(tar(*members, member("d/f", data=b"1")))
    tree = layers.tree(info.diff_id)
    assert (tree["d"]["kind"], tree["d"]["xattrs"]) == ("dir", {"user.overlay.opaque": b"y"})


def test_later_entries_replace_earlier_ones_and_the_tar_comes_back(layers: Layers) -> None:
    data = tar(
        member("f", data=b"first"),
        member("f", data=b"second"),
        member("d", DIR),
        member("d/inner", data=b"inner"),
        member("d", LINK, linkname="f"),
        member("d", DIR),
        member("d/inner", data=b"again"),
        member("f", DIR, mode=0o700),
        member("f/g", data=b"g"),
        member("f", data=b"a file after all"),
    )
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    assert tree["f"]["size"] == len(b"a file after all")
    assert tree["d/inner"]["sha256"] == digest(b"again")
    assert sorted(tree) == ["", "d", "d/inner", "f"]
    assert layers.rebuild(info.diff_id) == data


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_of_gnu_tar(layers: Layers, tmp_path: Path, version: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "holes", "wb") as file:
        for at in range(0, 40 << 20, 1 << 20):  # more pieces than one header holds
            file.seek(at)
            file.write(b"data %d" % at)
        file.truncate(50 << 20)
    (source / "only-a-hole").touch()
    os.truncate(source / "only-a-hole", 1 << 20)
    form = ["--format=gnu"] if version == "gnu" else ["--format=posix", f"--sparse-version={version}"]
    data = subprocess.run(["tar", "-cS", *form, "-C", str(source), "."], stdout=subprocess.PIPE, check=True).stdout
    assert len(data) < 10 << 20
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    assert tree["holes"]["sha256"] == digest((source / "holes").read_bytes())
    assert tree["holes"]["size"] == 50 << 20
    assert tree["holes"]["blocks"] * 512 < 5 << 20
    assert (tree["only-a-hole"]["size"], tree["only-a-hole"]["blocks"]) == (1 << 20, 0)
    assert layers.rebuild(info.diff_id) == data


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "posix"])
def test_formats_of_gnu_tar(layers: Layers, tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    long = source / ("d" * 60) / ("e" * 30)
    long.mkdir(parents=True)
    (long / "file").write_bytes(b"x" * 70_000)
    if form not in ("v7", "ustar"):
        (long / ("n" * 255)).write_bytes(b"long")
        (source / "link").symlink_to("t/" * 150 + "end")
    os.link(long / "file", source / "hard")
    data = subprocess.run(
        ["tar", "-c", f"--format={form}", "-C", str(source), "."], stdout=subprocess.PIPE, check=True
    ).stdout
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    files = {str(path.relative_to(source)) for path in source.rglob("*")} | {""}
    assert set(tree) == files
    assert layers.rebuild(info.diff_id) == data


def test_a_tar_of_bsdtar(layers: Layers, tmp_path: Path) -> None:
    need("bsdtar")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"hello")
    os.setxattr(source / "file", "user.note", b"\x00\xff")
    data = subprocess.run(["bsdtar", "-c", "--format=pax", "-C", str(source), "."], stdout=subprocess.PIPE).stdout
    info = layers.put(data)
    assert layers.tree(info.diff_id)["file"]["xattrs"]["user.note"] == b"\x00\xff"
    assert layers.rebuild(info.diff_id) == data


def test_nothing_is_imported_where_no_library_is_in_sight(tmp_path: Path) -> None:
    """The child is chrooted: what it needs must have been imported before, by a parent that has imported little."""
    xattr = "LIBARCHIVE.xattr.user.a%20b"
    blobs = [
        tar(member("f", data=b"1", uid=70_000, pax_headers={xattr: "AP8"}), member("f", DIR), member("f/g")),
        gzip.compress(tar(member(".wh.x"))),
        lzma.compress(tar(member("x/y"))),
        bz2.compress(tar(member("x", HARD, linkname="y"))),
        zstandard.compress(tar(member("../x"))),
        b"junk" * 300,
    ]
    files = []
    for number, blob in enumerate(blobs):
        files.append(tmp_path / f"blob{number}")
        files[-1].write_bytes(blob)
    code = (
        "import os, sys\n"
        "from rootless.errors import RootlessError\n"
        "from rootless.kernel.idmaps import default_user_map\n"
        "from rootless.kernel.userns import UserNamespace\n"
        "from storage.layers.store import LayerStore\n"
        "from storage.layout import Layout\n"
        "layout = Layout(sys.argv[1])\n"
        "layout.create()\n"
        "store = LayerStore(layout, lambda: UserNamespace.create(default_user_map()))\n"
        "for path in sys.argv[2:]:\n"
        "    fd = os.open(path, os.O_RDONLY)\n"
        "    try:\n"
        "        print(store.begin_from_file(fd, 0, os.fstat(fd).st_size).finish().entries)\n"
        "    except RootlessError as error:\n"
        "        print(error.message)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "root"), *map(str, files)], capture_output=True, text=True
    )
    assert run.stdout.splitlines() == [
        "3",
        "1",
        "1",
        "1",
        "extracting b'../x': the name leads out of the layer",
        "reading a tar archive: it is not a tar archive",
    ], run.stderr
    removal = Layers(tmp_path)
    removal.close()


@pytest.mark.parametrize(
    "compress",
    [
        gzip.compress,
        lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
        lambda data: gzip.compress(data) + b"\0" * 600,
        lambda data: gzip.compress(data) + b"garbage",
        zstandard.compress,
        lambda data: zstandard.compress(data[:1000]) + zstandard.compress(data[1000:]),
        lambda data: b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstandard.compress(data),
        lzma.compress,
        lambda data: lzma.compress(data[:1000]) + lzma.compress(data[1000:]),
        bz2.compress,
        lambda data: bz2.compress(data[:1000]) + bz2.compress(data[1000:]),
        bytes,
    ],
    ids=["gzip", "gzip2", "gzip0", "gzip+", "zstd", "zstd2", "zstd-skip", "xz", "xz2", "bzip2", "bzip22", "none"],
)
def test_compressions(layers: Layers, compress: Any) -> None:
    data = tar(member("random", data=os.urandom(3_000_000)), member("zeros", data=bytes(5_000_000)))
    assert layers.put(compress(data)).diff_id == digest(data)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, lzma.compress, bz2.compress])
def test_damaged_and_truncated_streams_are_refused(layers: Layers, compress: Any) -> None:
    blob = compress(tar(member("random", data=os.urandom(300_000))))
    bad = [blob[: len(blob) // 2], blob[:-2]]
    if compress is not zstandard.compress:  # has a checksum where the writer wants one
        bad.append(blob[:1000] + b"!!!!" + blob[1004:])
    for stream in bad:
        with pytest.raises(ImageError, match=r"too early|damaged"):
            layers.put(stream)
    assert os.listdir(layers.layout.layers) == []


def test_layers_are_extracted_side_by_side(layers: Layers) -> None:
    blobs = [tar(member(f"file{n}", data=os.urandom(200_000))) for n in range(8)]
    running = [layers.store.begin(digest(blob)) for blob in blobs]
    for extraction, blob in zip(running, blobs, strict=True):
        view = memoryview(blob)
        while view:
            view = view[os.write(extraction.stdin_fd, view) :]
        extraction.close_input()
    assert [extraction.finish().diff_id for extraction in running] == [digest(blob) for blob in blobs]


def test_the_same_layer_twice_at_once_is_stored_once(layers: Layers) -> None:
    blob = tar(member("file", data=b"1"))
    one, two = layers.store.begin(), layers.store.begin()
    for extraction in (one, two):
        os.write(extraction.stdin_fd, blob)
        assert extraction.finish().diff_id == digest(blob)
    assert os.listdir(layers.layout.layers) == [digest(blob)]


def test_another_content_than_the_image_says_is_refused_and_named(layers: Layers) -> None:
    blob = tar(member("file"))
    with pytest.raises(ImageError, match=digest(blob)):
        layers.put(blob, expected="0" * 64)
    assert not layers.store.has("0" * 64)


def test_abort_leaves_nothing(layers: Layers) -> None:
    extraction = layers.store.begin()
    os.write(extraction.stdin_fd, tar(member("file", uid=7)))
    extraction.abort()
    assert os.listdir(layers.layout.layers) == []


def test_what_a_killed_process_left_is_swept(layers: Layers) -> None:
    if os.fork() == 0:
        extraction = layers.store.begin()
        os.write(extraction.stdin_fd, tar(member("d", DIR, uid=7, mode=0o700), member("d/file", uid=7)))
        os.kill(os.getpid(), 9)
    os.wait()
    assert layers.leftovers()
    again = LayerStore(layers.layout, lambda: layers.namespace)
    for _ in range(100):
        again._swept = False
        again.sweep()
        if not layers.leftovers():
            break
    assert layers.leftovers() == []


def test_a_changed_file_is_noticed_when_the_tar_is_rebuilt(layers: Layers) -> None:
    info = layers.put(tar(member("file", data=b"good")))
    Path(layers.layout.diff(info.diff_id), "file").write_bytes(b"evil")
    with pytest.raises(StorageError, match="changed"):
        layers.rebuild(info.diff_id)


def test_with_one_id_owners_are_squashed_and_kept_on_record(tmp_path: Path) -> None:
    user_map = UserMap([(0, os.getuid(), 1)], [(0, os.getgid(), 1)], True, "test")
    layers = Layers(tmp_path, user_map)
    data = tar(
        member("d", DIR, uid=8, gid=9, mode=0o750),
        member("d/f", data=b"1", uid=100, gid=200, mode=0o4750),
        member("root"),
        member("link", LINK, linkname="x", uid=3),
    )
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    assert info.squashed == 3
    assert tree["d"]["xattrs"] == {"user.containers.override_stat": b"8:9:0750"}
    assert tree["d/f"]["xattrs"] == {"user.containers.override_stat": b"100:200:04750"}
    assert tree["root"]["xattrs"] == {}
    assert {facts["uid"] for facts in tree.values()} == {0}
    assert layers.rebuild(info.diff_id) == data
    layers.close()


def test_hard_links_and_undescribed_directories_take_from_the_layer_below(layers: Layers) -> None:
    low = layers.put(
        tar(member("tmp", DIR, mode=0o1777, gid=4, mtime=77), member("f", data=b"hello", uid=5, mode=0o640))
    )
    data = tar(member("tmp/x"), member("again", HARD, linkname="f"))
    high = layers.put(data)
    layers.store.settle([low.diff_id, high.diff_id])
    tree = layers.tree(high.diff_id)
    assert (tree["tmp"]["mode"], tree["tmp"]["gid"], tree["tmp"]["mtime"]) == (0o1777, 4, 77_000_000_000)
    assert (tree["again"]["sha256"], tree["again"]["uid"], tree["again"]["mode"]) == (digest(b"hello"), 5, 0o640)
    assert layers.rebuild(high.diff_id) == data


NAMES = st.sampled_from(["a", "b", "c", "dir", "ü", "with space", "n" * 120, "\udcff\udc80"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
IDS = st.integers(0, 60000)
ENTRIES = st.lists(
    st.tuples(
        PATHS,
        st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, DIR, DIR, LINK, HARD, FIFO]),
        st.integers(0, 0o7777),
        IDS,
        IDS,
        st.integers(0, 2**31),
        st.binary(max_size=2000),
        PATHS,
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(entries=ENTRIES, form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_any_tree_is_extracted_and_rebuilt(shared: Layers, entries: list[Any], form: int) -> None:
    members = [
        member(path, kind, data if kind == tarfile.REGTYPE else b"", mode=mode, uid=uid, gid=gid, mtime=mtime)
        for path, kind, mode, uid, gid, mtime, data, _ in entries
    ]
    for (info, _), entry in zip(members, entries, strict=True):
        if info.type in (LINK, HARD):
            info.linkname = entry[7]
    data = tar(*members, format=form)
    try:
        layer = shared.put(data)
    except ImageError:
        return  # a file where a directory is needed, a loop of links
    tree = shared.tree(layer.diff_id)
    for info, content in members[-1:]:  # nothing comes after the last, so it must be there
        name = info.name
        if info.type == tarfile.REGTYPE and name in tree:
            facts = tree[name]
            assert (facts["sha256"], facts["uid"], facts["gid"]) == (digest(content), info.uid, info.gid)
            assert (facts["mode"], facts["mtime"]) == (info.mode, int(info.mtime) * 1_000_000_000)
    assert shared.rebuild(layer.diff_id) == data
    shared.store.remove(layer.diff_id)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layers]:
    made = Layers(tmp_path_factory.mktemp("layers"))
    yield made
    assert made.leftovers() == []
    made.close()
