"""Tar archives as all kinds of programs write them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

_GNU = {
    "gnu": ("--format=gnu",),
    "gnu sparse": ("--format=gnu", "--sparse"),
    "oldgnu sparse": ("--format=oldgnu", "--sparse"),
    "pax": ("--format=pax",),
    "pax with other names": ("--format=posix", "--pax-option=exthdr.name=%d/Other/%f,delete=atime"),
    "pax global header": ("--format=posix", "--pax-option=comment=hello"),
    "sparse 0.0": ("--format=posix", "--sparse", "--sparse-version=0.0"),
    "sparse 0.1": ("--format=posix", "--sparse", "--sparse-version=0.1"),
    "sparse 1.0": ("--format=posix", "--sparse", "--sparse-version=1.0"),
    "numeric owners": ("--format=gnu", "--numeric-owner", "--owner=4000000000", "--group=7"),
    "blocks of 512": ("--format=gnu", "--blocking-factor=1"),
}
_GNU_SHORT = {"v7": ("--format=v7",), "ustar": ("--format=ustar",)}
_BSD = {"bsd pax": "pax", "bsd restricted pax": "paxr", "bsd gnu": "gnutar"}


def make_tree(place: Path, short: bool = False) -> Path:
    """Files of every kind that an ordinary user can make; with `short` only what the oldest formats know."""
    place.mkdir()
    (place / "dir").mkdir(mode=0o750)
    (place / "dir/file").write_bytes(b"content\n" * 100)
    (place / "dir/empty").touch()
    os.link(place / "dir/file", place / "hard")
    (place / "soft").symlink_to("dir/file")
    os.utime(place / "dir/file", ns=(1_700_000_000_123_456_789, 1_600_000_000_987_654_321))
    if short:
        return place
    os.mkfifo(place / "fifo")
    (place / ("d" * 120)).mkdir()
    (place / ("d" * 120) / ("f" * 200)).write_bytes(b"long")
    (place / "far").symlink_to("t" * 300)
    (place / "größe").write_bytes(b"UTF-8")
    (place / os.fsdecode(b"latin-\xe4")).write_bytes(b"not UTF-8")
    with open(place / "sparse", "wb") as file:
        for number in range(40):  # more extents than a header of the old kind has room for
            file.seek(number << 17)
            file.write(b"%d" % number * 3000)
        file.truncate(6 << 20)
    with open(place / "hole", "wb") as file:
        file.truncate(1 << 20)
    return place


def all_tars(place: Path) -> dict[str, bytes]:
    """A tar from each maker, by its name. `place`: an empty directory to work in."""
    trees = {False: make_tree(place / "tree"), True: make_tree(place / "short", short=True)}
    found = {}
    for options, short in ((_GNU, False), (_GNU_SHORT, True)):
        for name, words in options.items():
            found[name] = _output("tar", "-C", str(trees[short]), *words, "-cf", "-", ".")
    for name, format in _BSD.items():
        found[name] = _output(
            "bsdtar", "-C", str(trees[False]), f"--format={format}", "--exclude", "latin*", "-cf", "-", "."
        )
    found["bsd ustar"] = _output("bsdtar", "-C", str(trees[True]), "--format=ustar", "-cf", "-", ".")
    for number, name in ((tarfile.USTAR_FORMAT, "ustar"), (tarfile.GNU_FORMAT, "gnu"), (tarfile.PAX_FORMAT, "pax")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=number, errors="surrogateescape") as tar:
            tar.add(trees[number == tarfile.USTAR_FORMAT], ".")
        found[f"python {name}"] = out.getvalue()
    found["star"] = _as_star(found["python ustar"])
    found["without an end"] = found["gnu"].rstrip(b"\0").ljust(-(-len(found["gnu"].rstrip(b"\0")) // 512) * 512, b"\0")
    found["with bytes after its end"] = found["gnu"] + b"\0" * 4096
    return found


def _as_star(data: bytes) -> bytes:
    """A ustar archive as star marks its own: "tar" at the end of each header, times where the prefix ends."""
    out = bytearray(data)
    at = 0
    while at < len(out) and out[at]:
        size = int(out[at + 124 : at + 135] or b"0", 8)
        out[at + 476 : at + 500] = b"14524772521 14524772521 "
        out[at + 508 : at + 512] = b"tar\0"
        out[at + 148 : at + 156] = b" " * 8
        out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
        at += 512 + -(-size // 512) * 512
    return bytes(out)


def _output(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
