"""Writes nodes of a stack (storage.changes.stack) as a tar stream. The same files make the same bytes.

Names are sorted, ids are those of the user namespace, times are kept to the nanosecond; of files with several names the
first has the content. A file that shrinks while it is read is filled up with zeros, one that has gone is left out.
"""

from __future__ import annotations

import os
import stat
from functools import partial

from storage.changes.facts import facts_of
from storage.changes.stack import Node, Stack
from storage.tar import headers
from storage.tar.extract import OPAQUE, WHITEOUT
from storage.tar.output import Output
from storage.tar.reader import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK
from storage.tar.sparse import write_contents

_KINDS = {stat.S_IFIFO: FIFO, stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK}


class Tarball:
    """Writes to `out`; `close` ends the archive, and the descriptor stays open."""

    def __init__(self, stack: Stack, out: int, single: bool, dates_root: bool = False) -> None:
        """`dates_root`: the root's own time counts. That of a container is when it was made: no driver hands it on."""
        self._stack = stack
        self._dates_root = dates_root
        self._out = Output(out)
        self._single = single
        self._links: dict[tuple[int, int], bytes] = {}
        self.entries = 0

    def add(self, path: bytes, node: Node) -> None:
        """The file or directory at `path`; b"" is the root. Sockets are passed over, as every tar does."""
        found = node.found
        form = stat.S_IFMT(found.st_mode)
        if form == stat.S_IFSOCK:
            return
        if not node.is_directory and found.st_nlink > 1:
            first = self._links.setdefault((found.st_dev, found.st_ino), path)
            if first != path:
                facts = facts_of(self._stack, path, node, self._single)
                self._header(path, HARD_LINK, node, mode=facts.mode, uid=facts.uid, gid=facts.gid, link=first)
                return
        if form == stat.S_IFREG:
            self._file(path, node)
            return
        facts = facts_of(self._stack, path, node, self._single)
        attributes = {"mode": facts.mode, "uid": facts.uid, "gid": facts.gid, "xattrs": facts.xattrs}
        if form == stat.S_IFDIR:
            self._header(path or b".", DIRECTORY, node, **attributes)
        elif form == stat.S_IFLNK:
            target = self._stack.link_target(path, node)
            if target is not None:
                self._header(path, SYMLINK, node, link=target, **attributes)
        else:
            device = (os.major(found.st_rdev), os.minor(found.st_rdev))
            self._header(path, _KINDS[form], node, device=device, **attributes)

    def delete(self, path: bytes) -> None:
        """A whiteout: `path` of the layers below is gone."""
        directory, slash, base = path.rpartition(b"/")
        self._out.write(headers.whiteout(directory + slash + WHITEOUT + base))
        self.entries += 1

    def hide_below(self, path: bytes) -> None:
        """An opaque whiteout: nothing in the directory `path` of the layers below shows."""
        self._out.write(headers.whiteout(path + b"/" + OPAQUE))
        self.entries += 1

    def close(self) -> None:
        self._out.write(headers.END)
        self._out.flush()

    def _header(self, path: bytes, kind: bytes, node: Node, **values: object) -> None:
        mtime = 0 if path == b"." and not self._dates_root else node.found.st_mtime_ns
        self._out.write(headers.header(path, kind, mtime=mtime, **values))  # type: ignore[arg-type]
        self.entries += 1

    def _file(self, path: bytes, node: Node) -> None:
        fd = self._stack.open(path, node)
        if fd is None:
            self._links.pop((node.found.st_dev, node.found.st_ino), None)
            return
        try:
            facts = facts_of(self._stack, path, node, self._single, fd)
            values = {"mode": facts.mode, "uid": facts.uid, "gid": facts.gid, "xattrs": facts.xattrs}
            write_contents(self._out, fd, os.fstat(fd).st_size, partial(self._header, path, FILE, node, **values))
        finally:
            os.close(fd)
