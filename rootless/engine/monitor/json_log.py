"""Docker's `json-file` log: one JSON object a line.

{"log":"a line\\n","stream":"stdout","time":"2024-01-02T03:04:05.123456789Z"}

A piece of a line lacks the newline. Bytes that are not UTF-8 are written as the escapes of lone surrogates (\\udc80 to
\\udcff, as Python does): `rootless logs` gives them back, other readers show U+FFFD, as they do for Docker's logs.
"""

from __future__ import annotations

try:
    from _json import encode_basestring, encode_basestring_ascii  # the C halves alone
except ImportError:  # another implementation of Python
    from json.encoder import encode_basestring, encode_basestring_ascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.monitor.logfile import Encode


def encoder(attributes: bytes) -> Encode:
    """What writes output so; `attributes` is a JSON object for each line's "attrs", or b""."""
    attrs = b',"attrs":' + attributes if attributes else b""

    def encode(stream: bytes, time: bytes, data: bytes) -> bytes:
        tail = b'","stream":"%s"%s,"time":"%s"}\n' % (stream, attrs, time)
        if b"\\" not in data:  # then each \n in the JSON text is the end of a line: all lines are made at once
            text = _quoted(data)[1:-1]
            between = b"\\n" + tail + b'{"log":"'
            lines, newline, rest = text.rpartition(b"\\n")
            entry = b'{"log":"' + lines.replace(b"\\n", between) + b"\\n" + tail if newline else b""
            return entry + b'{"log":"' + rest + tail if rest else entry
        return b"".join([b'{"log":"' + _quoted(line)[1:-1] + tail for line in _lines(data)])

    return encode


def _lines(data: bytes) -> list[bytes]:
    """Lines with their newlines: those of `bytes.splitlines` would also end at a carriage return."""
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _quoted(data: bytes) -> bytes:
    try:
        return encode_basestring(data.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return encode_basestring_ascii(data.decode("utf-8", "surrogateescape")).encode("ascii")
