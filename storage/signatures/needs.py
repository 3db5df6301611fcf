"""The libraries that only signatures need, imported when they are: pip install 'rootless[signatures]'."""

from __future__ import annotations

import importlib
from types import ModuleType

from rootless.errors import RootlessError


def need(module: str, library: str, what: str) -> ModuleType:
    """The module of an optional library. Raises RootlessError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise RootlessError(
            f"{what}: the Python library {library} is not installed", "pip install 'rootless[signatures]'"
        ) from None
