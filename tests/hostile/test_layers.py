"""HOSTILE.md 1 to 7: layers made to escape, to confuse or to exhaust."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.errors import ImageError, RootlessError, StorageError
from tests.support.extraction import Layers, digest, member, tar

DIR, LINK, HARD, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[Layers]:
    made = Layers(tmp_path)
    outside = sorted(os.listdir(tmp_path))
    root = sorted(os.listdir(made.layout.root))
    yield made
    assert made.leftovers() == []
    assert sorted(os.listdir(made.layout.root)) == root, "written outside of the layer"
    assert [name for name in sorted(os.listdir(tmp_path)) if name != "rebuilt"] == outside
    made.close()


def refused(layers: Layers, data: bytes, words: str) -> None:
    """The layer is refused with these words, nothing of it is kept, and the store works on."""
    before = sorted(os.listdir(layers.layout.layers))
    with pytest.raises(ImageError, match=words) as caught:
        layers.put(data)
    assert caught.value.exit_code == 125
    assert sorted(os.listdir(layers.layout.layers)) == before
    assert layers.put(tar(member("fine"))).entries == 1


# 1


@pytest.mark.parametrize("name", ["../x", "../../etc/x", "a/../../x", "/../x", "a/../../../../../../../../tmp/x"])
def test_names_that_climb_out_are_refused(layers: Layers, name: str) -> None:
    refused(layers, tar(member(name, data=b"1")), "leads out of the layer")


def test_absolute_names_stay_inside(layers: Layers) -> None:
    data = tar(member("/etc/x", data=b"1"), member("//etc//./y", data=b"2"), member("a/../b"))
    info = layers.put(data)
    assert set(layers.tree(info.diff_id)) == {"", "etc", "etc/x", "etc/y", "b"}
    assert layers.rebuild(info.diff_id) == data


def test_a_name_with_nul_is_refused(layers: Layers) -> None:
    refused(layers, tar(member("x", pax_headers={"path": "a\0b"})), "NUL")


def test_names_with_newlines_and_escapes_arrive_as_they_are(layers: Layers) -> None:
    info = layers.put(tar(member("a\nb"), member("\x1b[31m"), member("-rf"), member(" ")))
    assert set(layers.tree(info.diff_id)) == {"", "a\nb", "\x1b[31m", "-rf", " "}


# 2


@pytest.mark.parametrize("target", ["/", "..", "../../../../../..", "/tmp", "sub/../.."])
def test_files_below_a_symlink_stay_inside(layers: Layers, target: str) -> None:
    data = tar(member("a", LINK, linkname=target), member("a/etc/rootless-was-here", data=b"1"))
    info = layers.put(data)
    assert not os.path.exists("/etc/rootless-was-here")
    assert not os.path.exists("/tmp/etc/rootless-was-here")
    found = [name for name in layers.tree(info.diff_id) if name.endswith("rootless-was-here")]
    assert len(found) == 1
    assert layers.rebuild(info.diff_id) == data


def test_a_symlink_of_a_lower_layer_is_not_followed(layers: Layers) -> None:
    low = layers.put(tar(member("a", LINK, linkname="/")))
    high = layers.put(tar(member("a/etc/x", data=b"1")))
    layers.store.settle([low.diff_id, high.diff_id])
    assert set(layers.tree(high.diff_id)) == {"", "a", "a/etc", "a/etc/x"}


def test_loops_of_symlinks_are_refused(layers: Layers) -> None:
    refused(layers, tar(member("a", LINK, linkname="b"), member("b", LINK, linkname="a"), member("a/x")), "too many")


def test_a_symlink_is_replaced_not_written_through(layers: Layers) -> None:
    data = tar(
        member("victim", data=b"old"), member("a", LINK, linkname="victim"), member("a", data=b"new", mode=0o600)
    )
    tree = layers.tree(layers.put(data).diff_id)
    assert (tree["victim"]["sha256"], tree["a"]["sha256"]) == (digest(b"old"), digest(b"new"))


def test_a_file_where_a_directory_is_needed_is_refused(layers: Layers) -> None:
    refused(layers, tar(member("f"), member("f/x")), "not a directory")


# 3


@pytest.mark.parametrize("target", ["../../../../etc/passwd", "../x"])
def test_hard_links_that_climb_out_are_refused(layers: Layers, target: str) -> None:
    refused(layers, tar(member("a", HARD, linkname=target)), "leads out of the layer")


def test_hard_links_through_symlinks_stay_inside(layers: Layers) -> None:
    info = layers.put(tar(member("a", LINK, linkname="/"), member("p", HARD, linkname="a/etc/passwd")))
    with pytest.raises(ImageError, match="neither this layer nor one below"):
        layers.store.settle([info.diff_id])
    assert "p" not in layers.tree(info.diff_id)


def test_a_hard_link_to_a_symlink_is_the_symlink(layers: Layers) -> None:
    info = layers.put(tar(member("a", LINK, linkname="/etc/passwd"), member("b", HARD, linkname="a")))
    tree = layers.tree(info.diff_id)
    assert (tree["b"]["kind"], tree["b"]["target"]) == ("link", "/etc/passwd")


def test_hard_links_through_symlinks_of_a_lower_layer_stay_inside(layers: Layers) -> None:
    low = layers.put(tar(member("a", LINK, linkname="/etc"), member("b", LINK, linkname="../../../../../etc/passwd")))
    high = layers.put(tar(member("p", HARD, linkname="a/passwd"), member("q", HARD, linkname="b")))
    with pytest.raises(ImageError, match="neither this layer nor one below"):
        layers.store.settle([low.diff_id, high.diff_id])


def test_hard_links_to_directories_themselves_and_nothing(layers: Layers) -> None:
    refused(layers, tar(member("d", DIR), member("x", HARD, linkname="d")), "hard link to a directory")
    refused(layers, tar(member("x", HARD, linkname="/")), "hard link to the layer's root")
    info = layers.put(tar(member("x", data=b"1"), member("x", HARD, linkname="x")))
    assert layers.tree(info.diff_id)["x"]["size"] == 1


# 4


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh."])
def test_whiteouts_of_nothing_are_refused(layers: Layers, name: str) -> None:
    refused(layers, tar(member("d", DIR), member(name)), "whiteout of nothing")


def test_a_whiteout_wins_over_no_file_of_its_own_layer(layers: Layers) -> None:
    for members in ([member("f", data=b"1"), member(".wh.f")], [member(".wh.f"), member("f", data=b"1")]):
        info = layers.put(tar(*members))
        assert layers.tree(info.diff_id)["f"]["kind"] == "file"


# 5


def test_what_users_may_not_make_is_left_to_the_record(layers: Layers) -> None:
    data = tar(
        member("sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
        member("zero", tarfile.CHRTYPE, devmajor=0, devminor=0),
        member(
            "f",
            pax_headers={
                "SCHILY.xattr.trusted.overlay.opaque": "y",
                "SCHILY.xattr.user.overlay.redirect": "/etc",
                "SCHILY.xattr.user.overlay.metacopy": "",
                "SCHILY.xattr.user.containers.override_stat": "0:0:04777",
                "SCHILY.xattr.security.selinux": "x",
            },
        ),
    )
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    assert set(tree) == {"", "f"}
    assert tree["f"]["xattrs"] == {}
    assert layers.rebuild(info.diff_id) == data


def test_setuid_files_keep_the_bit_inside_and_belong_to_nobody_of_the_host(layers: Layers) -> None:
    info = layers.put(tar(member("su", mode=0o6755)))
    assert layers.tree(info.diff_id)["su"]["mode"] == 0o6755
    assert os.stat(layers.layout.diff(info.diff_id) + "/su").st_uid == os.getuid()
    assert os.stat(layers.layout.root).st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [70_000, 2**31, 2**32 - 2, 2**32 - 1, 2**40])
def test_owners_beyond_the_map_are_squashed_and_kept_on_record(layers: Layers, number: int) -> None:
    data = tar(member("f", uid=number, gid=1, mode=0o4711), format=tarfile.PAX_FORMAT)
    info = layers.put(data)
    facts = layers.tree(info.diff_id)["f"]
    assert (info.squashed, facts["uid"]) == (1, 0)
    assert facts["xattrs"]["user.containers.override_stat"] == b"%d:1:04711" % number
    assert facts["mode"] == 0o711, "a program of somebody else's must not become root's"
    assert layers.rebuild(info.diff_id) == data


# 6


def sparse_header(name: bytes, size: int, pieces: list[tuple[int, int]]) -> bytes:
    """An old GNU sparse header by hand."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:107] = b"0000644"
    for at in (108, 116):
        block[at : at + 7] = b"0000000"
    block[124:135] = b"%011o" % sum(length for _, length in pieces)
    block[136:147] = b"00000000000"
    block[156:157] = b"S"
    block[257:265] = b"ustar  \0"
    for number, (offset, length) in enumerate(pieces):
        at = 386 + 24 * number
        block[at : at + 24] = (b"\x80" + offset.to_bytes(11, "big")) + (b"\x80" + length.to_bytes(11, "big"))
    block[483:495] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("size", [8 << 60, (8 << 60) - 1])
