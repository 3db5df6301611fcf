"""What pid 1 of a container is told: its configuration, completed with what each start finds out anew."""

from __future__ import annotations

import rootless
from rootless.engine import networking
from rootless.engine.bundle import GROUPS
from rootless.engine.spec.seccomp import refuses_keys, seccomp_filter
from storage.drivers import rootfs_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.request import CreateRequest
    from storage.store import Store

CONTAINERENV = ".containerenv"


def etc_mounts(
    run_directory: str,
    request: CreateRequest,
    container_id: str,
    name: str,
    mode: str,
    options: str,
    config: dict[str, Any],
) -> list[dict[str, Any]]:
    """Write the files of the network, and /run/.containerenv, into the run directory; the mounts that bring them into
    the container. `mode`, `options`: the network's."""
    etc = networking.etc_files(request, mode, options, config["hostname"], name)
    if not any(mount["destination"] == "/run" and mount["type"] == "bind" for mount in config["mounts"]):
        etc[CONTAINERENV] = _containerenv(request, container_id, name) if request.privileged else ""
    return networking.write_etc_files(run_directory, etc)


def build(
    store: Store,
    container_id: str,
    driver: str,
    config: dict[str, Any],
    layers: list[str],
    request: CreateRequest,
    mounts: list[dict[str, Any]],
    tty: bool,
) -> dict[str, Any]:
    """The plan for `Launch.send`, without "stdio", "images" and "preserve_fds". `mounts`: all of them; the other
    arguments are those of `Starter.launch`. Raises RootlessError."""
    container_dir = store.layout.container(container_id)
    told = dict(config)
    if request.secret:
        from rootless.engine.spec import secrets

        mounts = mounts + secrets.mounts(container_dir, request.secret)
        told["process"] = secrets.with_variables(config["process"], container_dir, request.secret)
    told["mounts"] = sorted(mounts, key=_depth)
    if rootless.debug:
        _tell_plan(told, request.user or "")
    if tty:
        told["process"] = _with_console_size(told["process"])
    plan: dict[str, Any] = {
        "config": told,
        "rootfs": rootfs_plan(driver, store.layout, container_dir, layers, volatile=request.rm),
        "target": config["root"]["path"],
        "user": request.user or "",
        "seccomp": seccomp_filter(store, config),
        "keys_refused": refuses_keys(config),
        "groups": config["annotations"].get(GROUPS),
    }
    if request.needs_accounts:
        from rootless.engine.spec.accounts import accounts_plan

        plan["accounts"] = accounts_plan(request)
    if request.init or request.init_path:
        from rootless.engine.spec.init_program import find_init

        plan["init"] = find_init(request.init_path)
    return plan


def _containerenv(request: CreateRequest, container_id: str, name: str) -> str:
    """What a privileged container is told about itself in /run/.containerenv, as Podman does."""
    return (
        f'engine="rootless"\nname="{name}"\nid="{container_id}"\nimage="{request.image}"\nrootless=1\n'
        "graphRootMounted=0\n"
    )


def _tell_plan(config: dict[str, Any], user: str) -> None:
    assert rootless.debug is not None
    for mount in config["mounts"]:
        options = ",".join(mount.get("options", ()))
        rootless.debug(f"mount {mount['type']} {mount['source']} on {mount['destination']} ({options})")
    process = config["process"]
    rootless.debug(f"capabilities: {' '.join(process['capabilities']['effective'])}")
    rootless.debug(f"command: {process['args']} in {process['cwd']} as {user or 'root'}")


def _depth(mount: dict[str, Any]) -> int:
    """Mount points in the order of their depth, so that none covers another; the sort is stable."""
    path = str(mount["destination"]).strip("/")
    return path.count("/") + 1 if path else 0


def _with_console_size(process: dict[str, Any]) -> dict[str, Any]:
    from rootless.kernel.terminal import size_of_ours

    size = size_of_ours()
    return process if size is None else {**process, "consoleSize": {"height": size[0], "width": size[1]}}
