"""What a root file system looks like, for comparing two of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection

from tests.support.command import Rootless

# what the engine makes in every container
OWN = frozenset(("dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "run", "sys"))


def exported(rl: Rootless, container: str) -> bytes:
    """What `export` writes to standard output."""
    process = rl.popen("export", container)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return out


def described(data: bytes, without: Collection[str] = OWN) -> dict[str, tuple[object, ...]]:
    """Name -> type, mode, owner, time to the nanosecond, size, link, content and attributes of each member of a tar."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.name in without:
                continue
            file = tar.extractfile(member) if member.isreg() else None
            times = member.pax_headers.get("mtime", str(int(member.mtime)))
            found[member.name] = (
                member.type,
                oct(member.mode),
                (member.uid, member.gid),
                times,
                member.size,
                member.linkname,
                file.read() if file is not None else b"",
                {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")},
            )
    return found
