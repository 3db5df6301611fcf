"""Options that say when a container begins and ends: restart policies, containers that it needs or takes the place of,
checked and made definite. Loaded where one of them is used."""

from __future__ import annotations

import os

from rootless.engine.restart import parse_policy
from rootless.errors import NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.request import CreateRequest
    from rootless.engine.start import Tell
    from storage.store import Store

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def settle(store: Store, request: CreateRequest) -> None:
    """Check these options and make them definite. Raises UsageError, NotFoundError for a container that is needed and
    is not there."""
    policy = parse_policy(request.restart)
    request.restart = policy or None
    if request.rm and policy and not policy.startswith("on-failure"):
        raise UsageError(
            f"--rm and --restart {policy} contradict each other", "with --rm, use --restart on-failure[:N], or none"
        )
    if request.replace and request.name is None:
        raise UsageError("--replace: which container? It needs --name")
    if request.rmi and not request.rm:
        raise UsageError("--rmi: the image cannot be removed as long as the container is kept", "add --rm")
    if request.tty and request.attach and 1 not in streams_of(request):
        raise UsageError("--attach without stdout: a terminal is one stream for both directions", "add --attach stdout")
    streams_of(request)
    if request.cidfile:
        request.cidfile = os.path.abspath(request.cidfile)  # whoever removes the container may be elsewhere
    request.pidfile = _place(request.pidfile, "--pidfile")
    request.conmon_pidfile = _place(request.conmon_pidfile, "--conmon-pidfile")
    request.requires = list(dict.fromkeys(_needed(store, name) for name in request.requires))


def streams_of(request: CreateRequest) -> list[int]:
    """The streams that --attach names, as descriptors. Raises UsageError."""
    for name in request.attach:
        if name.lower() not in _STREAMS:
            raise UsageError(f"--attach {name}: not a stream", f"one of: {' '.join(_STREAMS)}")
    return sorted({_STREAMS[name.lower()] for name in request.attach})


def _place(path: str | None, option: str) -> str | None:
    if not path:
        return None
    path = os.path.abspath(path)
    if os.path.isdir(path) or not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: no file can be written there")
    return path


def _needed(store: Store, name: str) -> str:
    from rootless.engine.recover import find

    try:
        return find(store, name).id
    except NotFoundError as error:
        raise NotFoundError(f"--requires {name}: there is no such container", error.hint) from None


def replace(store: Store, request: CreateRequest, tell: Tell | None = None) -> None:
    """Remove the container that has the name of the one to come."""
    from rootless.engine.remove import remove

    assert request.name is not None
    try:
        remove(store, request.name, force=True, tell=tell)
    except NotFoundError:
        pass
