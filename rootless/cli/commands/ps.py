"""`ps`: one line for each container."""

from __future__ import annotations

import time

from rootless.cli.failures import warn
from rootless.cli.output import ago, short, table, write
from rootless.cli.ps_words import cut, ports, size_words, status
from rootless.engine.recover import refresh_all
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from rootless.engine.records import Container
    from storage.store import Store

    Sizes = dict[str, tuple[int, int]]  # id -> bytes written by it, bytes of its root file system

_CLEAR = "\x1b[H\x1b[2J"


def command(settings: Settings, opts: Opts) -> int:
    """List the containers of the store: those that run, or what the options ask for; with --watch again and again."""
    _check(opts)
    store = settings.store()
    if opts.watch is None:
        write(_report(store, opts))
        return 0
    import os

    clears = os.isatty(1)
    while True:
        report = _report(store, opts)
        write(_CLEAR + report if clears else report)
        time.sleep(max(opts.watch, 0.1))


def _check(opts: Opts) -> None:
    """Raise UsageError for what contradicts itself. --sync asks for the truth, which every `ps` finds out, and
    --external and --pod for what there is none of here: other engines' containers, and pods."""
    if opts.quiet and (opts.size or opts.ns):
        raise UsageError("ps: --quiet prints ids only: leave --size and --ns away")
    if opts.size and opts.ns:
        raise UsageError("ps: --size and --ns exclude each other")
    if opts.latest and opts.last > 0:
        raise UsageError("ps: --latest and --last exclude each other")


def _report(store: Store, opts: Opts) -> str:
    containers = _chosen(store, opts)
    sizes = _sizes(store, containers) if opts.size or opts.sort == "size" else {}
    containers = _sorted(containers, opts.sort, sizes)
    if opts.format == "json":
        from rootless.cli.output import pretty_json
        from rootless.cli.ps_fields import as_json

        return pretty_json([as_json(container, sizes, opts.ns) for container in containers], "  ") + "\n"
    if opts.format:
        from rootless.cli.ps_fields import HEADINGS, fields
        from rootless.cli.template import rows

        found = [fields(container, opts.no_trunc, sizes, opts.ns) for container in containers]
        return rows(opts.format, found, HEADINGS, not opts.noheading)
    if opts.quiet:
        return "".join([(one.id if opts.no_trunc else short(one.id)) + "\n" for one in containers])
    if opts.ns:
        from rootless.cli.ps_fields import namespace_table

        return namespace_table(containers, opts)
    return _table(containers, opts, sizes)


def _chosen(store: Store, opts: Opts) -> list[Container]:
    last = 1 if opts.latest else opts.last
    everything = opts.all or last > 0 or any(text.startswith(("status=", "exited=")) for text in opts.filter)
    containers = refresh_all(store, warn, alive=not everything)
    if not everything:  # what `init` has prepared does not run yet
        containers = [container for container in containers if container.state != "initialized"]
    if opts.filter:
        from rootless.cli.filters import container_filter

        passes = container_filter(store, opts.filter)
        containers = [container for container in containers if passes(container)]
    return containers[-last:] if last > 0 else containers


def _sizes(store: Store, containers: list[Container]) -> Sizes:
    from rootless.engine.inspect.container import sizes

    return {container.id: sizes(store, container) for container in containers}


def _sorted(containers: list[Container], column: str, sizes: Sizes) -> list[Container]:
    if column in ("created", "runningfor"):
        return containers  # the oldest first, as they come
    if column == "size":
        return sorted(containers, key=lambda container: sizes[container.id])
    key = {"id": "id", "image": "image_name", "names": "name", "command": "command", "status": "state"}[column]
    return sorted(containers, key=lambda container: str(getattr(container, key)))


def _table(containers: list[Container], opts: Opts, sizes: Sizes) -> str:
    headings = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    headings += ["POD ID", "PODNAME"] if opts.pod else []
    headings += ["SIZE"] if opts.size else []
    cells = [] if opts.noheading else [headings]
    now = time.time()
    for container in containers:
        cells.append(
            [
                container.id if opts.no_trunc else container.id[:12],
                container.image_name,
                container.command if opts.no_trunc else cut(container.command),
                ago(container.created, now),
                status(container, now),
                ports(container.ports),
                container.name,
            ]
        )
        if opts.pod:
            cells[-1] += ["", ""]
        if opts.size:
            cells[-1].append(size_words(sizes[container.id]))
    return table(cells)
