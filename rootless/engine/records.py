"""Container rows: how the engine reads and writes what it knows of its containers.

Every change of state is one statement or one transaction; nobody holds a transaction across a wait.
"""

from __future__ import annotations

from rootless.errors import ConflictError, NotFoundError
from rootless.jsontext import dumps
from storage.database import transaction
from storage.sqlite import IntegrityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from storage.sqlite import Connection

CREATED = "created"
INITIALIZED = "initialized"
RUNNING = "running"
STOPPING = "stopping"
PAUSED = "paused"
EXITED = "exited"
RESTARTING = "restarting"  # it has ended, and its monitor waits to start it again
REMOVING = "removing"

COLUMNS = (
    "id",
    "name",
    "image_id",
    "image_name",
    "created",
    "request",
    "state",
    "pid",
    "pid_start",
    "boot_id",
    "monitor_pid",
    "monitor_start",
    "exit_code",
    "started",
    "finished",
    "oom_killed",
    "error",
    "command",
    "ports",
    "labels",
    "auto_remove",
    "driver",
    "network",
    "restart",
    "restarts",
    "stopped",
    "health",
    "cgroup",
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM containers "
_HEX = frozenset("0123456789abcdef")


class Container:
    """One row. `created`, `started`, `finished`: Unix seconds, 0 for never. `pid`: pid 1 as the host sees it, or 0.

    `pid_start` and `monitor_start` are clock ticks, in the realm `boot_id` (`pidfd.realm`). `request`, `ports`,
    `labels` and `network` are JSON text: most commands look at none of them. `restart` is the restart policy, "" for
    none, `restarts` how often that has started the container since the user has; `stopped`: the user ended it since.
    `health` is what its health check says: "" (there is none), starting, healthy or unhealthy. `cgroup` is the
    directory of its control group, "" where it has none of its own.
    """

    __slots__ = COLUMNS

    if TYPE_CHECKING:
        id: str
        name: str
        image_id: str
        image_name: str
        created: float
        request: str
        state: str
        pid: int
        pid_start: int
        boot_id: str
        monitor_pid: int
        monitor_start: int
        exit_code: int
        started: float
        finished: float
        oom_killed: int
        error: str
        command: str
        ports: str
        labels: str
        auto_remove: int
        driver: str
        network: str
        restart: str
        restarts: int
        stopped: int
        health: str
        cgroup: str

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.id,
            self.name,
            self.image_id,
            self.image_name,
            self.created,
            self.request,
            self.state,
            self.pid,
            self.pid_start,
            self.boot_id,
            self.monitor_pid,
            self.monitor_start,
            self.exit_code,
            self.started,
            self.finished,
            self.oom_killed,
            self.error,
            self.command,
            self.ports,
            self.labels,
            self.auto_remove,
            self.driver,
            self.network,
            self.restart,
            self.restarts,
            self.stopped,
            self.health,
            self.cgroup,
        ) = row  # a third of the time that a loop with setattr takes: `ps` has a thousand of them

    @property
    def alive(self) -> bool:
        """Whether its state says that it has processes (recover.refresh makes that true)."""
        return self.state in (RUNNING, PAUSED, STOPPING, INITIALIZED)

    @property
    def waits(self) -> bool:
        """Whether `init` has prepared it: its pid 1 and its monitor wait for `start` (`engine.initialize`)."""
        return self.state == INITIALIZED and not self.started

    @property
    def up(self) -> bool:
        """Whether it has processes, or its restart policy is about to start it again."""
        return self.alive or self.state == RESTARTING


def find(conn: Connection, reference: str) -> Container:
    """The container with this name, full id, or unique beginning of an id.

    Raises NotFoundError, ConflictError where several ids begin so.
    """
    row = conn.execute(_SELECT + "WHERE name = ? OR id = ?", (reference, reference)).fetchone()
    if row is not None:
        return Container(row)
    if reference and _HEX.issuperset(reference):
        rows = conn.execute(_SELECT + "WHERE id >= ? AND id < ? LIMIT 4", (reference, reference + "g")).fetchall()
        if len(rows) > 1:
            some = ", ".join(row[0][:12] for row in rows[:3])
            raise ConflictError(f"looking up container {reference}: several ids begin so: {some}", "give more digits")
        if rows:
            return Container(rows[0])
    raise NotFoundError(f'no container with name or ID "{reference}" found', "`rootless ps -a` lists them")


def get(conn: Connection, container_id: str) -> Container | None:
    """The container with exactly this id."""
    row = conn.execute(_SELECT + "WHERE id = ?", (container_id,)).fetchone()
    return Container(row) if row is not None else None


def all_containers(conn: Connection, alive: bool = False) -> list[Container]:
    """Every container, or those that are said to have processes or get them again, the oldest first, in one query."""
    condition = "WHERE state IN ('running', 'paused', 'stopping', 'initialized', 'restarting') " if alive else ""
    return [Container(row) for row in conn.execute(_SELECT + condition + "ORDER BY created, id")]


def latest(conn: Connection) -> Container:
    """The container that was made last. Raises NotFoundError."""
    row = conn.execute(_SELECT + "ORDER BY created DESC, id DESC LIMIT 1").fetchone()
    if row is None:
        raise NotFoundError("there is no container yet")
    return Container(row)


