"""A layer with one of everything that a tar can hold, over the busybox layer."""

from __future__ import annotations

import tarfile
from typing import Any

from tests.support.extraction import member, tar

_WHEN = 1_700_000_000.123456


def odd_layer() -> bytes:
    """Owners, modes, links, marks of deletion, attributes, names and times, in every mixture that has a rule."""
    directory, link, hard = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

    def one(
        name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any
    ) -> tuple[tarfile.TarInfo, bytes]:
        return member(name, kind, data, **{"mtime": _WHEN, **fields})

    return tar(
        one(".", directory),
        one("a/b/c/implied", data=b"x"),
        one("shared", directory, mode=0o2775, gid=7),
        one("shared/file", data=b"yes"),
        one("suid", data=b"yes", mode=0o4755, uid=5, gid=6),
        one("unmapped", data=b"yes", mode=0o4755, uid=5_000_000, gid=6),
        one("unmapped.d", directory, uid=5_000_000, gid=6),
        one("link", link, linkname="a/b", uid=3),
        one("link/through", data=b"12"),
        one("hard", hard, linkname="suid"),
        one("hard-below", hard, linkname="etc/passwd"),
        one("shared/hard-below", hard, linkname="etc/group"),
        one("fifo", tarfile.FIFOTYPE, mode=0o622, uid=9),
        one("device", tarfile.CHRTYPE),
        one("noted", data=b"q", pax_headers={"SCHILY.xattr.user.me": "hello", "SCHILY.xattr.user.overlay.opaque": "y"}),
        one(".wh.gone"),
        one("home/.wh..wh..opq"),
        one("home/new", data=b"1"),
        one(".wh.tmp"),
        one("tmp", directory, mode=0o1777),
        one("tmp/file", data=b"1"),
        one("twice", data=b"1"),
        one("twice", data=b"22"),
        one("was/a/directory", data=b"1"),
        one("was", data=b"a file now"),
        one("described", directory, mode=0o700),
        one("described", directory, uid=2),
        one("old", data=b"1", mtime=-5.5),
        one("future", mtime=253402300800),
        one("usr/bin/new", data=b"1"),
        one("röte/" + "n" * 200 + "/" + "m" * 150, data=b"1"),
    )
