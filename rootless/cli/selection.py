"""Which containers a command means, and doing something to each of them."""

from __future__ import annotations

import os

from rootless.cli.failures import tell, warn
from rootless.cli.output import write
from rootless.errors import RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from rootless.engine.records import Container
    from storage.store import Store


_MOST_AT_ONCE = 16
_PASSED_OVER = 254  # not an exit code of ours: a failure that was not to be minded


def references(store: Store, opts: Opts, verb: str) -> list[str]:
    """Names or ids of the containers that the options mean: those named, --cidfile, --latest, --all, --filter.

    With --ignore a file that is not there means none. Raises UsageError where nothing is named, or where --all and
    names are.
    """
    given = vars(opts)
    files = given.get("cidfile", ())
    if files and given.get("ignore"):
        files = [path for path in files if os.path.lexists(path)]
        if not files and not opts.containers:
            return []
    named: list[str] = [*opts.containers, *map(_read_cidfile, files)]
    everything = given.get("all") or given.get("running")
    filtered = bool(given.get("filter"))
    if named and (everything or filtered or opts.latest):
        latest = "--latest" if opts.latest else "--filter"
        option = "--all" if given.get("all") else "--running" if everything else latest
        raise UsageError(f"{verb}: {option} and the name of a container exclude each other")
    if opts.latest and (everything or filtered):
        raise UsageError(f"{verb}: --latest excludes --all and --filter")
    if opts.latest:
        return [_latest(store).id]
    if everything or filtered:
        return [container.id for container in _several(store, opts, verb)]
    if not named:
        raise UsageError(f"{verb}: no container is named", f"usage: rootless {verb} [OPTIONS] CONTAINER...")
    return named


def one(store: Store, opts: Opts, verb: str) -> str:
    """The one container that `opts.container` or --latest means. Raises UsageError."""
    if opts.latest:
        if opts.container:
            raise UsageError(f"{verb}: --latest and the name of a container exclude each other")
        return _latest(store).id
    if not opts.container:
        raise UsageError(f"{verb}: no container is named", f"usage: rootless {verb} [OPTIONS] CONTAINER")
    name: str = opts.container
    return name


def each(
    settings: Settings,
    names: list[str],
    act: Callable[[str], object],
    ignored: type[RootlessError] | None = None,
    at_once: bool = False,
    shows_names: bool = True,
) -> int:
    """Do `act` to each; with `shows_names` print its name when done.

    A failure is told, and the others still have their turn.
    Failures of class `ignored` are passed over. `at_once`: side by side, for what consists of waiting; each `act` then
    runs in a process of its own, and names are printed in the order in which they were given all the same. Returns the
    exit code of the last failure, or 0.
    """

    def done(name: str) -> int:
        try:
            act(name)
        except RootlessError as error:
            passed_over = ignored is not None and isinstance(error, ignored)
            return _PASSED_OVER if passed_over else tell(error, settings.log_level)
        return 0

    codes = _side_by_side(settings, names, done) if at_once and len(names) > 1 else map(done, names)
    last = 0
    for name, code in zip(names, codes, strict=True):
        if code == 0 and shows_names:
            write(name + "\n")
        elif code != _PASSED_OVER:
            last = code or last
    return last


def _side_by_side(settings: Settings, names: list[str], done: Callable[[str], int]) -> Iterator[int]:
    """The exit codes in the order of the names, each as soon as it and those before it are known."""
    started: list[int] = []
    ended: dict[int, int] = {}
    for place in range(len(names)):
        while len(started) <= place or started[place] not in ended:
            if len(started) < len(names) and len(started) - len(ended) < _MOST_AT_ONCE:
                started.append(_in_child(settings, names[len(started)], done))
                continue
            pid, status = os.wait()
            if pid in started:
                code = os.waitstatus_to_exitcode(status)
                ended[pid] = code if code >= 0 else 128 - code
        yield ended[started[place]]


def _in_child(settings: Settings, name: str, done: Callable[[str], int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        settings.store().forget()
        code = done(name)
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        code = tell(error, settings.log_level)
    finally:
        os._exit(code)


def _latest(store: Store) -> Container:
    from rootless.engine.records import latest

    return latest(store.db)


def _several(store: Store, opts: Opts, verb: str) -> list[Container]:
    from rootless.engine.recover import refresh_all

    containers = refresh_all(store, warn)
    wanted = vars(opts).get("filter")
    if wanted:
        from rootless.cli.filters import container_filter

        passes = container_filter(store, wanted)
        containers = [container for container in containers if passes(container)]
    if vars(opts).get("running"):
        return [row for row in containers if row.up and not row.waits and row.state != "paused"]
    if verb == "start" and not opts.all:  # what a filter has named is shown, also where it runs already
        return containers
    return [container for container in containers if _suits(container, verb)]


def _suits(container: Container, verb: str) -> bool:
    """Whether the verb has something to do with a container that nobody has named."""
    state = container.state
    if verb == "stop":
        return (container.up or _is_starting_again(container)) and state != "paused"
    if verb == "kill":
        return (container.up or _is_starting_again(container)) and not container.waits
    if verb == "init":
        return not container.up and not container.monitor_pid
    if verb == "start":
        return container.waits or not container.alive
    if verb == "pause":
        return state == "running"
    return verb != "unpause" or state == "paused"


def _is_starting_again(container: Container) -> bool:
    """Whether its policy is starting it in this moment, when its row says that it has ended."""
    return bool(container.restart and container.monitor_pid) and container.state == "exited"


def _read_cidfile(path: str) -> str:
    from rootless.kernel.fifos import open_to_read

    try:
        with open(path, encoding="ascii", errors="replace", opener=open_to_read) as file:
            return file.readline().strip()
    except OSError as error:
        raise UsageError(f"reading the container's id from {path}: {error.strerror}") from None
