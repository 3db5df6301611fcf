"""Every error that leaves this project.

    RootlessError                125   ours: what was being done, why it failed, what to do
    |-- UsageError               125   the command line or an option value is wrong
    |-- NotFoundError            125   no such container, image, volume, network (verbs whose peers exit with 1 say so)
    |-- ConflictError            125   name taken, still in use, wrong state
    |   `-- OvertakenError       125   another command was faster; who looks again sees what has become of it
    |-- KernelError              125   a system call refused; names the call and the path
    |-- StorageError             125   the store: damaged, full, not writable, newer than we are
    |   |-- DiskFullError        125   no room left for the database
    |   |-- ImageError           125   an image or archive that is not what it says
    |   `-- RegistryError        125   a registry that cannot be reached, refuses, or lies
    |-- NetworkError             125   a network helper or a port
    |-- CannotInvokeError        126   the container's command exists and cannot be executed
    `-- CommandNotFoundError     127   the container's command does not exist

Only the command line prints errors; everything else raises them.
"""

from __future__ import annotations


class RootlessError(Exception):
    """A failure told to the user: `message` in the form "what was being done: what went wrong".

    `hint` is what the user can do about it (a command, a file), or None. `exit_code` is the process exit code.
    """

    exit_code = 125

    def __init__(self, message: str, hint: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(RootlessError):
    pass


class NotFoundError(RootlessError):
    pass


class ConflictError(RootlessError):
    pass


class OvertakenError(ConflictError):
    pass


class KernelError(RootlessError):
    pass


class StorageError(RootlessError):
    pass


class DiskFullError(StorageError):
    pass


class ImageError(StorageError):
    pass


class RegistryError(StorageError):
    pass


class NetworkError(RootlessError):
    pass


class CannotInvokeError(RootlessError):
    exit_code = 126


class CommandNotFoundError(RootlessError):
    exit_code = 127