def test_a_sparse_file_of_eight_exbibytes_is_refused(layers: Layers, size: int) -> None:
    data = sparse_header(b"huge", size, [(0, 512)]) + b"x" * 512 + bytes(1024)
    refused(layers, data, "out of range|File too large|Invalid argument")


@pytest.mark.parametrize("pieces", [[(512, 512), (0, 512)], [(0, 1024), (512, 512)], [(2**50, 512)], [(0, 2**60)]])
def test_sparse_maps_that_do_not_fit_are_refused(layers: Layers, pieces: list[tuple[int, int]]) -> None:
    refused(layers, sparse_header(b"f", 4096, pieces) + b"x" * 2048, "sparse map|middle of a file")


@pytest.mark.parametrize("cut", [1, 511, 513, 1000, 1536 + 100])
def test_truncated_tars_are_refused(layers: Layers, cut: int) -> None:
    data = tar(member("a", data=b"x" * 600), member("b", data=b"y" * 600), format=tarfile.GNU_FORMAT)
    refused(layers, data[:cut], "ends in the middle|not a tar")


def test_a_tar_without_an_end_marker_is_taken(layers: Layers) -> None:
    data = tar(member("a", data=b"x" * 512), format=tarfile.GNU_FORMAT)[:1024]
    assert layers.rebuild(layers.put(data).diff_id) == data


