"""libseccomp: from rules to the BPF program that seccomp(2) loads. Only used where no compiled program is at hand."""

from __future__ import annotations

import ctypes
import os

from rootless.errors import RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = "libseccomp.so.2"  # asking ctypes.util for it would start ldconfig and a compiler
_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_NO_SUCH_CALL = -1

COMPARISONS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

Comparison = tuple[int, int, int, int]  # argument number, operator, first and second value


class _Argument(ctypes.Structure):
    _fields_ = [
        ("number", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


class Filter:
    """A filter being built; `close` it. Of several rules for one call that hold alike, the first counts."""

    __slots__ = ("_context", "_library")

    def __init__(self, default_action: int) -> None:
        """`default_action` (SCMP_ACT_*) is for calls that no rule names. Raises RootlessError without libseccomp."""
        try:
            self._library: Any = ctypes.CDLL(_NAME)
        except OSError:
            raise RootlessError(
                f"compiling the seccomp profile: {_NAME} is not installed",
                "install libseccomp (Debian: libseccomp2), or run with --security-opt seccomp=unconfined",
            ) from None
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._library.seccomp_init.argtypes = [ctypes.c_uint32]
        self._library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Argument),
        ]
        self._context = ctypes.c_void_p(self._library.seccomp_init(default_action))
        if not self._context:
            raise RootlessError(
                f"compiling the seccomp profile: {_NAME} refuses the default action {default_action:#x}"
            )
        # Decisions in a handful of comparisons, not one for each listed call (libseccomp 2.5; older ones refuse).
        self._library.seccomp_attr_set(self._context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)

    def add_architecture(self, name: str) -> None:
        """Let rules hold for another ABI of this machine ("x86", "x32", "arm"); unknown ones are left out."""
        token = ctypes.c_uint32(self._library.seccomp_arch_resolve_name(name.encode())).value
        if token:
            self._library.seccomp_arch_add(self._context, ctypes.c_uint32(token))

    def add_rule(self, action: int, call: str, comparisons: list[Comparison]) -> None:
        """Add a rule; all comparisons must hold. A call that this libseccomp does not know is left to the default."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == _NO_SUCH_CALL:
            return
        arguments = (_Argument * len(comparisons))(*[_Argument(*one) for one in comparisons])
        result = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), arguments)
        if result:
            raise RootlessError(f"compiling the seccomp profile: the rule for {call}: {os.strerror(-result)}")

    def export(self) -> bytes:
        """The program, as struct sock_filter[]. Raises RootlessError."""
        memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            result = self._library.seccomp_export_bpf(self._context, memory)
            if result:
                raise RootlessError(f"compiling the seccomp profile: {os.strerror(-result)}")
            return os.pread(memory, os.fstat(memory).st_size, 0)
        finally:
            os.close(memory)

    def close(self) -> None:
        self._library.seccomp_release(self._context)
