"""A store: the images, layers, containers and volumes below one root directory, and how to get at them.

Nothing is opened before it is used. Tree: see `storage.layout`.
"""

from __future__ import annotations

import rootless
from rootless.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.kernel.idmaps import UserMap
    from rootless.kernel.userns import UserNamespace
    from storage.layers.store import LayerStore
    from storage.layout import Layout
    from storage.sqlite import Connection


class Store:
    """What every command works on. `root`, `runroot`: absolute paths. `driver_request`: --storage-driver or None;
    another name than a driver's is a UsageError at once.

    A process that forks and goes on in the child calls `forget()` there: a database connection does not survive a fork.
    """

    __slots__ = (
        "_db",
        "_driver",
        "_layers",
        "_layout",
        "_user_map",
        "_user_namespace",
        "driver_request",
        "root",
        "runroot",
    )

    def __init__(self, root: str, runroot: str, driver_request: str | None = None) -> None:
        if driver_request is not None:
            from storage.drivers import check_name

            check_name(driver_request)
        self.root = root
        self.runroot = runroot
        self.driver_request = driver_request
        self._db: Connection | None = None
        self._layout: Layout | None = None
        self._driver: str | None = None
        self._user_map: UserMap | None = None
        self._user_namespace: UserNamespace | None = None
        self._layers: LayerStore | None = None

    @property
    def db(self) -> Connection:
        """The open database (autocommit; see `storage.database.transaction`)."""
        if self._db is None:
            from storage.database import open_database

            if rootless.debug:
                rootless.debug(f"store {self.root}, live state {self.runroot}, database {self.layout.database}")
            self._db = open_database(self.layout.database)
        return self._db

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            from storage.layout import Layout

            self._layout = Layout(self.root)
            self._layout.create()
        return self._layout

    @property
    def driver(self) -> str:
        """Name of the storage driver: the requested one, else the probed one. Raises StorageError if it cannot work."""
        if self._driver is None:
            from storage.drivers import choose_driver

            self._driver = choose_driver(self.layout, self.driver_request)
        return self._driver

    @property
    def user_map(self) -> UserMap:
        """The id map of containers and layers: all our subordinate ids, or a single id where there are none."""
        if self._user_map is None:
            from rootless.kernel.idmaps import default_user_map, keeps_root_out

            self._user_map = default_user_map()
            if keeps_root_out(self._user_map):
                raise StorageError(
                    "working as root: containers get ids of their own, which cannot reach root's store",
                    "run it as an ordinary user: su - NAME (contrib/start makes one)",
                )
            if rootless.debug:
                ids = self._user_map
                text = f"ids (inside, outside, count): users {ids.uids}, groups {ids.gids}"
                rootless.debug(f"{text}: one only, as {ids.reason}" if ids.single else text)
        return self._user_map

    def user_namespace(self) -> UserNamespace:
        """A namespace mapped by `user_map`, for work on files of subordinate ids; made once."""
        if self._user_namespace is None:
            from rootless.kernel.userns import UserNamespace

            self._user_namespace = UserNamespace.create(self.user_map)
        return self._user_namespace

    @property
    def layers(self) -> LayerStore:
        if self._layers is None:
            from storage.layers.store import LayerStore

            self._layers = LayerStore(self.layout, self.user_namespace, lambda: self.user_map.single)
        return self._layers

    def forget(self) -> None:
        """In a forked child, at once: close the parent's connection, which may not be used here.

        SQLite believes that this process holds the parent's locks, and would take none for a second connection. The
        parent's own locks stay, as they belong to its process.
        """
        if self._db is not None:
            self._db.close()
            self._db = None