def test_garbage_after_the_end_belongs_to_the_layer_but_is_not_read_as_entries(layers: Layers) -> None:
    data = tar(member("a")) + tar(member("evil")) + b"garbage" * 1000
    info = layers.put(data)
    assert set(layers.tree(info.diff_id)) == {"", "a"}
    assert layers.rebuild(info.diff_id) == data


@pytest.mark.parametrize("data", [b"hello world" * 200, b"\x7fELF" + bytes(5000), os.urandom(4096)])
def test_what_is_no_tar_is_refused(layers: Layers, data: bytes) -> None:
    refused(layers, data, "not a tar archive|checksum|number")


def test_a_damaged_header_is_refused(layers: Layers) -> None:
    data = bytearray(tar(member("a", data=b"1"), member("b")))
    data[1024 + 3] ^= 1
    refused(layers, bytes(data), "checksum")


def test_a_gzip_bomb_is_stopped_by_the_limit(layers: Layers) -> None:
    header = tar(member("zeros", data=b""), format=tarfile.GNU_FORMAT)[:512]
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 40
    header = info.tobuf(tarfile.GNU_FORMAT)
    bomb = gzip.compress(header + bytes(300 << 20), 1)
    assert len(bomb) < 4 << 20
    with pytest.raises(ImageError, match="larger than"):
        layers.put(bomb, max_bytes=100 << 20)
    assert os.listdir(layers.layout.layers) == []


