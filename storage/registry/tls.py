"""TLS settings for a registry: the system's authorities and what certs.d adds (containers-certs.d(5))."""

from __future__ import annotations

import os
import ssl

from rootless.errors import RegistryError
from storage.settings.files import home, user_directory


def directories(host: str) -> list[str]:
    """Where certificates for `host` ("name" or "name:port") may lie; all that exist count."""
    places = (home() + "/.config/containers", user_directory(), "/etc/containers", "/etc/docker")
    return [f"{place}/certs.d/{host}" for place in dict.fromkeys(places)]


def user_certificate(host: str) -> str:
    """The file that a hint tells the user to make."""
    return f"{user_directory()}/certs.d/{host}/ca.crt"


def make_context(host: str, insecure: bool, certificates: str | None = None) -> ssl.SSLContext:
    """Verify certificates and names against the system's authorities (SSL_CERT_FILE too) and certs.d's *.crt; offer
    the client certificates *.cert with *.key. `insecure`: take any certificate. `certificates`: the folder to read in
    the place of certs.d. Raises RegistryError, also where that folder is missing."""
    if certificates is not None and not os.path.isdir(certificates):
        raise RegistryError(f"reading certificates from {certificates}: there is no such folder", "see --cert-dir")
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the authorities, whose reading takes 10 ms
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
    for directory in directories(host) if certificates is None else [certificates]:
        _add(context, directory)
    return context


def _add(context: ssl.SSLContext, directory: str) -> None:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = f"{directory}/{name}"
        try:
            if name.endswith(".crt"):
                context.load_verify_locations(path)
            elif name.endswith(".cert"):
                key = path.removesuffix(".cert") + ".key"
                context.load_cert_chain(path, key)
        except FileNotFoundError:
            raise RegistryError(
                f"reading {path}: there is no key beside it ({name.removesuffix('.cert')}.key)"
            ) from None
        except (OSError, ssl.SSLError) as error:
            raise RegistryError(f"reading {path}: {error.strerror or error}", "certificates are PEM files") from None
