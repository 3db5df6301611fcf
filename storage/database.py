"""The one database of a store: opening, creating, transactions.

Write-ahead log, so that readers never wait; a rollback journal on network file systems, which share no memory.
A process ends without closing its connection: closing the last one would write the log back and fsync twice, for every
`run`. The log is written back here instead, once it has grown.
"""

from __future__ import annotations

import os

from storage.sqlite import BUSY_SECONDS, Connection, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

VERSION = 6
LOG_LIMIT = 1 << 20  # bytes: reading a log of this size back takes a new process 1 ms
_LITTLE_ROOM = 128 << 10  # bytes: where a commit might not fit, the reserve is let go beforehand

NETWORK_FILE_SYSTEMS = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "ocfs2"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "virtiofs", "orangefs", "panfs"),
)


def open_database(path: str) -> Connection:
    """Open the database at `path`, creating or migrating it where needed; its directory must exist.

    Raises StorageError where it is damaged, belongs to somebody else, or was written by a newer version.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        _create(path)
        found = os.stat(path)
    except OSError as error:
        raise _refusal(path, error.strerror or str(error)) from None
    if found.st_uid != os.geteuid():
        raise _refusal(path, f"it belongs to uid {found.st_uid}, not to us (uid {os.geteuid()})")
    if found.st_size == 0:
        raise _refusal(path, "it is empty: something has truncated it", f"remove {path} to begin with an empty store")
    connection = connect(path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        from storage.schema import migrate

        migrate(connection, VERSION)
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        if os.stat(path + "-wal").st_size > LOG_LIMIT:
            _write_log_back(connection)
    except FileNotFoundError:
        pass
    try:
        reserved = os.stat(os.path.dirname(path) + "/reserve").st_size
    except OSError:
        reserved = 0
    if not reserved:
        from storage.reserve import keep

        keep(path)
    return connection


def _write_log_back(connection: Connection) -> None:
    from rootless.errors import StorageError

    connection.execute("PRAGMA busy_timeout=0")  # whoever is reading now matters more: the next process tries again
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except StorageError:
        pass  # a full disk: the log is as good a place
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")


def _create(path: str) -> None:
    """Make the database under another name and link it into place: nobody ever sees half of it, the first one wins."""
    from storage.schema import migrate

    draft = f"{path}.new-{os.urandom(6).hex()}"
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refusal(path, error.strerror or str(error)) from None
    try:
        connection = connect(draft)
        migrate(connection, VERSION)
        connection.execute("PRAGMA journal_mode=" + ("DELETE" if on_network_file_system(path) else "WAL")).fetchall()
        connection.close()
        os.fsync(descriptor)
        try:
            os.link(draft, path, follow_symlinks=False)
        except FileExistsError:
            pass
        _sync(os.path.dirname(path))
    finally:
        os.close(descriptor)
        for leftover in (draft, draft + "-wal", draft + "-shm", draft + "-journal"):
            try:
                os.unlink(leftover)
            except FileNotFoundError:
                pass


def sync_log(connection: Connection) -> None:
    """Have all that anybody has committed on the disk. To be called before files go that rows have named until then:
    after a power cut the rows could be there again, and the files not."""
    try:
        _sync(connection.path + "-wal")
    except FileNotFoundError:
        pass  # a rollback journal is synced with each commit


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def on_network_file_system(path: str) -> bool:
    """Whether the directory of `path` is on a file system whose locks and mappings are not those of one kernel."""
    device = os.stat(os.path.dirname(path)).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            fields, _, rest = line.partition(" - ")
            if fields.split(" ", 3)[2] == wanted:
                return rest.split(" ", 1)[0] in NETWORK_FILE_SYSTEMS
    return False


def _refusal(path: str, why: str, hint: str | None = None) -> Exception:
    from rootless.errors import StorageError

    return StorageError(f"opening the database {path}: {why}", hint or "choose another store with --root")


class transaction:
    """`with transaction(conn):` BEGIN IMMEDIATE, then COMMIT, or ROLLBACK where the block raises.

    `durable`: the commit, and each one before it, is on the disk when the block ends, also through a power cut: images,
    names, volumes. Other commits survive the death of any process, and after a power cut the database is as it was a
    moment before.
    """

    __slots__ = ("connection", "durable")

    def __init__(self, connection: Connection, durable: bool = False) -> None:
        self.connection = connection
        self.durable = durable

    def __enter__(self) -> Connection:
        room = os.statvfs(self.connection.path)
        if room.f_bavail * room.f_frsize < _LITTLE_ROOM:
            self.connection.make_room(begin_anew=True)
        if self.durable:
            self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("BEGIN IMMEDIATE")
        return self.connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                try:
                    self.connection.execute("COMMIT")
                except BaseException:
                    self._roll_back()
                    raise
            else:
                self._roll_back()
        finally:
            if self.durable:
                self.connection.execute("PRAGMA synchronous=NORMAL")

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