def test_a_claim_beyond_the_free_space_is_refused_before_the_disk_is_full(layers: Layers) -> None:
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 41
    with pytest.raises(StorageError, match="No space left") as caught:
        layers.put(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    assert caught.value.hint


def test_a_zstd_window_of_gigabytes_is_refused(layers: Layers) -> None:
    data = tar(member("a", data=os.urandom(5000)))
    window = bytes([21 << 3])  # 2 ** (10 + 21) bytes (RFC 8878, 3.1.1.1.2)
    block = (len(data) << 3 | 1).to_bytes(3, "little") + data
    refused(layers, b"\x28\xb5\x2f\xfd\0" + window + block, "zstd.*memory")
    layers.put(b"\x28\xb5\x2f\xfd\0" + bytes([17 << 3]) + block)  # what `zstd --long` makes


def test_a_long_name_header_of_a_gigabyte_is_refused(layers: Layers) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        info = tarfile.TarInfo("x")
        info.type = kind
        info.size = 1 << 30
        refused(layers, info.tobuf(tarfile.GNU_FORMAT) + bytes(4096), "of 1073741824 bytes")


@pytest.mark.parametrize("text", ["junk", "99 path=x\n", "5 a=b\n", "-1 a=b\n", "9999999999 path=x\n", "7 path\n"])
def test_damaged_pax_headers_are_refused(layers: Layers, text: str) -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = len(text)
    refused(
        layers,
        info.tobuf(tarfile.GNU_FORMAT) + text.encode().ljust(512, b"\0") + tar(member("f")),
        "damaged pax header",
    )


# 7


def test_pax_names_with_bad_utf8_arrive_as_bytes(layers: Layers) -> None:
    record = b"18 path=\xff\xfe/\xc3\x28name\n"
    record = b"%d" % len(record) + record[2:]
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = len(record)
    data = info.tobuf(tarfile.GNU_FORMAT) + record.ljust(512, b"\0") + tar(member("f"))
    tree = layers.tree(layers.put(data).diff_id)
    assert os.fsdecode(b"\xff\xfe/\xc3\x28name") in tree


@pytest.mark.parametrize("time", ["-1.5", "253402300800", "-62135596801", "99999999999999999999", "0.123456789987"])
def test_times_out_of_the_ordinary(layers: Layers, time: str) -> None:
    data = tar(member("f", pax_headers={"mtime": time}), member("d", DIR, pax_headers={"mtime": time}))
    info = layers.put(data)
    tree = layers.tree(info.diff_id)
    if time in ("-1.5", "0.123456789987"):
        assert tree["f"]["mtime"] == tree["d"]["mtime"] == {"-1.5": -1_500_000_000}.get(time, 123456789)
    assert layers.rebuild(info.diff_id) == data


def test_names_and_paths_of_the_greatest_length(layers: Layers) -> None:
    name = "n" * 255
    path = "/".join(["d" * 255] * 15 + ["e" * 254])  # 4,094 bytes
    longer = "/".join(["f" * 255] * 20 + [name])
    data = tar(
        member(name), member(path + "/x", data=b"deep"), member(longer, data=b"deeper"), member(path, DIR, mtime=5)
    )
    info = layers.put(data)
    assert layers.rebuild(info.diff_id) == data
    refused(layers, tar(member("n" * 256)), "File name too long")
    layers.store.remove(info.diff_id)
    assert not layers.store.has(info.diff_id)


def test_many_empty_files_take_seconds(layers: Layers) -> None:
    code = (
        "import sys, tarfile\n"
        "out = sys.stdout.buffer\n"
        "for n in range(100_000):\n"
        "    info = tarfile.TarInfo(f'd{n // 1000}/f{n}')\n"
        "    out.write(info.tobuf(tarfile.GNU_FORMAT))\n"
        "out.write(bytes(1024))\n"
    )
    extraction = layers.store.begin()
    subprocess.run([sys.executable, "-c", code], stdout=extraction.stdin_fd, check=True, timeout=60)
    info = extraction.finish()
    assert info.entries == 100_000
    layers.store.remove(info.diff_id)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A small file system of our own, in a mount namespace of ours."""
    code = (
        "import os, sys, subprocess\n"
        "from pathlib import Path\n"
        "from tests.support.extraction import Layers, member, tar\n"
        "from rootless.errors import StorageError\n"
        "place = Path(sys.argv[1])\n"
        "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160m', 'small', place], check=True)\n"
        "from rootless.kernel.idmaps import UserMap\n"
        "layers = Layers(place, UserMap([(0, 0, 1)], [(0, 0, 1)]))\n"
        "for size in (8 << 20, 120 << 20):\n"
        "    data = tar(*(member(f'f{n}', data=bytes(size // 8)) for n in range(8)))\n"
        "    try:\n"
        "        print('put', layers.put(data).size)\n"
        "    except StorageError as error:\n"
        "        print('refused', error, error.hint)\n"
        "print(layers.leftovers(), len(os.listdir(layers.layout.layers)))\n"
    )
    run = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    lines = run.stdout.splitlines()
    assert lines[0] == f"put {8 << 20}", run.stderr
    assert lines[1].startswith("refused")
    assert "No space left on device" in lines[1]
    assert lines[2] == "[] 1"


def test_errors_are_errors_of_ours(layers: Layers) -> None:
    """Random damage never ends in another exception."""
    data = bytearray(tar(member("a", data=b"1" * 700), member("b", LINK, linkname="a"), member("d", DIR)))
    for at in range(0, 3000, 37):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        try:
            layers.put(bytes(damaged))
        except RootlessError:
            pass
