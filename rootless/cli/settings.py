"""What the options before the verb decide, for every command."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from storage.store import Store


class Settings:
    """`root`, `runroot`: as asked for on the command line, or None. `log_level`: one of tables.LOG_LEVELS."""

    __slots__ = ("_store", "log_level", "root", "runroot", "storage_driver")

    def __init__(
        self,
        root: str | None = None,
        runroot: str | None = None,
        storage_driver: str | None = None,
        log_level: str = "warn",
    ) -> None:
        self.root = root
        self.runroot = runroot
        self.storage_driver = storage_driver or os.environ.get("ROOTLESS_STORAGE_DRIVER") or None
        self.log_level = log_level
        self._store: Store | None = None

    def apply(self, opts: Opts) -> None:
        """Take over the options before the verb (`tables.GLOBAL`). Raises UsageError for a driver that is none."""
        if opts.storage_driver:
            from storage.drivers import check_name

            check_name(opts.storage_driver)
        self.root = opts.root
        self.runroot = opts.runroot
        self.storage_driver = opts.storage_driver or self.storage_driver
        self.log_level = "debug" if opts.log_level == "trace" else opts.log_level
        if self.log_level in ("error", "fatal", "panic"):
            import rootless

            rootless.warns = False
        if self.log_level == "debug":
            import rootless
            from rootless.cli.failures import explain

            rootless.debug = explain

    def store(self) -> Store:
        """The store of this command; the same object at every call. Nothing is opened before it is used."""
        if self._store is None:
            from rootless.paths import data_root, run_root
            from storage.store import Store

            self._store = Store(data_root(self.root), run_root(self.runroot), self.storage_driver)
        return self._store
