"""Layers for tests: tars made by hand, extracted into a store of their own, looked at from inside the namespace."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

from rootless.kernel.files import remove_tree
from rootless.kernel.idmaps import UserMap, default_user_map
from rootless.kernel.userns import UserNamespace
from storage.layers.store import LayerInfo, LayerStore
from storage.layout import Layout

Facts = dict[str, Any]


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One entry for `tar`; `fields` are those of TarInfo."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these entries, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, errors="surrogateescape") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Layers:
    """A store of layers in `place`, which may be deleted afterwards by `close`."""

    def __init__(self, place: Path, user_map: UserMap | None = None) -> None:
        self.place = place
        self.layout = Layout(str(place / "root"))
        self.layout.create()
        self.namespace = UserNamespace.create(user_map or default_user_map())
        self.store = LayerStore(self.layout, lambda: self.namespace)

    def put(self, blob: bytes, expected: str | None = None, max_bytes: int | None = None) -> LayerInfo:
        """Extract a layer that is written into the child's pipe."""
        extraction = self.store.begin(expected, max_bytes)
        try:
            view = memoryview(blob)
            try:
                while view:
                    view = view[os.write(extraction.stdin_fd, view) :]
            except BrokenPipeError:
                pass
            return extraction.finish()
        except BaseException:
            extraction.close_input()
            raise

    def tree(self, diff_id: str) -> dict[str, Facts]:
        """What was extracted: path -> facts, as root of the namespace sees it."""
        return self.look(self.layout.diff(self.store.name(diff_id)))

    def look(self, path: str) -> dict[str, Facts]:
        return self.namespace.run(look, path)

    def rebuild(self, diff_id: str) -> bytes:
        with open(self.place / "rebuilt", "w+b") as file:
            self.store.rebuild(diff_id, file.fileno())
            file.seek(0)
            return file.read()

    def leftovers(self) -> list[str]:
        """What lies in tmp/ and, of failed layers, in layers/."""
        return sorted(os.listdir(self.layout.tmp))

    def close(self) -> None:
        self.namespace.run(remove_tree, self.layout.root)
        self.namespace.close()


def look(top: str) -> dict[str, Facts]:
    """Every path below `top` ("" is `top` itself) with what stat, readlink, listxattr and the content say."""
    found: dict[str, Facts] = {}
    todo = [b""]
    while todo:
        path = todo.pop()
        place = os.path.join(os.fsencode(top), path)
        status = os.lstat(place)
        facts: Facts = {
            "kind": {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}.get(
                stat.S_IFMT(status.st_mode), "other"
            ),
            "mode": status.st_mode & 0o7777,
            "uid": status.st_uid,
            "gid": status.st_gid,
            "mtime": status.st_mtime_ns,
        }
        if stat.S_ISCHR(status.st_mode) and not status.st_rdev:
            facts["kind"] = "whiteout"
        if facts["kind"] == "dir":
            todo += [os.path.join(path, name) for name in os.listdir(place)]
        elif facts["kind"] == "link":
            facts["target"] = os.fsdecode(os.readlink(place))
        elif facts["kind"] == "file":
            with open(place, "rb") as file:
                facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            facts["size"] = status.st_size
            facts["blocks"] = status.st_blocks
            facts["inode"] = status.st_ino
            facts["links"] = status.st_nlink
        attributes = {}
        for key in os.listxattr(place, follow_symlinks=False):
            attributes[key] = os.getxattr(place, key, follow_symlinks=False)
        facts["xattrs"] = attributes
        found[os.fsdecode(path)] = facts
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
