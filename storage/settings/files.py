"""Where the ecosystem's configuration files are: the user's, then the machine's."""

from __future__ import annotations

import os
from typing import Any

from rootless.errors import StorageError
from rootless.kernel.fifos import open_to_read


def home() -> str:
    """The user's home directory; from the password database where HOME is not set."""
    found = os.environ.get("HOME", "")
    if os.path.isabs(found):
        return found
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def user_directory() -> str:
    """$XDG_CONFIG_HOME/containers, or ~/.config/containers."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (base if os.path.isabs(base) else home() + "/.config") + "/containers"


def read_toml(path: str) -> dict[str, Any] | None:
    """The TOML file at `path`, or None where there is none. Raises StorageError, naming file and line."""
    import tomllib

    try:
        with open(path, "rb", opener=open_to_read) as file:
            return tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"reading {path}: {error}", "see man 5 containers-registries.conf") from None
    except OSError as error:
        raise StorageError(f"reading {path}: {error.strerror}") from None


def drop_ins(directory: str) -> list[str]:
    """The *.conf files of a drop-in directory, in the order in which they apply."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]
