"""The image that is pulled and loaded: real files of a Debian tree, so that it compresses as images do."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.images import docker_archive

LAYERS = 8
NAME = "docker.io/library/big:latest"


def big_archive(path: Path, tree: Path, size: int) -> None:
    """A docker-archive of LAYERS layers that hold `size` bytes of files of `tree`/usr together; kept if it is there."""
    marker = path.with_suffix(".size")
    if path.exists() and marker.exists() and marker.read_text() == str(size):
        return
    files = endless(tree)
    layers = [one_layer(files, number, size // LAYERS) for number in range(LAYERS)]
    docker_archive(path, layers, names=[NAME])
    path.chmod(0o644)
    marker.write_text(str(size))


def endless(tree: Path) -> Iterator[Path]:
    """All regular files below `tree`/usr in a fixed order, again and again."""
    found = []
    for directory, folders, names in os.walk(tree / "usr"):
        folders.sort()
        found += [Path(directory, name) for name in sorted(names)]
    files = [file for file in found if file.is_file() and not file.is_symlink() and file.stat().st_size < 32 << 20]
    while True:
        yield from files


def one_layer(files: Iterator[Path], number: int, size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        seen: set[str] = set()
        while out.tell() < size:
            file = next(files)
            name = f"layer{number}/{file.as_posix().lstrip('/')}"
            for parent in reversed(Path(name).parents[:-1]):
                if str(parent) not in seen:
                    seen.add(str(parent))
                    entry = tarfile.TarInfo(str(parent))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = file.stat().st_size, file.stat().st_mode & 0o777
            with file.open("rb") as content:
                tar.addfile(entry, content)
    return out.getvalue()
