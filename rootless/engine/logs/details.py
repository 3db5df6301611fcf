"""`logs --details`: what the options of a log driver have chosen of a container, as Docker prints it."""

from __future__ import annotations

from urllib.parse import quote_plus

from rootless.engine.log_options import attributes
from rootless.engine.records import Container
from rootless.engine.request import CreateRequest
from rootless.errors import ConflictError
from rootless.jsontext import loads


def details(container: Container) -> bytes:
    """What stands before each line: "KEY=VALUE,KEY=VALUE ", escaped as in a URL; a space alone where nothing is chosen.

    Raises ConflictError where the log driver has no such options.
    """
    request = CreateRequest.from_plain(loads(container.request))
    chosen = attributes(container, request)
    if chosen is None:
        raise ConflictError(
            f"logs --details {container.name}: --log-driver {request.log_driver or 'k8s-file'} keeps lines alone",
            "make the container with --log-driver json-file (or journald) --log-opt labels=KEY,KEY --log-opt env=NAME",
        )
    pairs = [f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(chosen.items())]
    return f"{','.join(pairs)} ".encode()
