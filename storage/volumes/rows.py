"""Named volumes: a row, and a directory <root>/volumes/<name> with the files in _data.

The row comes first and goes first; the directory is made when the volume is made or first used. What a volume that
nobody has used yet still lacks, its owner and the image's files, the first container gives it: `used` beside _data says
that this has happened. Whoever is about to do it holds the directory locked.

A directory that is filled before it gets its place says beside _data for which row (`MAKING`) until that row is there:
where its process was killed in between, no later volume of the name takes it over.

Cold: a container without volumes never loads this.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Mapping

from rootless.errors import ConflictError, NotFoundError, StorageError
from rootless.faults import step
from rootless.jsontext import dumps, loads
from rootless.kernel.files import sync_path
from storage.database import transaction
from storage.events import emit
from storage.layout import Layout
from storage.sqlite import Connection
from storage.store import Store
from storage.volumes.marks import MAKING, USED
from storage.volumes.options import IMAGE

_SELECT = """SELECT name, driver, created, labels, options, anonymous,
 (SELECT group_concat(container_id) FROM container_volumes WHERE volume = v.name) FROM volumes v """


class Volume:
    """`created`: Unix seconds. `anonymous`: it was given no name. `users`: ids of the containers that have it."""

    __slots__ = ("anonymous", "created", "driver", "labels", "name", "options", "users")

    def __init__(self, row: tuple[str, str, float, str, str, int, str | None]) -> None:
        self.name, self.driver, self.created = row[:3]
        self.labels: dict[str, str] = loads(row[3])
        self.options: dict[str, str] = loads(row[4])
        self.anonymous = bool(row[5])
        self.users = row[6].split(",") if row[6] else []


def list_volumes(connection: Connection) -> list[Volume]:
    """All volumes, by name."""
    return [Volume(row) for row in connection.execute(_SELECT + "ORDER BY name")]


def find_volume(connection: Connection, text: str) -> Volume:
    """The volume of this name, or the only one whose name begins so. Raises NotFoundError, ConflictError."""
    row = connection.execute(_SELECT + "WHERE name = ?", (text,)).fetchone()
    if row is None and text:
        query = _SELECT + "WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT 4"
        rows = connection.execute(query, (len(text), text)).fetchall()
        if len(rows) > 1:
            some = ", ".join(row[0][:20] for row in rows[:3])
            raise ConflictError(f"looking up volume {text}: several names begin so: {some}", "give more of it")
        row = rows[0] if rows else None
    if row is None:
        raise NotFoundError(f"no such volume: {text}", "`rootless volume ls` lists them")
    return Volume(row)


def never_used(layout: Layout, name: str) -> bool:
    """Whether no container has started with the volume yet."""
    return not os.path.exists(f"{layout.volume(name)}/{USED}")


def make_volume(
    store: Store,
    name: str,
    labels: Mapping[str, str],
    driver: str = "local",
    existing: bool = False,
    options: Mapping[str, str] | None = None,
) -> None:
    """Make a volume: an empty one, or with the driver "image" a copy of the image's files. `options`: as
    `volume_options.parse_settings` gives them. `existing`: one of this name is fine, and stays as it is.

    Raises ConflictError, NotFoundError for an image, StorageError; then nothing was made.
    """
    options = options or {}
    if store.db.execute("SELECT 1 FROM volumes WHERE name = ?", (name,)).fetchone():
        if existing:
            return
        raise ConflictError(f"making the volume {name}: there is one of this name already", "--ignore takes it")
    created = time.time()
    gone = ""
    draft: tuple[str, int] | None = None
    if driver == IMAGE or options:
        from storage.volumes.drafts import draft_volume

        draft = draft_volume(store, driver, options)
    try:
        with transaction(store.db, durable=True) as db:
            row = (name, driver, created, dumps(dict(labels)), dumps(dict(options)))
            query = "INSERT OR IGNORE INTO volumes (name, driver, created, labels, options) VALUES (?, ?, ?, ?, ?)"
            if db.execute(query, row).rowcount == 0:
                if existing:
                    return
                raise ConflictError(f"making the volume {name}: there is one of this name already", "--ignore takes it")
            if not _belongs(store.layout, name, created):
                gone = _move_away(store.layout, name)
            if draft is None:
                make_volume_directory(store.layout, name)
            else:
                _put_draft(store.layout, draft[0], name, created)
            step("volume-made")
        if draft is not None:
            _unlink(f"{store.layout.volume(name)}/{MAKING}")
    finally:
        if draft is not None:
            store.layers.delete(draft[0])
            os.close(draft[1])
        if gone:
            store.layers.delete_unlocked(gone)
    emit(store, "volume", "create", name, name)


def _put_draft(layout: Layout, draft: str, name: str, created: float) -> None:
    place = layout.volume(name)
    try:
        if os.path.lexists(place):
            raise ConflictError(
                f"making the volume {name}: {place} has files, and no volume has them",
                "rootless system check --repair makes a volume of them",
            )
        with open(f"{draft}/{MAKING}", "x") as file:
            file.write(repr(created))
        sync_path(f"{draft}/{MAKING}")
        sync_path(draft)
        os.rename(draft, place)
        sync_path(layout.volumes)
    except OSError as error:
        raise StorageError(f"making {place}: {error.strerror}") from None


def drop_half_made(store: Store, name: str) -> None:
    """Take away the directory that a killed process has made for a volume which then got no row; `name` may have one
    now. To be called before the directory of a volume is used."""
    if not os.path.lexists(f"{store.layout.volume(name)}/{MAKING}"):
        return
    with transaction(store.db) as db:  # whoever is at it has its row, or waits
        row = db.execute("SELECT created FROM volumes WHERE name = ?", (name,)).fetchone()
        if _belongs(store.layout, name, row[0] if row else 0.0):
            _unlink(f"{store.layout.volume(name)}/{MAKING}")
            return
        gone = _move_away(store.layout, name)
    store.layers.delete_unlocked(gone)


def _belongs(layout: Layout, name: str, created: float) -> bool:
    """Whether the volume's directory was made for the row of that time, or is not half made."""
    try:
        with open(f"{layout.volume(name)}/{MAKING}") as file:
            return file.read(40) == repr(created)
    except FileNotFoundError:
        return True