def insert(
    conn: Connection,
    values: dict[str, Any],
    diff_ids: list[str],
    volumes: dict[str, tuple[bool, dict[str, str], dict[str, str]]],
    generate_name: Any = None,
    mounted: Sequence[str] = (),
    dependencies: Sequence[str] = (),
) -> str:
    """Write a new container, the layers that it stands on, the volumes that it uses (name: anonymous, labels, options,
    for one that is new), the layers of images that it mounts and the containers (ids) that it needs; returns its name.

    Where `generate_name(attempt)` is given it names the container. Raises ConflictError where the name is taken.
    """
    attempt = 0
    while True:
        if generate_name is not None:
            values["name"] = generate_name(attempt)
        try:
            with transaction(conn):
                _insert(conn, values, diff_ids, volumes, mounted)
                if dependencies:
                    _insert_dependencies(conn, values["id"], dependencies)
        except IntegrityError:
            attempt += 1
            if generate_name is None or attempt > 50:
                raise name_taken(conn, values["name"]) from None
            continue
        return str(values["name"])


def _insert(
    conn: Connection,
    values: dict[str, Any],
    diff_ids: list[str],
    volumes: dict[str, tuple[bool, dict[str, str], dict[str, str]]],
    mounted: Sequence[str],
) -> None:
    conn.execute(
        f"INSERT INTO containers ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
    )
    conn.executemany(
        "INSERT INTO container_layers VALUES (?, ?, ?)",
        # below 0: what it is not stacked of, and may not be collected either
        [(values["id"], position, diff_id) for position, diff_id in enumerate([*mounted, *diff_ids], -len(mounted))],
    )
    there = conn.execute(
        "SELECT count(*) FROM container_layers c JOIN layers l ON l.diff_id = c.diff_id WHERE c.container_id = ?",
        (values["id"],),
    ).fetchone()[0]
    if there != len(mounted) + len(diff_ids):
        raise NotFoundError(f"creating a container: the image {values['image_name']} was removed in this moment")
    for name, (anonymous, labels, options) in volumes.items():
        conn.execute(
            "INSERT OR IGNORE INTO volumes (name, created, anonymous, labels, options) VALUES (?, ?, ?, ?, ?)",
            (name, values["created"], int(anonymous), dumps(labels), dumps(options)),
        )
        conn.execute("INSERT INTO container_volumes VALUES (?, ?)", (values["id"], name))


def _insert_dependencies(conn: Connection, container_id: str, dependencies: Sequence[str]) -> None:
    for dependency in dependencies:
        added = conn.execute(
            "INSERT INTO container_dependencies SELECT ?, id FROM containers WHERE id = ? AND state != ?",
            (container_id, dependency, REMOVING),
        )
        if added.rowcount != 1:
            raise NotFoundError(f"creating a container: the container {dependency[:12]} that it needs was removed")


def dependents(conn: Connection, container_id: str) -> list[Container]:
    """The containers that need this one, the oldest first."""
    rows = conn.execute(
        _SELECT + "WHERE id IN (SELECT container_id FROM container_dependencies WHERE dependency = ?)"
        " ORDER BY created, id",
        (container_id,),
    )
    return [Container(row) for row in rows]


def some_depend(conn: Connection) -> bool:
    """Whether any container needs another one."""
    return conn.execute("SELECT 1 FROM container_dependencies LIMIT 1").fetchone() is not None


def dependencies(conn: Connection, container_id: str) -> list[str]:
    """The ids of the containers that this one needs."""
    rows = conn.execute(
        "SELECT dependency FROM container_dependencies WHERE container_id = ? ORDER BY dependency", (container_id,)
    )
    return [row[0] for row in rows]


def name_taken(conn: Connection, name: str, doing: str = "making the container") -> ConflictError:
    """The error for whoever wants a name that another container has."""
    holder = conn.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
    by = f" by container {holder[0][:12]}" if holder else ""
    return ConflictError(
        f'{doing}: the name "{name}" is already in use{by}',
        f"choose another one, or remove that one: rootless rm {name}",
    )


def update(conn: Connection, container_id: str, **columns: Any) -> bool:
    """Set columns of one row, atomically; whether there is such a row."""
    setting = ", ".join(f"{name} = ?" for name in columns)
    done = conn.execute(f"UPDATE containers SET {setting} WHERE id = ?", (*columns.values(), container_id))
    return done.rowcount == 1


def update_if(conn: Connection, container: Container, **columns: Any) -> bool:
    """As `update`, but only while state, pid and monitor are those of `container`: whoever comes first changes it."""
    setting = ", ".join(f"{name} = ?" for name in columns)
    done = conn.execute(
        f"UPDATE containers SET {setting} WHERE id = ? AND state = ? AND pid = ? AND pid_start = ?"
        " AND monitor_pid = ? AND monitor_start = ?",
        (
            *columns.values(),
            container.id,
            container.state,
            container.pid,
            container.pid_start,
            container.monitor_pid,
            container.monitor_start,
        ),
    )
    if done.rowcount != 1:
        return False
    for name, value in columns.items():
        setattr(container, name, value)
    return True


def delete(conn: Connection, container_id: str) -> None:
    """Forget a container, and which layers and volumes it used."""
    with transaction(conn):
        forget(conn, container_id)


def forget(conn: Connection, container_id: str) -> None:
    """What `delete` does, within a write transaction of the caller's."""
    conn.execute("DELETE FROM container_layers WHERE container_id = ?", (container_id,))
    conn.execute("DELETE FROM container_volumes WHERE container_id = ?", (container_id,))
    conn.execute("DELETE FROM container_dependencies WHERE container_id = ?", (container_id,))
    conn.execute("DELETE FROM container_health WHERE container_id = ?", (container_id,))
    conn.execute("DELETE FROM containers WHERE id = ?", (container_id,))


def layers_of(conn: Connection, container_id: str) -> list[str]:
    """diffIDs that its root file system is stacked of, the lowest first."""
    rows = conn.execute(
        "SELECT diff_id FROM container_layers WHERE container_id = ? AND position >= 0 ORDER BY position",
        (container_id,),
    )
    return [row[0] for row in rows]
