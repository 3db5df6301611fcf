"""Reading the logs of one or several containers: chosen by time, put in the order of time, printed."""

from __future__ import annotations

import select
import time

from rootless.engine.logplace import NO_FILE, log_path
from rootless.engine.logs.files import FileSource
from rootless.engine.logs.printer import Printer
from rootless.errors import ConflictError, StorageError
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.logs.printer import Write
    from rootless.engine.logs.voice import Choice, Source, Voice
    from rootless.engine.records import Container
    from storage.store import Store

_LOOK = 1.0  # seconds after which a log is looked at again, whatever the kernel has told
_SOON = 0.02


def open_source(store: Store, container: Container, choice: Choice) -> Source | None:
    """The log of a container; None where it has never run. `choice.follow` follows it where it runs.

    Raises ConflictError where it keeps no log or cannot be followed, StorageError where its log cannot be read.
    """
    request = loads(container.request)
    driver = request.get("log_driver")
    if driver in NO_FILE and driver != "journald":
        why = "keeps none" if driver == "none" else "wrote to the streams of the command that started it"
        raise ConflictError(f"reading the log of {container.name}: it {why} (--log-driver {driver})")
    options = request.get("log_opt", [])
    rotated = 0
    if options and driver != "journald":
        from rootless.engine.log_options import rotated_files

        rotated = rotated_files(options)
    life = None
    if choice.follow and (container.alive or container.restart):
        from rootless.engine.logs.life import Life

        life = Life(store, container, rotated > 0)
    if driver == "journald":
        from rootless.engine.logs.journal import JournalSource

        return JournalSource(container.id, choice, life)
    path = log_path(store, container.id, options)
    try:
        return FileSource(path, rotated, choice.tail, life)
    except FileNotFoundError as error:
        if life is not None:
            life.close()
        if not (container.started and container.state != "initialized"):
            return None  # it has never run
        raise StorageError(
            f"reading the log {path}: {error.strerror or 'No such file or directory'}",
            "something has removed it; the next start of the container makes a new one",
        ) from None


def print_logs(
    voices: list[Voice], write: Write, choice: Choice, timestamps: bool = False, colours: bool = False
) -> None:
    """Print what containers have written to `write`, byte for byte where there is one container and nothing is put
    before its lines; with `choice.follow` go on until all have ended.

    Several are put in the order of time, and lines stay whole. What comes while it is followed is printed as it comes.
    """
    printer = Printer(write, timestamps, colours, voices)
    try:
        while True:
            _print_what_is_there(voices, printer)
            printer.flush()
            left = [voice for voice in voices if not voice.source.ended()]
            if not left or (choice.last is not None and time.time() > choice.last):
                # One whose end was noticed in the meantime may have more.
                _print_what_is_there(voices, printer)
                return
            _wait(left, choice)
    finally:
        printer.end()
        for voice in voices:
            voice.source.close()


def _print_what_is_there(voices: list[Voice], printer: Printer) -> None:
    ready = [voice for voice in voices if voice.advance()]
    while ready:
        voice = ready[0] if len(ready) == 1 else min(ready, key=_time)
        entry = voice.entry
        assert entry is not None
        printer.print(voice, entry)
        if not voice.advance():
            ready.remove(voice)


def _time(voice: Voice) -> bytes:
    assert voice.entry is not None
    return voice.entry.time


def _wait(voices: list[Voice], choice: Choice) -> None:
    """Until there may be more to read."""
    poll = select.poll()
    of = {}
    for voice in voices:
        for fd in voice.source.fds:
            if fd >= 0:
                of[fd] = voice
                poll.register(fd, select.POLLIN)
    patience = _LOOK
    if choice.last is not None:
        patience = max(_SOON, min(_LOOK, choice.last - time.time()))
    for fd, _ in poll.poll(int(patience * 1000)):
        of[fd].source.woken(fd)
