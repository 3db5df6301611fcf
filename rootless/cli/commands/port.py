"""`port`: where the ports of containers are published."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.output import lines
from rootless.cli.selection import one
from rootless.engine.records import latest
from rootless.engine.recover import find, refresh_all
from rootless.errors import NotFoundError, UsageError
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print "80/tcp -> 0.0.0.0:8080" for each, or only the address where one port is asked for."""
    store = settings.store()
    if opts.all:
        if opts.container or opts.latest:
            option = "--latest" if opts.latest else "the name of a container"
            raise UsageError(f"port: --all and {option} exclude each other")
        containers = refresh_all(store, warn, alive=True)
        lines(f"{container.id[:12]}\t{line}" for container in containers for line in _lines(container.ports, None))
        return 0
    if opts.latest:
        if opts.port:
            raise UsageError("port: --latest and the name of a container exclude each other")
        container = find(store, latest(store.db).id)
        port = opts.container  # the one argument
    else:
        container = find(store, one(store, opts, "port"))
        port = opts.port
    found = _lines(container.ports, port) if container.alive else []
    if port and not found:
        raise NotFoundError(f"{container.name}: port {port} is not published")
    lines(found)
    return 0


def _lines(ports: str, wanted: str | None) -> list[str]:
    if wanted is not None and "/" not in wanted:
        wanted += "/tcp"
    found = []
    for host, port, inside, protocol in loads(ports):
        address = f"[{host}]:{port}" if ":" in host else f"{host or '0.0.0.0'}:{port}"
        name = f"{inside}/{protocol}"
        if wanted is None:
            found.append(f"{name} -> {address}")
        elif wanted == name:
            found.append(address)
    return found
