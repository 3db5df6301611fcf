"""An interpreter for the classic BPF of seccomp filters: what does a program say to a system call?"""

from __future__ import annotations

import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7}


def run_filter(program: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """The action (SECCOMP_RET_*) for a call. Knows what libseccomp emits and fails on anything else."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *[value & (2**64 - 1) for value in padded])
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        operation, yes, no, constant = code[at]
        at += 1
        if operation == 0x20:  # load a word of seccomp_data
            accumulator = struct.unpack_from("=I", data, constant)[0]
        elif operation == 0x54:
            accumulator &= constant
        elif operation == 0x05:
            at += constant
        elif operation in (0x15, 0x25, 0x35, 0x45):
            holds = {
                0x15: accumulator == constant,
                0x25: accumulator > constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }[operation]
            at += yes if holds else no
        elif operation == 0x06:
            return int(constant)
        else:
            raise AssertionError(f"operation {operation:#x}")
