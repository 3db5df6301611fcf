"""Stores of Podman's that were forged: nothing of them is believed, waited for or held in memory."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.documents.manifests import OCI_MANIFEST
from tests.support.command import Rootless
from tests.support.leaks import entries

LAYER = "a" * 64
NAME = "docker.io/evil/a:1"


class Forged:
    """A store with one image of one layer, whose tar-split file says `split`."""

    def __init__(self, root: Path, split: bytes) -> None:
        self.root = root
        self.images, self.layers = root / "overlay-images", root / "overlay-layers"
        self.diff = root / "overlay" / LAYER / "diff"
        layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "d" * 64, "size": 1}
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
        self.id = hashlib.sha256(config).hexdigest()
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(config)}
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer]}
        manifest["config"] = {**described, "digest": f"sha256:{self.id}"}
        for place in (self.images / self.id, self.layers, self.diff):
            place.mkdir(parents=True)
        (self.images / self.id / "manifest").write_text(json.dumps(manifest))
        key = b64encode(f"sha256:{self.id}".encode()).decode()
        (self.images / self.id / f"={key}").write_bytes(config)
        self.list_image(id=self.id)
        (self.layers / "layers.json").write_text(json.dumps([{"id": LAYER}]))
        self.split.write_bytes(gzip.compress(split))

    @property
    def split(self) -> Path:
        return self.layers / f"{LAYER}.tar-split.gz"

    def list_image(self, **fields: object) -> None:
        (self.images / "images.json").write_text(json.dumps([{"names": [NAME], "layer": LAYER, **fields}]))


def refused(rl: Rootless, store: Forged) -> str:
    """What is said; at once, in one error, and nothing is left."""
    done = rl("pull", "-q", f"containers-storage:[overlay@{store.root}]{NAME}", check=False, timeout=30)
    assert done.returncode == 125
    for word in ("internal error", "Traceback", "working inside the user namespace"):
        assert word not in done.stderr
    assert entries(rl.root / "layers") == entries(rl.root / "tmp") == []
    return done.stderr


RECORDS = {
    "nested": b'{"a":' * 100_000,
    "an endless size": b'{"type":1,"name":"x","size":1e400}\n',
    "a name with NUL": b'{"type":1,"name":"a\\u0000b","size":5}\n',
    "no object": b"[]\n",
    "a huge line": b'{"type":2,"payload":"' + b"A" * (80 << 20) + b'"}\n',
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_that_are_forged(fresh: Rootless, tmp_path: Path, what: str) -> None:
    assert "tar-split file is damaged" in refused(fresh, Forged(tmp_path / "store", RECORDS[what]))


def test_files_out_of_the_layer_and_what_is_no_file_are_not_read(fresh: Rootless, tmp_path: Path) -> None:
    store = Forged(tmp_path / "store", b'{"type":1,"name":"f","size":5}\n')
    (store.diff / "f").symlink_to("/etc/passwd")
    assert "symbolic links" in refused(fresh, store)
    (store.diff / "f").unlink()
    os.mkfifo(store.diff / "f")
    assert "shorter than it was" in refused(fresh, store)


PIPES: dict[str, Callable[[Forged], Path]] = {
    "images.json": lambda store: store.images / "images.json",
    "layers.json": lambda store: store.layers / "layers.json",
    "manifest": lambda store: store.images / store.id / "manifest",
    "tar-split": lambda store: store.split,
}


@pytest.mark.parametrize("what", PIPES)
def test_nobody_waits_for_a_pipe(fresh: Rootless, tmp_path: Path, what: str) -> None:
    store = Forged(tmp_path / "store", b"")
    place = PIPES[what](store)
    place.unlink()
    os.mkfifo(place)
    assert "is not a file" in refused(fresh, store)


@pytest.mark.parametrize("name", ["../../x", "x\0", "\ud800", "\33[31m", "", 5])
def test_ids_that_are_none_are_passed_over(fresh: Rootless, tmp_path: Path, name: object) -> None:
    store = Forged(tmp_path / "store", b"")
    store.list_image(id=name)
    assert "no such image" in refused(fresh, store)
    store.list_image(id=store.id, layer=name)
    (store.layers / "layers.json").write_text(json.dumps([{"id": name}, {}]))
    refused(fresh, store)
