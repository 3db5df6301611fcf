"""Archives of images for tests, right and wrong, written by Python's tarfile."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from tests.support.images import add_directory, add_file


def layer(files: dict[str, bytes]) -> bytes:
    """The tar of a layer with these files (and their directories)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory in sorted({os.path.dirname(name) for name in files} - {""}):
            add_directory(tar, directory)
        for name, data in files.items():
            add_file(tar, name, data)
    return out.getvalue()


def archive(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """A tar of `members`, with symbolic `links` (name -> target)."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            add_file(tar, name, data)
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path


def members(path: Path) -> dict[str, bytes]:
    """The files in a tar archive."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                found[member.name] = file.read()
    return found
