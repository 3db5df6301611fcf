"""`login`: credentials for a registry, checked and kept."""

from __future__ import annotations

import os
import sys

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.registry_options import access_of
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, RootlessError, UsageError
from storage.remote.login import check_credentials, registry_name
from storage.settings.auth import Credentials, find_credentials
from storage.settings.auth_write import store_credentials
from storage.settings.registries_conf import RegistriesConf, load

_LONGEST = 1 << 16  # bytes of a password on standard input


def command(settings: Settings, opts: Opts) -> int:
    """Log in to `opts.registry`, where it takes the credentials; with --get-login, print who is logged in."""
    conf = load()
    name = registry_name(opts.registry, conf)
    if opts.get_login:
        known = _known(name, opts, conf)
        if known is None:
            raise NotFoundError(f"not logged into {name}", f"rootless login {name}")
        write(f"{known.user}\n")
        return 0
    access = access_of(opts)
    given = opts.username is not None or opts.password is not None or opts.password_stdin
    known = None if given else _known(name, opts, conf)
    if known is not None:
        write(f"Authenticating with existing credentials for {name}\n")
        if _valid(name, known, conf, opts):
            write(f"Existing credentials are valid. Already logged in to {name}\n")
            return 0
    credentials = _ask(opts, known)
    check_credentials(name, credentials, conf, access)
    place = store_credentials(name, credentials, opts.authfile, opts.compat_auth_file, conf.helpers)
    if opts.verbose:
        write(f"Used:  {place}\n")
    write("Login Succeeded!\n")
    return 0


def _known(name: str, opts: Opts, conf: RegistriesConf) -> Credentials | None:
    """What is kept already; a file that does not exist yet holds nothing."""
    file = opts.compat_auth_file or opts.authfile or os.environ.get("REGISTRY_AUTH_FILE")
    if file and not os.path.exists(file):
        return None
    return find_credentials(name, file, conf.helpers)


def _valid(name: str, known: Credentials, conf: RegistriesConf, opts: Opts) -> bool:
    try:
        check_credentials(name, known, conf, access_of(opts))
    except RootlessError:
        return False
    return True


def _ask(opts: Opts, known: Credentials | None) -> Credentials:
    """Name and password by the options, else from the terminal. Raises UsageError."""
    user, password = opts.username, opts.password
    if opts.password_stdin:
        if password is not None:
            raise UsageError("--password and --password-stdin: only one of them can be given")
        if not user:
            raise UsageError("--password-stdin: there is no user name", "add --username")
        password = _from_stdin()
    elif not (user and password is not None) and not sys.stdin.isatty():
        raise UsageError(
            "logging in: there is no terminal to ask for name and password",
            "rootless login --username NAME --password-stdin < FILE",
        )
    if not user:
        shown = f" ({known.user})" if known is not None and known.user else ""
        user = _line(f"Username{shown}: ") or (known.user if known else "")
    if password is None:
        import getpass

        try:
            password = getpass.getpass("Password: ")
        except EOFError:
            password = ""
    if not user or not password:
        raise UsageError("logging in: name and password are needed, both")
    if ":" in user:
        raise UsageError(f"logging in as {user}: there is a colon in the name, which HTTP does not allow")
    return Credentials(user, password, source="this login")


def _line(prompt: str) -> str:
    write(prompt)
    try:
        return sys.stdin.readline().strip()
    except UnicodeDecodeError:
        raise UsageError("logging in: the name is not UTF-8") from None


def _from_stdin() -> str:
    data = sys.stdin.buffer.read(_LONGEST + 1)
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("--password-stdin: what came is not UTF-8") from None
    if len(data) > _LONGEST or not text:
        raise UsageError(f"--password-stdin: what came is {'too long' if text else 'empty'}")
    return text
