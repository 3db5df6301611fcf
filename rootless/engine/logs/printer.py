"""Entries of one or several logs become what is printed."""

from __future__ import annotations

from rootless.engine.monitor.logfile import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.logs.formats import Entry
    from rootless.engine.logs.voice import Voice

    # (number of the stream, bytes)
    Write = Callable[[int, bytes], None]

_MOST_WAITING = 1 << 18  # bytes that are printed together
_LONGEST = 1 << 20  # bytes of a line that is waited for, where others could come between its pieces
_COLOURS = (37, 31, 33, 34, 35, 36, 32)  # Podman's, in its order


class Printer:
    """Gives entries to `write`, those of one stream that follow one another together."""

    def __init__(self, write: Write, timestamps: bool, colours: bool, voices: list[Voice]) -> None:
        self._write = write
        self._timestamps = timestamps
        self._whole = len(voices) > 1  # lines of others could come between the pieces of one
        self._colours = {
            id(voice): b"\x1b[%dm" % _COLOURS[place % len(_COLOURS)] if colours else b""
            for place, voice in enumerate(voices)
        }
        self._voices = voices
        self._plain = not (
            timestamps or colours or self._whole or any(voice.prefix or voice.details for voice in voices)
        )
        self._stream = 1
        self._waiting: list[bytes] = []
        self._size = 0

    def print(self, voice: Voice, entry: Entry) -> None:
        """Print an entry of a voice, or keep it until its line is whole."""
        data = entry.data
        if self._plain:
            self._put(entry.stream, data if entry.partial else data + b"\n")
            return
        if self._whole:
            pieces = voice.waiting[entry.stream]
            if entry.partial:
                pieces.append(data)
                if sum(map(len, pieces)) > _LONGEST:
                    self._end_line(voice, entry.stream, entry.time)
                return
            if pieces:
                data = b"".join([*pieces, data])
                pieces.clear()
        head, end = self._around(voice, entry.time)
        data = data.replace(b"\n", end + b"\n" + head)
        if not voice.inside[entry.stream]:
            data = head + data
        voice.inside[entry.stream] = entry.partial
        self._put(entry.stream, data if entry.partial else data + end + b"\n")

    def _around(self, voice: Voice, moment: bytes) -> tuple[bytes, bytes]:
        """What stands before and behind each line."""
        colour = self._colours[id(voice)]
        head = colour + (voice.prefix + b" " if voice.prefix else b"")
        head += (moment + b" " if self._timestamps else b"") + voice.details
        return head, b"\x1b[0m" if colour else b""

    def _end_line(self, voice: Voice, stream: int, moment: bytes) -> None:
        head, end = self._around(voice, moment)
        self._put(stream, head + b"".join(voice.waiting[stream]) + end + b"\n")
        voice.waiting[stream].clear()

    def _put(self, stream: int, data: bytes) -> None:
        if stream != self._stream or self._size > _MOST_WAITING:
            self.flush()
            self._stream = stream
        self._waiting.append(data)
        self._size += len(data)

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if waiting:
            self._write(self._stream, b"".join(waiting))

    def end(self) -> None:
        """The lines that have no end are printed as well."""
        for voice in self._voices:
            for stream, pieces in voice.waiting.items():
                if pieces:
                    self._end_line(voice, stream, now())
            if self._colours[id(voice)]:
                for stream, inside in voice.inside.items():
                    if inside:
                        self._put(stream, b"\x1b[0m")
        self.flush()
