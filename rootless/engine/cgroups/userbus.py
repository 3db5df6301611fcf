"""Calls over a user's D-Bus: what `confine` asks of the user's systemd, and no more than that.

The D-Bus specification, "Message Protocol" and "Authentication Protocol". Messages are written little-endian and
read as they come; signals, and answers to nobody's question, are passed over.
"""

from __future__ import annotations

import os
import socket
import struct

from rootless.errors import KernelError

_CALL, _REPLY, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 5, 6, 8
_LARGEST = 1 << 20
_PATIENCE = 10.0  # seconds


class Writer:
    """A message's body, value after value, each at its alignment."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def number(self, value: int) -> Writer:
        self.align(4)
        self.data += struct.pack("<I", value)
        return self

    def string(self, value: str) -> Writer:
        encoded = value.encode()
        self.number(len(encoded))
        self.data += encoded + b"\0"
        return self

    def signature(self, value: str) -> Writer:
        self.data += bytes((len(value),)) + value.encode() + b"\0"
        return self

    def array(self, alignment: int, content: list[bytes]) -> Writer:
        """An array of elements that were written by themselves and need this alignment."""
        self.number(0)
        place = len(self.data) - 4
        self.align(alignment)
        begin = len(self.data)
        for element in content:
            self.align(alignment)
            self.data += element
        struct.pack_into("<I", self.data, place, len(self.data) - begin)
        return self


def named(name: str, signature: str, value: str | bool | list[int]) -> bytes:
    """An element of a(sv): a name and its value."""
    writer = Writer().string(name).signature(signature)
    if isinstance(value, str):
        writer.string(value)
    elif isinstance(value, list):
        writer.array(4, [struct.pack("<I", number) for number in value])
    else:
        writer.number(int(value))
    return bytes(writer.data)


class Bus:
    """A connection to the user's bus. Raises KernelError where there is none."""

    def __init__(self, address: str) -> None:
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_PATIENCE)
        try:
            self._socket.connect(address)
            user = str(os.geteuid()).encode().hex()
            self._socket.sendall(f"\0AUTH EXTERNAL {user}\r\n".encode())
            self._expect_ok()
            self._socket.sendall(b"BEGIN\r\n")
            self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
        except OSError as error:
            self._socket.close()
            raise KernelError(f"connecting to {address}: {error.strerror or error}") from None

    def close(self) -> None:
        self._socket.close()

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", body: bytes = b""
    ) -> None:
        """Call a method and wait for its answer. Raises KernelError with what the other side says."""
        self._serial += 1
        fields = [_field(_PATH, "o", path), _field(_DESTINATION, "s", destination)]
        fields += [_field(_INTERFACE, "s", interface), _field(_MEMBER, "s", member)]
        if signature:
            fields.append(_field(_SIGNATURE, "g", signature))
        message = Writer()
        message.data += struct.pack("<cBBBII", b"l", _CALL, 0, 1, len(body), self._serial)
        message.array(8, fields)
        message.align(8)
        try:
            self._socket.sendall(bytes(message.data) + body)
            while True:
                kind, serial, text = self._receive()
                if serial == self._serial:
                    break
        except OSError as error:
            raise KernelError(f"asking systemd: {member}: {error.strerror or error}") from None
        if kind == _ERROR:
            raise KernelError(f"asking systemd: {member}: {text}")

    def _expect_ok(self) -> None:
        answer = b""
        while not answer.endswith(b"\r\n"):
            part = self._socket.recv(512)
            if not part or len(answer) > 512:
                raise OSError("the connection was closed")
            answer += part
        if not answer.startswith(b"OK"):
            raise OSError(f"refused: {answer.decode(errors='replace').strip()}")

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self._socket.recv(count - len(found))
            if not part:
                raise OSError("the connection was closed")
            found += part
        return found

    def _receive(self) -> tuple[int, int, str]:
        """The next message: its kind, which call it answers (0: none), and an error's text."""
        head = self._exactly(16)
        order = "<" if head[:1] == b"l" else ">"
        length, _, fields_length = struct.unpack(order + "III", head[4:])
        if length > _LARGEST or fields_length > _LARGEST:
            raise OSError("a message that is too long")
        fields = self._exactly(fields_length + -fields_length % 8)
        body = self._exactly(length)
        serial = 0
        text = ""
        place = 0
        while place < fields_length:
            place += -place % 8
            code, size = fields[place], fields[place + 1]
            kind = fields[place + 2 : place + 2 + size]
            place += size + 3
            if kind == b"g":
                place += fields[place] + 2
                continue
            place += -place % 4
            (value,) = struct.unpack_from(order + "I", fields, place)
            place += 4
            if kind != b"u":  # a string or a path
                place += value + 1
            elif code == _REPLY_SERIAL:
                serial = value
        if head[1] == _ERROR and length >= 4:
            (size,) = struct.unpack_from(order + "I", body)
            text = body[4 : 4 + size].decode(errors="replace")
        return head[1], serial, text


def _field(code: int, signature: str, value: str) -> bytes:
    writer = Writer()
    writer.data.append(code)
    writer.signature(signature)
    if signature == "g":
        writer.signature(value)
    else:
        writer.string(value)
    return bytes(writer.data)
