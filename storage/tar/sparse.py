"""Contents of files in a tar, without the holes where these are worth it (GNU's sparse format 1.0)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from storage.tar import headers
from storage.tar.output import Output

_LEAST_HOLE = 1 << 20  # bytes of holes from which on a file is written as a sparse one
_MOST_EXTENTS = 100_000


def write_contents(out: Output, fd: int, size: int, header: Callable[..., None]) -> None:
    """Write `size` bytes of the open file `fd`, padded to whole blocks. `header` writes what comes before them: called
    with `size`, bytes in the stream, and where holes are left out `sparse_size`, those of the file."""
    extents = _data_extents(fd, size)
    if extents is None:
        header(size=size)
        out.payload(fd, 0, size)
        out.write(headers.padding(size))
        return
    table = headers.sparse_map(extents)
    total = len(table) + sum(length for _, length in extents)
    header(size=total, sparse_size=size)
    out.write(table)
    for offset, length in extents:
        out.payload(fd, offset, length)
    out.write(headers.padding(total))


def _data_extents(fd: int, size: int) -> list[tuple[int, int]] | None:
    """(offset, length) of the pieces of an open file that are no holes, where the holes are worth it; else None."""
    if os.fstat(fd).st_blocks * 512 + _LEAST_HOLE > size:
        return None
    extents: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a hole up to the end
                raise
            break
        if start >= size:
            break
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if len(extents) == _MOST_EXTENTS:
            last = extents[-1][0]
            extents[-1] = (last, at - last)
        else:
            extents.append((start, at - start))
    holes = size - sum(length for _, length in extents)
    return extents if holes >= _LEAST_HOLE else None
