"""Options for /etc/passwd and /etc/group of a container. Loaded where one of them is used, or a user has a number."""

from __future__ import annotations

from rootless.errors import NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.request import CreateRequest


def check(request: CreateRequest) -> None:
    """Raise UsageError, NotFoundError where --passwd-entry, --group-entry or --hostuser make no sense."""
    for option, template, fields in (
        ("--passwd-entry", request.passwd_entry, 7),
        ("--group-entry", request.group_entry, 4),
    ):
        if template is not None and ("\n" in template or template.count(":") != fields - 1):
            raise UsageError(f"{option} {template!r}: not {fields} fields with colons between")
    if request.passwd is False and (request.passwd_entry or request.hostuser):
        raise UsageError("--passwd=false contradicts --passwd-entry and --hostuser", "leave one of them out")
    for name in request.hostuser:
        host_entry(name)


def host_entry(name: str) -> str:
    """The line of passwd(5) of a user of the host, by name or number. Raises NotFoundError."""
    import pwd

    try:
        found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise NotFoundError(f"--hostuser {name}: the host has no such user", "getent passwd") from None
    return ":".join(
        map(str, (found.pw_name, "*", found.pw_uid, found.pw_gid, found.pw_gecos, found.pw_dir, found.pw_shell))
    )


def accounts_plan(request: CreateRequest) -> dict[str, Any]:
    """What pid 1 adds to the image's files; see `rootless.runtime.accounts`. Raises NotFoundError."""
    return {
        "user": request.user or "",
        "passwd": request.passwd_entry,
        "group": request.group_entry,
        "hosts": [host_entry(name) for name in request.hostuser],
    }
