"""Reading containers.conf(5): the keys that mean something here, checked. Loaded when a file has changed."""

from __future__ import annotations

from typing import Any

from rootless.errors import UsageError
from storage.settings.files import read_toml

# Table and key of the files -> name in a request, and what the value must be.
_KEYS: dict[tuple[str, str], tuple[str, type]] = {
    ("containers", "annotations"): ("annotation", list),
    ("containers", "base_hosts_file"): ("hosts_file", str),
    ("containers", "default_ulimits"): ("ulimit", list),
    ("containers", "devices"): ("device", list),
    ("containers", "dns_options"): ("dns_option", list),
    ("containers", "dns_searches"): ("dns_search", list),
    ("containers", "dns_servers"): ("dns", list),
    ("containers", "env"): ("default_env", list),
    ("containers", "env_host"): ("env_host", bool),
    ("containers", "http_proxy"): ("http_proxy", bool),
    ("containers", "init"): ("init", bool),
    ("containers", "init_path"): ("init_path", str),
    ("containers", "log_driver"): ("log_driver", str),
    ("containers", "log_size_max"): ("max_size", int),
    ("containers", "mounts"): ("mount", list),
    ("containers", "no_hosts"): ("no_hosts", bool),
    ("containers", "read_only"): ("read_only", bool),
    ("containers", "seccomp_profile"): ("seccomp", str),
    ("containers", "shm_size"): ("shm_size", str),
    ("containers", "tz"): ("tz", str),
    ("containers", "umask"): ("umask", str),
    ("containers", "volumes"): ("volume", list),
    ("engine", "stop_timeout"): ("stop_timeout", int),
}


def read(paths: list[str]) -> dict[str, Any]:
    """The values by their names in a request; a later file wins. Raises UsageError, StorageError, naming the file."""
    found: dict[str, Any] = {}
    for path in paths:
        content = read_toml(path) or {}
        for (table, key), (name, kind) in _KEYS.items():
            value = (content.get(table) or {}).get(key)
            if value is None:
                continue
            fits = isinstance(value, kind)
            if isinstance(value, list):
                fits = fits and all(isinstance(entry, str) for entry in value)
            if not fits:
                wanted = {list: "a list of strings", str: "a string", bool: "true or false", int: "a number"}[kind]
                raise UsageError(f"reading {path}: {key} in [{table}] is not {wanted}", "see man 5 containers.conf")
            found[name] = value
    return {
        name: value for name, value in found.items() if value not in ("", [], None) and _means_something(name, value)
    }


def _means_something(name: str, value: Any) -> bool:
    """Values that stand for the default are dropped: most files consist of such."""
    if name == "max_size":
        return isinstance(value, int) and value > 0
    if name == "hosts_file":
        return bool(value != "image")  # the image's names are those that a container without --hosts-file may not have
    return bool(name != "log_driver" or value != "passthrough")
