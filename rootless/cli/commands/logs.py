"""`logs`: what containers have written."""

from __future__ import annotations

from rootless.cli.failures import tell
from rootless.cli.output import write_bytes
from rootless.cli.selection import references
from rootless.engine.logs.read import open_source, print_logs
from rootless.engine.logs.voice import Choice, Voice
from rootless.engine.recover import find
from rootless.errors import NotFoundError, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from rootless.engine.records import Container


def command(settings: Settings, opts: Opts) -> int:
    """What went to standard error goes to standard error. With several containers, each line says whose it is."""
    store = settings.store()
    names = references(store, opts, "logs")
    choice = Choice(opts.follow, opts.tail, _moment(opts.since), _moment(opts.until))
    voices = []
    code = 0
    for name in names:
        try:
            container = find(store, name)
            details = _details(container) if opts.details else b""
            source = open_source(store, container, choice)
        except RootlessError as error:
            if opts.names and name.isdecimal() and isinstance(error, NotFoundError):
                error.hint = f"-n is --names here, as with Podman; for the last lines: --tail {name}"
            code = tell(error, settings.log_level)
            continue
        if source is not None:
            prefix = container.name if opts.names else container.id[:12] if len(names) > 1 else ""
            voices.append(Voice(source, choice, prefix.encode(), details))
    print_logs(voices, lambda stream, data: write_bytes(data, stream), choice, opts.timestamps, opts.color)
    return code


def _details(container: Container) -> bytes:
    from rootless.engine.logs.details import details

    return details(container)


def _moment(text: str | None) -> float | None:
    if not text:
        return None
    from rootless.cli.times import moment_of

    return moment_of(text)
