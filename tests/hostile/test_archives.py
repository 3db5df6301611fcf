"""Archives that are damaged or lie: one clear error, exit code 125, and nothing is left in the store."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import archive, layer, members
from tests.support.command import Rootless
from tests.support.images import docker_archive
from tests.support.leaks import entries

LAYER = layer({"etc/x": b"x"})


@pytest.fixture
def good(tmp_path: Path) -> dict[str, bytes]:
    return members(docker_archive(tmp_path / "good.tar", [LAYER], names=["docker.io/me/x:1"]))


def refused(rl: Rootless, path: Path, why: str) -> None:
    """Loading fails, says why, and leaves nothing behind."""
    failed = rl("load", "-i", str(path), check=False)
    assert (failed.returncode, failed.stdout) == (125, ""), failed.stderr
    assert failed.stderr.startswith("Error: ")
    assert why in failed.stderr
    assert "internal error" not in failed.stderr
    assert rl.out("images", "-q") == ""
    rl("image", "prune", "-f")
    assert [entries(rl.root / name) for name in ("layers", "blobs/sha256", "tmp", "leases")] == [[], [], [], []]


def manifest(good: dict[str, bytes], change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    listed = json.loads(good["manifest.json"])
    change(listed[0])
    return {**good, "manifest.json": json.dumps(listed).encode()}


def test_names_that_lead_out_of_the_archive(fresh: Rootless, good: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LAYER)
    changed = manifest(good, lambda entry: entry.update(Layers=["../../file"]))
    refused(fresh, archive(tmp_path / "a.tar", changed), "'../../file', which is not in the archive")
    changed = manifest(good, lambda entry: entry.update(Layers=["/etc/passwd"]))
    refused(fresh, archive(tmp_path / "b.tar", changed), "not in the archive")
    changed = manifest(good, lambda entry: entry.update(Layers=["link"]))
    refused(fresh, archive(tmp_path / "c.tar", changed, {"link": str(tmp_path / "file")}), "not in the archive")
    refused(fresh, archive(tmp_path / "d.tar", changed, {"link": "link"}), "not in the archive")


def test_a_directory_whose_files_are_links_out_of_it(fresh: Rootless, good: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(LAYER)
    place = tmp_path / "directory"
    for name, data in good.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    name = json.loads(good["manifest.json"])[0]["Layers"][0]
    (place / name).unlink()
    (place / name).symlink_to(tmp_path / "outside")
    refused(fresh, place, "not in the archive")


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda entry: entry.update(Layers=[]), "describes 1 layers, and manifest.json lists 0"),
        (lambda entry: entry.update(Layers="x"), "describes no image"),
        (lambda entry: entry.update(Layers=[7]), "names 7"),
        (lambda entry: entry.pop("Config"), "names None"),
        (lambda entry: entry.update(RepoTags=[7]), "not a list of names"),
        (lambda entry: entry.update(RepoTags=["UPPER:1"]), "lowercase"),
        (lambda entry: entry.update(RepoTags=["../../x"]), "the image's name"),
        (lambda entry: entry.update(Config="manifest.json"), "image configuration"),
    ],
)
def test_manifests_that_make_no_sense(
    fresh: Rootless, good: dict[str, bytes], tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    refused(fresh, archive(tmp_path / "a.tar", manifest(good, change)), why)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"7", b"{}", b"[7]", b"{", b"[" * 100_000, b"\xff" * 10, b" " * (5 << 20)]
)
def test_manifest_json_that_is_no_list_of_images(
    fresh: Rootless, good: dict[str, bytes], tmp_path: Path, data: bytes
) -> None:
    refused(fresh, archive(tmp_path / "a.tar", {**good, "manifest.json": data}), "reading ")


def test_a_layer_that_is_not_what_the_configuration_says(
    fresh: Rootless, good: dict[str, bytes], tmp_path: Path
) -> None:
    name = json.loads(good["manifest.json"])[0]["Layers"][0]
    changed = {**good, name: layer({"etc/x": b"y"})}
    refused(fresh, archive(tmp_path / "a.tar", changed), hashlib.sha256(LAYER).hexdigest())


def test_a_layer_that_is_no_tar_or_cut_short(fresh: Rootless, good: dict[str, bytes], tmp_path: Path) -> None:
    name = json.loads(good["manifest.json"])[0]["Layers"][0]
    refused(fresh, archive(tmp_path / "a.tar", {**good, name: b"x" * 4096}), "tar")
    refused(fresh, archive(tmp_path / "b.tar", {**good, name: LAYER[:1100]}), "ends in the middle")
    refused(fresh, archive(tmp_path / "c.tar", {**good, name: b"\x1f\x8b\x08" + b"x" * 100}), "gzip")


def test_files_that_are_no_image_archive(fresh: Rootless, tmp_path: Path) -> None:
    for number, (data, why) in enumerate(
        [
            (b"", "empty"),
            (b"no tar at all", "not an image archive"),
            (b"\0" * 10240, "empty archive"),
            (b"\x1f\x8b\x08 not gzip", "gzip"),
            (b"\x28\xb5\x2f\xfd not zstd", "zstd"),
            (LAYER, "neither manifest.json nor index.json"),
            (os.urandom(100_000), "not an image archive"),
        ]
    ):
        path = tmp_path / str(number)
        path.write_bytes(data)
        refused(fresh, path, why)
    refused(fresh, tmp_path, "neither manifest.json nor index.json")
    refused(fresh, tmp_path / "missing", "no such file")


def test_an_archive_of_more_files_than_any_image_has(fresh: Rootless, tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    header = tarfile.TarInfo("x" * 90)
    with path.open("wb") as file:
        for number in range(50_002):
            header.name = f"{number}"
            file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1024))
    refused(fresh, path, "more than 50000 files")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_headers_of_a_gibibyte_are_not_taken_into_memory(fresh: Rootless, tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 1 << 30
    path = tmp_path / "headers.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, (1 << 30) + 4096)
    refused(fresh, path, "a header of 1073741824 bytes")
    for name in ("docker-archive", "oci-archive"):
        failed = fresh("pull", "-q", f"{name}:{path}", check=False)
        assert (failed.returncode, "a header of 1073741824 bytes" in failed.stderr) == (125, True)


def test_many_headers_that_add_up_are_not_taken_into_memory(fresh: Rootless, tmp_path: Path) -> None:
    path = tmp_path / "headers.tar"
    with open(path, "wb") as file:
        for number in range(150):
            header = tarfile.TarInfo(f"{number}")
            header.type, header.size = tarfile.XHDTYPE, 1_000_000
            record = b"1000000 comment="
            file.write(header.tobuf(tarfile.GNU_FORMAT) + record.ljust(999_999, b"x") + b"\n" + bytes(448))
            file.write(tarfile.TarInfo(f"{number}").tobuf(tarfile.GNU_FORMAT))
    refused(fresh, path, "headers without end")


def test_an_archive_cut_short_anywhere(fresh: Rootless, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "good.tar", [LAYER], names=["docker.io/me/x:1"])
    data = path.read_bytes()
    for end in (100, 700, 2000, 5000, len(data) - 10240 - 300):
        cut = tmp_path / f"{end}.tar"
        cut.write_bytes(data[:end])
        refused(fresh, cut, "reading ")


def test_two_images_of_one_name_leave_the_name_with_the_last(fresh: Rootless, tmp_path: Path) -> None:
    both: dict[str, bytes] = {}
    listed = []
    for number in (1, 2):
        layers = [layer({"etc/x": str(number).encode()})]
        found = members(docker_archive(tmp_path / f"{number}.tar", layers, names=["docker.io/me/x:1"]))
        listed += json.loads(found.pop("manifest.json"))
        both.update(found)
    both["manifest.json"] = json.dumps(listed).encode()
    fresh("load", "-i", str(archive(tmp_path / "both.tar", both)))
    assert fresh.inspect_image("me/x:1")["Id"] == listed[1]["Config"].removesuffix(".json")
    assert len(fresh.out("images", "-q").split()) == 2


def test_the_earlier_images_of_an_archive_that_fails_are_whole_or_absent(
    fresh: Rootless, good: dict[str, bytes], tmp_path: Path
) -> None:
    listed = json.loads(good["manifest.json"])
    listed.append({"Config": "missing.json", "RepoTags": [], "Layers": []})
    refused(fresh, archive(tmp_path / "a.tar", {**good, "manifest.json": json.dumps(listed).encode()}), "missing.json")


def oci(config: bytes, contents: list[bytes], **changes: Any) -> dict[str, bytes]:
    """The members of an oci-archive."""

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    content = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(data, "application/vnd.oci.image.layer.v1.tar") for data in contents],
        **changes,
    }
    entry = blob(json.dumps(content).encode(), "application/vnd.oci.image.manifest.v1+json")
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return files


def config_of(*diff_ids: str) -> bytes:
    return json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
    ).encode()


DIFF_ID = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def test_oci_archives_that_lie(fresh: Rootless, tmp_path: Path) -> None:
    good = oci(config_of(DIFF_ID), [LAYER])
    blob = f"blobs/sha256/{DIFF_ID[7:]}"
    name = next(key for key, data in good.items() if data == config_of(DIFF_ID))
    entry = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": DIFF_ID, "size": len(LAYER)}
    cases = [
        ({**good, blob: LAYER[:-1] + b"x"}, "sha256:"),
        ({**good, blob: LAYER + b"x"}, "bytes"),
        ({**good, name: good[name][:-1] + b" "}, "damaged"),
        ({key: data for key, data in good.items() if key != blob}, "not in the archive"),
        ({**good, "index.json": b'{"schemaVersion":2,"manifests":[]}'}, "no image"),
        (oci(config_of(DIFF_ID, DIFF_ID), [LAYER]), "lists 1 layers, and the image configuration 2"),
        (oci(config_of(), [], mediaType="application/x-odd"), "not a kind of manifest"),
        (oci(config_of(DIFF_ID), [], layers=[{**entry, "mediaType": "application/x-odd"}]), "unknown kind"),
        (oci(config_of(DIFF_ID), [LAYER], layers=[{**entry, "size": 1}]), "bytes"),
        (oci(config_of(DIFF_ID), [], layers=[{**entry, "digest": "sha256:../../../../etc/passwd"}]), "digest"),
    ]
    for number, (files, why) in enumerate(cases):
        refused(fresh, archive(tmp_path / f"{number}.tar", files), why)
    assert fresh.out("load", "-i", str(archive(tmp_path / "good.tar", good))).startswith("Loaded image: sha256:")


def test_an_index_that_refers_to_itself_or_nests_for_ever(fresh: Rootless, tmp_path: Path) -> None:
    files = {"oci-layout": b"{}"}
    entry: dict[str, Any] = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIFF_ID, "size": 1}
    for _ in range(50):
        data = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        media_type = "application/vnd.oci.image.index.v1+json"
        entry = {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    refused(fresh, archive(tmp_path / "a.tar", files), "nested too deeply")


@pytest.mark.parametrize("count", [127, 500])
def test_images_of_very_many_layers(fresh: Rootless, tmp_path: Path, count: int) -> None:
    layers = [layer({f"etc/{number}": b""}) for number in range(count)]
    path = docker_archive(tmp_path / "many.tar", layers, names=["docker.io/me/many:1"])
    fresh("load", "-i", str(path), timeout=120)
    assert len(fresh.inspect_image("me/many:1")["RootFS"]["Layers"]) == count


def test_the_same_layer_twice_in_one_image(fresh: Rootless, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "twice.tar", [LAYER, LAYER], names=["docker.io/me/twice:1"])
    found = members(path)
    fresh("load", "-i", str(archive(tmp_path / "again.tar", found)))
    assert fresh.inspect_image("me/twice:1")["RootFS"]["Layers"] == [DIFF_ID, DIFF_ID]
    fresh("rmi", "me/twice:1")
    assert os.listdir(fresh.root / "layers") == []


def test_an_outer_archive_full_of_devices_and_sparse_files(
    fresh: Rootless, good: dict[str, bytes], tmp_path: Path
) -> None:
    name = json.loads(good["manifest.json"])[0]["Layers"][0]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for member, data in good.items():
            entry = tarfile.TarInfo(member)
            if member == name:
                entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, 1, 5
                tar.addfile(entry)
            else:
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    refused(fresh, path, "not in the archive")


def test_imports_that_cannot_be(fresh: Rootless, tmp_path: Path) -> None:
    path = tmp_path / "rootfs.tar"
    path.write_bytes(LAYER)
    empty = tmp_path / "empty"
    empty.touch()
    for args, why in [
        ((str(tmp_path / "missing"),), "no such file"),
        ((str(tmp_path),), "it is a directory"),
        ((str(empty),), "empty"),
        (("ftp://example.org/x.tar",), "no such file"),
        ((str(path), "UPPER"), "lowercase"),
        (("--change", "FROM x", str(path)), "FROM"),
    ]:
        failed = fresh("import", *args, check=False)
        assert failed.returncode == 125
        assert why in failed.stderr
        assert fresh.out("images", "-q") == ""


def test_a_file_that_cannot_be_read_is_named_in_plain_words(fresh: Rootless, tmp_path: Path) -> None:
    files = {"noise": os.urandom(4096), "cut.tar.gz": gzip.compress(LAYER)[:-40], "cut.tar": LAYER[:700]}
    files["number.tar"] = _with_bad_size(LAYER)
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        for failed in (
            fresh("import", str(path), check=False),
            fresh("load", "-i", str(path), check=False),
            fresh("import", "-", check=False, stdin=subprocess.Popen(["cat", path], stdout=subprocess.PIPE).stdout),
        ):
            assert failed.returncode == 125
            first = failed.stderr.splitlines()[0]
            assert (str(path) in first) != ("standard input" in first), first
            assert not re.search(r"""b['"]|\\x""", first), first
    assert fresh.out("images", "-q") == ""
    assert entries(fresh.root / "tmp") == []


def _with_bad_size(tar: bytes) -> bytes:
    """A tar whose first header has a word for a size, and is right otherwise."""
    header = bytearray(tar[:512])
    header[124:136] = b"twelve\xff\0\0\0\0\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[512:]


def test_an_archive_that_the_policy_rejects_is_not_loaded(fresh: Rootless, busybox: Path) -> None:
    place = fresh.place / "home/.config/containers"
    place.mkdir(parents=True)
    accept, reject = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
    signed = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]
    for wanted, why in ((reject, "refused by"), (signed, "wants a signature, and images of docker-archive have none")):
        (place / "policy.json").write_text(
            json.dumps({"default": accept, "transports": {"docker-archive": {"": wanted}}})
        )
        failed = fresh("load", "-i", str(busybox), check=False)
        assert failed.returncode == 125
        assert why in failed.stderr
        assert fresh.out("images", "-q") == ""
    (place / "policy.json").write_text(json.dumps({"default": reject, "transports": {"docker-archive": {"": accept}}}))
    fresh("load", "-q", "-i", str(busybox))
