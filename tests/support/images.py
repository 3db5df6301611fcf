"""Real images for tests, made on the spot from the host's static busybox."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from functools import cache
from pathlib import Path

BUSYBOX = "/usr/bin/busybox" if os.path.exists("/usr/bin/busybox") else "/bin/busybox"
NAME = "docker.io/library/busybox:latest"

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
"""
GROUP = "root:x:0:\ndaemon:x:1:\nwheel:x:10:alice\nalice:x:1000:\n"


@cache
def applets() -> tuple[str, ...]:
    listed = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout
    return tuple(name for name in listed.split() if name != "busybox")


def add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, uid, gid
    tar.addfile(entry, io.BytesIO(data))


def add_directory(tar: tarfile.TarFile, name: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, gid
    tar.addfile(entry)


def add_symlink(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
    tar.addfile(entry)


def busybox_layer() -> bytes:
    """The tar of a root file system: busybox, all its applets, a few users."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory in ("bin", "etc", "home", "root", "srv", "usr", "var", "usr/bin"):
            add_directory(tar, directory)
        add_directory(tar, "tmp", 0o1777)
        add_directory(tar, "home/alice", 0o755, 1000, 1000)
        add_file(tar, "bin/busybox", Path(BUSYBOX).read_bytes(), 0o755)
        for applet in applets():
            add_symlink(tar, f"bin/{applet}", "busybox")
        add_file(tar, "etc/passwd", PASSWD.encode())
        add_file(tar, "etc/group", GROUP.encode())
        add_file(tar, "etc/not-executable", b"#!/bin/sh\necho no\n", 0o644)
    return out.getvalue()


def docker_archive(
    path: Path,
    layers: list[bytes],
    *,
    names: list[str],
    config: dict[str, object] | None = None,
    diff_ids: list[str] | None = None,
) -> Path:
    """Write a docker-archive of one image with these uncompressed layers; `config` is the image's "config" object."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    described = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": config if config is not None else {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"layer {n}"} for n in range(len(layers))],
    }
    text = json.dumps(described).encode()
    config_name = hashlib.sha256(text).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": names, "Layers": [f"{digest}/layer.tar" for digest in digests]}]
    with tarfile.open(path, "w") as tar:
        add_file(tar, config_name, text)
        for digest, layer in zip(digests, layers, strict=True):
            add_file(tar, f"{digest}/layer.tar", layer)
        add_file(tar, "manifest.json", json.dumps(manifest).encode())
    return path


def busybox_archive(directory: Path, **config: object) -> Path:
    """A docker-archive of the busybox image (named `docker.io/library/busybox:latest`)."""
    path = directory / "busybox.tar"
    merged: dict[str, object] = {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"], **config}
    return docker_archive(path, [busybox_layer()], names=[NAME], config=merged)
