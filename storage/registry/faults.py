"""What can go wrong between us and a registry, told in the words of who must mend it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from urllib3 import exceptions

from rootless.errors import RegistryError
from storage.registry.tls import user_certificate
from storage.settings.registries_conf import user_file

_NETWORK = "is this machine online, and is the name right?"


class Fault(RegistryError):
    """A request that failed on its way. `passing`: trying again may help; `plain_http`: the server speaks no TLS."""

    passing = False
    plain_http = False


class PassingFault(Fault):
    """A cut, a time-out, an overloaded server. `after`: seconds that the server asks us to wait, or None."""

    passing = True

    def __init__(self, message: str, hint: str | None = None, after: float | None = None) -> None:
        super().__init__(message, hint)
        self.after = after


class UnreachableFault(PassingFault):
    """No connection came about: at the first contact there is little hope, later it may pass."""


class PlainHttpFault(Fault):
    plain_http = True


class Cancelled(RegistryError):
    """Given up because something else failed; never shown."""


def translate(error: BaseException, what: str, host: str) -> Fault:
    """`what` was being done with `host`: the fault that `error`, urllib3's or the system's, amounts to."""
    causes = list(_chain(error))
    for kind, tell in _TELLERS:
        for cause in causes:
            if isinstance(cause, kind):
                fault = tell(cause, what, host)
                if fault is not None:
                    return fault
    return PassingFault(f"{what}: {error}")


def _certificate(error: Any, what: str, host: str) -> Fault:
    return Fault(f"{what}: its certificate is not trusted: {error.verify_message or error.reason}", _trust(host))


def _tls(error: Any, what: str, host: str) -> Fault:
    if _speaks_no_tls(error):
        return PlainHttpFault(f"{what}: the server speaks http, and https was expected", allow_http(host))
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return PassingFault(f"{what}: the connection was cut")
    return Fault(f"{what}: TLS failed: {error.reason or error}")


def _unknown_name(error: Any, what: str, host: str) -> Fault:
    return UnreachableFault(f"{what}: the host name {_name(host)} cannot be resolved: {error.strerror}", _NETWORK)


def _proxy(error: Any, what: str, host: str) -> Fault:
    return Fault(f"{what}: the proxy refuses: {error.original_error}", "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY")


def _no_connection(error: Any, what: str, host: str) -> Fault | None:
    if isinstance(error, exceptions.NewConnectionError):  # a kind of time-out to urllib3; its cause says more
        return None
    return UnreachableFault(f"{what}: no answer to the attempt to connect", _NETWORK)


def _system(error: Any, what: str, host: str) -> Fault | None:
    return UnreachableFault(f"{what}: {error.strerror}", _NETWORK) if error.strerror else None


# the first kind that occurs anywhere among the causes says what has happened
_TELLERS: tuple[
    tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any, str, str], Fault | None]], ...
]
_TELLERS = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (socket.gaierror, _unknown_name),
    (exceptions.ProxyError, _proxy),
    (
        ConnectionRefusedError,
        lambda error, what, host: UnreachableFault(
            f"{what}: connection refused", "is the registry running, and is the port right?"
        ),
    ),
    (exceptions.ConnectTimeoutError, _no_connection),
    (
        (exceptions.ReadTimeoutError, TimeoutError),
        lambda error, what, host: PassingFault(f"{what}: the server has stopped answering"),
    ),
    (
        exceptions.IncompleteRead,
        lambda error, what, host: PassingFault(f"{what}: the connection was cut in mid-answer"),
    ),
    (ConnectionError, lambda error, what, host: PassingFault(f"{what}: the connection was cut")),
    (OSError, _system),
    (
        (exceptions.LocationParseError, exceptions.LocationValueError),
        lambda error, what, host: Fault(f"{what}: {error}"),
    ),
    (exceptions.ProtocolError, lambda error, what, host: PassingFault(f"{what}: the answer is not HTTP: {error}")),
)


FAULTS = (exceptions.HTTPError, OSError)


def allow_http(host: str) -> str:
    """How to make us talk http to a registry, ready to be pasted."""
    return (
        f"to allow http for it, add to {user_file()}:\n"
        f'    [[registry]]\n    location = "{host}"\n    insecure = true\n'
        "or, this once, say --tls-verify=false"
    )


def _trust(host: str) -> str:
    return (
        f"put the certificate of its authority into {user_certificate(host)}, "
        "or name its folder with --cert-dir; with --tls-verify=false anybody in between may read and change all"
    )


def _name(host: str) -> str:
    return host.rpartition(":")[0] or host


def _speaks_no_tls(error: ssl.SSLError) -> bool:
    reason = (error.reason or str(error)).upper()
    return any(
        text in reason
        for text in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it wraps: urllib3 keeps causes in arguments as well."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or current in seen:
            continue
        seen.append(current)
        yield current
        waiting += [argument for argument in current.args if isinstance(argument, BaseException)]
        waiting += [getattr(current, "reason", None) if isinstance(current, urllib3.exceptions.HTTPError) else None]
        waiting += [current.__cause__, current.__context__]
