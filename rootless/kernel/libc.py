"""The C library: how a system call is made, and the one way in which its failure is told.

`_ctypes` is the C half of `ctypes`; the Python half costs 2 ms at every start and offers nothing that is needed here.
Every argument travels as a machine word: an integer as it is, bytes as their address (structures made by `struct`), a
string as the address of its file-system encoding, None as a null pointer. Symbols are looked up when first used.
"""

from __future__ import annotations

import errno
import os
import sys
from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_USE_ERRNO, CFuncPtr, _SimpleCData, dlopen, get_errno

from rootless.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Argument = int | str | bytes | None

_RTLD_NOW = 2


class _Word(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Result(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Text(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Result


class Library:
    """A shared library by its file name (`libseccomp.so.2`); None is the C library that this process already has.

    Raises OSError when it cannot be loaded.
    """

    __slots__ = ("__weakref__", "_functions", "_handle")

    def __init__(self, name: str | None) -> None:
        self._handle: int = dlopen(name, _RTLD_NOW)  # type: ignore[arg-type]
        self._functions: dict[tuple[str, int], Callable[..., int]] = {}

    def call(self, name: str, *arguments: Argument) -> int:
        """Call a function that returns an int. Failure shows in the result alone, as in C: see `check`.

        A function that the library does not have fails with ENOSYS. Raises ValueError for a string with a NUL in it.
        """
        try:
            function = self._functions[name, len(arguments)]
        except KeyError:
            try:
                found = _Function((name, self))  # type: ignore[arg-type]
            except AttributeError:
                raise SyscallError(errno.ENOSYS, name) from None
            found.argtypes = (_Word,) * len(arguments)
            function = self._functions[name, len(arguments)] = found
        return function(*[text(value) if isinstance(value, str) else value for value in arguments])


libc = Library(None)


class SyscallError(KernelError, OSError):
    """A system call that failed. `errno`, `filename` and `strerror` are set, as in every OSError; what is raised is
    also a FileNotFoundError, PermissionError, ... where Python has a class for that errno."""

    def __new__(cls, number: int, call: str, path: str | bytes | None = None, hint: str | None = None) -> SyscallError:
        # OSError takes its fields here, not in __init__, where a class brings a __new__ of its own.
        name = None if path is None else os.fsdecode(path)
        return OSError.__new__(_class_for(number) if cls is SyscallError else cls, number, os.strerror(number), name)

    def __init__(self, number: int, call: str, path: str | bytes | None = None, hint: str | None = None) -> None:
        place = f" {os.fsdecode(path)}" if path else ""
        self.call = call
        self.message = f"{call}{place}: {os.strerror(number)} ({errno.errorcode.get(number, number)})"
        self.hint = hint if hint or number != errno.ENOSYS else "a newer kernel, or a sandbox around us that allows it"

    def __str__(self) -> str:
        return self.message


_classes: dict[int, type[SyscallError]] = {}


def _class_for(number: int) -> type[SyscallError]:
    """SyscallError mixed with the class that OSError itself would choose for this errno."""
    if number not in _classes:
        native = type(OSError(number, ""))
        _classes[number] = SyscallError if native is OSError else type("SyscallError", (SyscallError, native), {})
    return _classes[number]


def check(result: int, call: str, path: str | bytes | None = None) -> int:
    """`result` where the call succeeded (is not -1), else SyscallError naming the call, the path and the errno."""
    if result == -1:
        raise SyscallError(get_errno(), call, path)
    return result


def text(value: str | bytes) -> bytes:
    """A path or name as the kernel wants it. Raises ValueError for an embedded NUL, which C would take as the end."""
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ValueError(f"NUL in {value!r}")
    return encoded


def address_of(buffer: bytes) -> int:
    """Where `buffer` lies, for a structure that points to it; valid only as long as the caller keeps `buffer`."""
    return int.from_bytes(memoryview(_Text(buffer)), sys.byteorder)


def syscall(number: int, call: str, *arguments: Argument, path: str | bytes | None = None) -> int:
    """A system call by its number, for those that the C library does not wrap. Raises SyscallError."""
    return check(libc.call("syscall", number, *arguments), call, path)


_SWAPPED_DIRECTIONS = ("ppc", "mips", "sparc", "alpha")


def ioctl_number(writes: bool, kind: int, number: int, size: int) -> int:
    """The request number of an ioctl that hands over (`writes`) or fetches `size` bytes, as _IOW and _IOR of
    <linux/ioctl.h> make it; a few architectures lay the direction out in another way."""
    swapped = os.uname().machine.startswith(_SWAPPED_DIRECTIONS)
    direction = (4 if writes else 2) << 29 if swapped else (1 if writes else 2) << 30
    return direction | size << 16 | kind << 8 | number
