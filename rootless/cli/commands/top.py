"""`top`: the processes of a container."""

from __future__ import annotations

from rootless.cli.descriptors import chosen, table_of
from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import table, write
from rootless.cli.settings import Settings
from rootless.engine.processes import Names, processes_of
from rootless.engine.records import latest
from rootless.engine.recover import find, need_here, refresh
from rootless.errors import ConflictError, UsageError


def command(settings: Settings, opts: Opts) -> int:
    """A table of the columns that were asked for; with options of ps(1), what `ps` inside the container prints."""
    store = settings.store()
    words: list[str] = opts.words
    if not opts.latest and not words:
        raise UsageError("top: no container is named", "usage: rootless top CONTAINER [COLUMN...]")
    container = refresh(store, latest(store.db)) if opts.latest else find(store, words[0])
    words = words if opts.latest else words[1:]
    if not container.alive:
        raise ConflictError(f"top: {container.name} does not run", f"rootless start {container.name}")
    need_here(container, "reading the processes of")
    if any(word.startswith("-") or word == "aux" for word in words):
        from rootless.engine.exec_ import ExecRequest, exec_foreground

        return exec_foreground(store, container.id, ExecRequest(["ps", *words]), warn)
    columns = chosen(words)
    write(table(table_of(processes_of(container.pid), columns, Names(container.pid))))
    return 0
