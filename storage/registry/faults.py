"""What can go wrong between us and a registry, told in the words of who must mend it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import urllib3
from urllib3 import exceptions

from rootless.errors import RegistryError
from storage.registries_conf import user_file
from storage.registry.tls import user_certificate


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
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Fault(
                f"{what}: its certificate is not trusted: {cause.verify_message or cause.reason}", _trust(host)
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            if _speaks_no_tls(cause):
                return PlainHttpFault(f"{what}: the server speaks http, and https was expected", allow_http(host))
            if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                return PassingFault(f"{what}: the connection was cut")
            return Fault(f"{what}: TLS failed: {cause.reason or cause}")
        if isinstance(cause, socket.gaierror):
            return UnreachableFault(
                f"{what}: the host name {_name(host)} cannot be resolved: {cause.strerror}", _network()
            )
        if isinstance(cause, exceptions.ProxyError):
            return Fault(
                f"{what}: the proxy refuses: {cause.original_error}", "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
            )
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            return UnreachableFault(f"{what}: connection refused", "is the registry running, and is the port right?")
        if isinstance(cause, exceptions.ConnectTimeoutError):
            return UnreachableFault(f"{what}: no answer to the attempt to connect", _network())
        if isinstance(cause, exceptions.ReadTimeoutError | TimeoutError):
            return PassingFault(f"{what}: the server has stopped answering")
        if isinstance(cause, exceptions.IncompleteRead):
            return PassingFault(f"{what}: the connection was cut in mid-answer")
        if isinstance(cause, ConnectionError):
            return PassingFault(f"{what}: the connection was cut")
        if isinstance(cause, OSError) and cause.strerror:
            return UnreachableFault(f"{what}: {cause.strerror}", _network())
    if isinstance(error, exceptions.LocationParseError | exceptions.LocationValueError):
        return Fault(f"{what}: {error}")
    if isinstance(error, exceptions.ProtocolError):
        return PassingFault(f"{what}: the answer is not HTTP: {error}")
    return PassingFault(f"{what}: {error}")


FAULTS = (exceptions.HTTPError, OSError)


def allow_http(host: str) -> str:
    """How to make us talk http to a registry, ready to be pasted."""
    return (
        f"to allow http for it, add to {user_file()}:\n"
        f'    [[registry]]\n    location = "{host}"\n    insecure = true\n'
        "or, this once, give --tls-verify=false"
    )


def _trust(host: str) -> str:
    return (
        f"put the certificate of its authority into {user_certificate(host)}, "
        "or give --tls-verify=false where you do not mind"
    )


def _network() -> str:
    return "is this machine online, and is the name right?"


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