def _move_away(layout: Layout, name: str) -> str:
    place = f"{layout.tmp}/gone-{os.urandom(8).hex()}"
    try:
        os.rename(layout.volume(name), place)
        return place
    except OSError as error:
        raise StorageError(f"making the volume {name}: {error.strerror}") from None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def make_volume_directory(layout: Layout, name: str) -> str:
    """Make sure that the volume's directory is there; returns where its files are. Raises StorageError."""
    path = layout.volume(name) + "/_data"
    try:
        os.makedirs(layout.volume(name), 0o700, exist_ok=True)
        os.mkdir(path)
        os.chmod(path, 0o755)  # whatever the umask
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageError(f"making {error.filename}: {error.strerror}") from None
    return path


def forget_volumes(store: Store, names: Iterable[str], removed: str = "", pruned: bool = False) -> list[str]:
    """Delete the volumes among `names` that no container has, but the one with the id `removed`; returns their names.
    `pruned`: because they are not used.
    Files that belong to ids which are not mapped now are left to a later sweep of tmp/."""
    gone: list[str] = []
    moved: list[str] = []
    with transaction(store.db) as db:
        for name in names:
            query = (
                "DELETE FROM volumes WHERE name = ?1"
                " AND NOT EXISTS (SELECT 1 FROM container_volumes WHERE volume = ?1 AND container_id != ?2)"
            )
            if db.execute(query, (name, removed)).rowcount == 0:
                continue
            gone.append(name)
            place = f"{store.layout.tmp}/gone-{os.urandom(8).hex()}"
            try:
                os.rename(store.layout.volume(name), place)
            except FileNotFoundError:
                continue
            moved.append(place)
    for place in moved:
        store.layers.delete_unlocked(place)
    for name in gone:
        emit(store, "volume", "remove", name, name)
        if pruned:
            emit(store, "volume", "prune", name, name)
    return gone


class Claim:
    """A volume that the container which is about to start has to itself until `release`: what it lacks is given to it.

    `fresh`: no container has used it.
    """

    __slots__ = ("_descriptor", "fresh")

    def __init__(self, descriptor: int, fresh: bool) -> None:
        self._descriptor = descriptor
        self.fresh = fresh

    def release(self, used: bool) -> None:
        """Let others at it. `used`: it has all that it lacked now."""
        if self._descriptor < 0:
            return
        try:
            if used and self.fresh:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                os.close(os.open(USED, flags, 0o600, dir_fd=self._descriptor))
        finally:
            os.close(self._descriptor)
            self._descriptor = -1


def claim(layout: Layout, name: str) -> Claim | None:
    """Make the volume ready for a container that is about to start; None where it has files, and so lacks nothing.

    Waits while another container that starts has it. Raises StorageError.
    """
    path = make_volume_directory(layout, name)
    directory = os.open(layout.volume(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not never_used(layout, name) and not _is_empty(path):
            os.close(directory)
            return None
        fcntl.flock(directory, fcntl.LOCK_EX)
        found = Claim(directory, never_used(layout, name))
    except BaseException:
        os.close(directory)
        raise
    if _is_empty(path):
        return found
    found.release(used=True)  # its files came from elsewhere: whoever put them there has decided who owns it
    return None


def _is_empty(path: str) -> bool:
    try:
        return not os.listdir(path)
    except PermissionError:  # a container has given it to another id
        return False
