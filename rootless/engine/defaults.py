"""What containers.conf(5) says where the command line says nothing: the files of the machine, then the user's.

What was read is kept in the store (`defaults`, marshal) until one of the files changes, as reading TOML takes longer
than starting a container.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.request import CreateRequest
    from storage.store import Store

_MACHINE = ("/usr/share/containers/containers.conf", "/etc/containers/containers.conf")
_FORMAT = 1  # of the kept values; a new key makes a new one


def apply(store: Store, request: CreateRequest) -> None:
    """Fill in what the request leaves open. Raises UsageError, StorageError for a file that cannot be understood."""
    files = _files()
    if not files:
        return
    values = _kept(store, files)
    if values:
        _fill(request, values)


def _files() -> list[tuple[str, int, int, int]]:
    """(path, modification time in ns, size, inode) of each file that there is, in the order in which they apply."""
    alone = os.environ.get("CONTAINERS_CONF")
    if alone:
        paths = [alone]
    else:
        paths = [*_MACHINE, *_drop_ins("/etc/containers/containers.conf.d")]
        base = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("HOME", "") + "/.config"
        if base.startswith("/"):
            paths += [f"{base}/containers/containers.conf", *_drop_ins(f"{base}/containers/containers.conf.d")]
    override = os.environ.get("CONTAINERS_CONF_OVERRIDE")
    if override:
        paths.append(override)
    found = []
    for path in paths:
        try:
            there = os.stat(path)
        except OSError:
            continue
        found.append((path, there.st_mtime_ns, there.st_size, there.st_ino))
    return found


def _drop_ins(directory: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if name.endswith(".conf")]
    except OSError:
        return []


def _kept(store: Store, files: list[tuple[str, int, int, int]]) -> dict[str, Any]:
    path = store.root + "/defaults"
    key = (_FORMAT, files)
    try:
        with open(path, "rb", buffering=0) as file:
            kept_key, values = marshal.loads(file.readall())
        if kept_key == key and isinstance(values, dict):
            return values
    except (OSError, ValueError, EOFError, TypeError):
        pass  # not kept yet, or by another Python
    from rootless.engine.defaults_read import read

    values = read([entry[0] for entry in files])
    _keep(store, path, marshal.dumps((key, values)))
    return values


def _keep(store: Store, path: str, content: bytes) -> None:
    draft = f"{store.layout.tmp}/defaults-{os.getpid()}"
    try:
        store.layout.create()
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)
        os.rename(draft, path)
    except OSError:
        pass  # a full or read-only disk: it is read again the next time


def _fill(request: CreateRequest, values: dict[str, Any]) -> None:
    """Lists of the files stand before those of the request, or give way to them; single values give way."""
    for name in ("annotation", "device", "mount", "volume", "default_env"):
        if name in values:
            setattr(request, name, values[name] + getattr(request, name))
    for name in ("dns", "dns_option", "dns_search", "ulimit"):
        if name in values and not getattr(request, name):
            setattr(request, name, list(values[name]))
    texts = ("hosts_file", "http_proxy", "init_path", "log_driver", "shm_size", "stop_timeout", "tz", "umask")
    for name in texts:
        if name in values and getattr(request, name) is None:
            setattr(request, name, values[name])
    for name in ("env_host", "init", "no_hosts", "read_only"):
        if values.get(name):
            setattr(request, name, True)
    if "seccomp" in values and not any(option.startswith("seccomp") for option in request.security_opt):
        request.security_opt = [*request.security_opt, f"seccomp={values['seccomp']}"]
    if "max_size" in values and not any(option.startswith("max-size") for option in request.log_opt):
        request.log_opt = [*request.log_opt, f"max-size={values['max_size']}"]
