"""Starting a container, step by step, so that what can overlap does:

    Starter()      pid 1 is cloned and newuidmap runs, while the caller looks up the image or the record
    launch()       the plan goes to pid 1; while it mounts, the network helper starts and the row is written
    execute()      ports are published, the container's program runs

Whoever calls `execute` is the container's monitor from then on.
"""

from __future__ import annotations

import os
import time

import rootless
from rootless.engine import networking
from rootless.faults import step
from rootless.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from rootless.kernel.pidfd import open_pidfd, start_time
from rootless.kernel.process import close_range
from rootless.runtime.launch import begin
from storage.drivers import mount_rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from network.ports import Port
    from network.slirp4netns import Helper
    from rootless.engine.request import CreateRequest
    from storage.store import Store
    from storage.volumes.rows import Claim

    Tell = Callable[[str], None]

_FLAGS = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP


class Starter:
    """A container on its way. After any failure `abort` must be called; it undoes all that is not in the store."""

    def __init__(
        self,
        store: Store,
        mode: str,
        interactive: bool,
        tty: bool,
        own_streams: bool = False,
        shared: int = 0,
        group: str = "",
    ) -> None:
        """Clone pid 1 and begin to map its ids. `mode` is the network's. With `own_streams` the container has ours.
        `shared`: CLONE_NEW* of the namespaces that it has in common with us. `group`: its control group
        (`cgroups.begin`).

        Raises KernelError.
        """
        self.store = store
        self.mode = mode
        self.tty = tty
        self.helper: Helper | None = None
        self.output = self.error = self.input = self.server = -1
        self.group = group
        self.held = -1  # what holds the container (bundle.hold); the launcher's to set
        self.identity = self.driver = ""
        self.logging: dict[str, Any] | None = None  # see log_options.plan; the launcher's to set
        self.request: CreateRequest | None = None
        self.preserve: list[int] = []  # numbers of the caller's descriptors that the container gets too
        self._prepared = False
        self._claims: list[Claim] = []  # volumes that nobody else may start with before ours has mounted them
        # Helpers outlive us for a moment: what the caller happened to have open is not for them.
        close_range(3, cloexec=True)
        stdio: list[int | None] = [None, None, None]
        if own_streams:
            stdio = [os.dup(fd) for fd in (0, 1, 2)]
        elif not tty:
            self.output, out = os.pipe2(os.O_CLOEXEC)
            self.error, err = os.pipe2(os.O_CLOEXEC)
            stdio = [None, out, err]
            if interactive:
                stdio[0], self.input = os.pipe2(os.O_CLOEXEC)
        self._stdio = stdio
        flags = (_FLAGS if mode == networking.HOST else _FLAGS | CLONE_NEWNET) & ~shared
        prepare = networking.prepare if mode == networking.SLIRP else None
        try:
            self._launch = begin(flags, mount_rootfs, prepare, group)
        except BaseException:
            self._end_group()
            raise
        for fd in stdio:
            if fd is not None:
                os.close(fd)
        self._launch.map_ids(store.user_map)

    def launch(
        self,
        container_id: str,
        driver: str,
        config: dict[str, Any],
        layers: list[str],
        request: CreateRequest,
        name: str,
        options: str,
        ports: list[Port],
    ) -> None:
        """Give pid 1 its plan and start the network helper. The container's row and directory exist; `layers` are
        names below layers/, `driver` is the one that its files were made for.

        Returns while pid 1 still mounts. Raises RootlessError.
        """
        from rootless.engine import cleanup, launch_plan
        from rootless.engine.monitor.attach_server import listen

        launch = self._launch
        self.identity, self.driver, self.request = container_id, driver, request
        run_directory = cleanup.make_run_directory(self.store, container_id)
        etc = launch_plan.etc_mounts(run_directory, request, container_id, name, self.mode, options, config)
        mounts, images = self._ready_mounts(config, etc)
        plan = launch_plan.build(self.store, container_id, driver, config, layers, request, mounts, self.tty)
        plan.update(images=images, stdio=self._stdio, preserve_fds=self.preserve)
        self.server = listen(run_directory).detach()
        if driver == "fuse-overlayfs":
            from rootless.kernel.process import become_subreaper

            become_subreaper()
        if request.confined:
            from rootless.engine.cgroups import confine

            self.group = confine.move(container_id, self.pid, self.group, request)
            confine.limit(self.group, request)
        step("before-plan")
        launch.send(plan)
        step("plan-sent")
        if rootless.debug:
            rootless.debug(f"pid 1 is {launch.init_pid}; network: {self.mode}{':' if options else ''}{options}")
        self.helper = networking.start_helper(launch.init_pid, self.mode, options, run_directory, ports)
        self._record_initialized(request)
        step("initialized")

    def _ready_mounts(self, config: dict[str, Any], etc: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Any]:
        """All mounts, those of volumes and images made ready; and what pid 1 has to know of the images."""
        mounts = etc + config["mounts"]
        volumes = self.store.layout.volumes + "/"
        if not any("rootless" in mount or mount["source"].startswith(volumes) for mount in config["mounts"]):
            return mounts, None
        from rootless.engine.bundle import COPY_UP
        from rootless.engine.volumes.start import ready_mounts

        copied = config["annotations"].get(COPY_UP)
        ready = ready_mounts(self.store, self.identity, self.driver, mounts, copied.split("\n") if copied else [])
        self._claims = ready.claims
        return ready.mounts, ready.images

    def _record_initialized(self, request: CreateRequest) -> None:
        from rootless.engine import records

        health = {}
        if request.health:
            from rootless.engine.health.results import begin

            health = begin(self.store.db, self.identity, request.health)
        records.update(
            self.store.db,
            self.identity,
            **health,
            state=records.INITIALIZED,
            pid=self.pid,
            pid_start=start_time(self.pid) or 0,
            cgroup=self.group,
            oom_killed=0,
            started=time.time(),
            finished=0,
            exit_code=0,
            error="",
        )

    def prepare(self) -> None:
        """Wait until pid 1 has all that it needs but its program. Raises RootlessError."""
        if self._prepared:
            return
        master = self._launch.wait_prepared()
        self._prepared = True
        for claim in self._claims:
            claim.release(used=True)
        if master is not None:
            self.output = self.input = master

    def execute(self, ports: list[Port]) -> list[str]:
        """Publish the ports and let the container's program run; what was done otherwise than asked.

        Raises CommandNotFoundError, CannotInvokeError, NetworkError, RootlessError.
        """
        # While pid 1 mounts: what is needed afterwards.
        import _signal  # type: ignore[import-not-found]

        from rootless.engine import records
        from rootless.engine.monitor.signals import PROXIED

        launch = self._launch
        self.prepare()
        if self.helper is not None:
            self.helper.wait_ready()
            if ports:
                self.helper.publish(ports)
        step("before-execute")
        # From here on a signal is meant for the container; the monitor unblocks them once it can pass them on.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, PROXIED)
        try:
            launch.execute()
        except BaseException:
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, PROXIED)
            raise
        step("executed")
        if rootless.debug:
            rootless.debug(f"{self.identity[:12]} runs")
        records.update(self.store.db, self.identity, state=records.RUNNING)
        step("running")
        return launch.warnings

    @property
    def pid(self) -> int:
        return self._launch.init_pid

    @property
    def pidfd(self) -> int:
        return self._launch.pidfd

    def monitor_state(self, auto_remove: bool, log: int, local_input: bool, clients: list[int]) -> dict[str, Any]:
        """What the monitor knows, in values that marshal takes; -1 for a descriptor that is not there.

        `output`, `error`, `input`: our ends of the container's streams (one master descriptor for a terminal).
        `clients`: attached connections. `rootfs`: pidfd of the process that serves the root file system. `since` is
        when it began to run (time.monotonic), `delay` what was waited before that, `timeout` how many seconds it may
        run, 0 for ever; `pause` becomes the seconds until it is started again (None: it is not), in the foreground with
        `foreground` for `foreground_state`. `health`: whether it is to be checked; `renew`: its checks have it started
        again; `acting`: the child that ends it for that, or 0.
        `cgroup`: its control group, "" for none. `policy`: whether its restart policy may keep it from being removed.
        """
        request = self.request
        assert request is not None
        helper = None
        if self.helper is not None:
            both = (self.helper.pid, self.helper.forwarder)
            helper = {
                "pid": self.helper.pid,
                "forwarder": self.helper.forwarder,
                "pidfds": [open_pidfd(pid) for pid in both if pid >= 0],
                "exit_fd": self.helper.exit_fd,
                "log": self.helper.log_path,
                "ports": [port.plain() for port in self.helper.published],
            }
        return {
            "id": self.identity,
            "root": self.store.root,
            "runroot": self.store.runroot,
            "driver": self.store.driver_request,
            "pid": self._launch.init_pid,
            "pidfd": self._launch.pidfd,
            "userns_fd": self._launch.userns_fd,
            "tty": self.tty,
            "output": self.output,
            "error": self.error,
            "input": self.input,
            "local_input": local_input,
            "log": log,
            "logging": self.logging,
            "server": self.server,
            "held": self.held,
            "clients": clients,
            "helper": helper,
            "rootfs": self._serving_process(),
            "cgroup": self.group,
            "auto_remove": auto_remove,
            "policy": bool(request.restart),
            "health": bool(request.health and request.health.get("Interval")),
            "renew": False,
            "acting": 0,
            "since": time.monotonic(),
            "delay": 0.0,
            "pause": None,
            "foreground": None,
            "timeout": request.timeout or 0,
        }

    def foreground_state(self, auto_remove: bool, log: int, streams: list[int], sig_proxy: bool) -> dict[str, Any]:
        """As `monitor_state`, for a monitor in the foreground. `streams`: those of ours that take part."""
        state = self.monitor_state(auto_remove, log, 0 in streams, [])
        state["streams"] = [number for number in streams if number]
        state["foreground"] = {"streams": streams, "sig_proxy": sig_proxy}
        return state

    def _serving_process(self) -> int:
        from storage.drivers import serving_process

        pid = serving_process(self.driver, self.store.layout.container(self.identity))
        return -1 if pid is None else open_pidfd(pid)

    def abort(self) -> None:
        """End pid 1 and the helper, and remove the run directory. Harmless at any time before the program runs."""
        self._launch.abort()
        for claim in self._claims:
            claim.release(used=False)
        if self.helper is not None:
            self.helper.stop()
        if self.identity:
            from rootless.engine import cleanup

            cleanup.remove_run_directory(self.store, self.identity)
        self._end_group()
        if self.held >= 0:
            os.close(self.held)
            self.held = -1

    def _end_group(self) -> None:
        if self.group:
            from rootless.kernel.cgroups import remove

            remove(self.group)
            self.group = ""
