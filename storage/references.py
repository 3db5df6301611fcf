"""Names of images, as Docker's command line reads them (distribution/reference: grammar and normalisation).

    reference = [host[:port]/]path[:tag][@sha256:hex]        alpine  ->  docker.io/library/alpine

Hot: no `re`. Every set of characters below is one of the grammar's classes.
"""

from __future__ import annotations

from rootless.errors import UsageError

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
LONGEST_PATH = 255
LONGEST_TAG = 128

TRANSPORTS = ("containers-storage", "dir", "docker", "docker-archive", "docker-daemon", "oci", "oci-archive", "sif")
LOADABLE = ("dir", "docker-archive", "oci", "oci-archive")  # what `load` reads

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LETTERS = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdef")
_DIGITS = frozenset("0123456789")
_HOST = _LETTERS | frozenset("-.")
_IPV6 = frozenset("0123456789abcdefABCDEF:")
_TAG_FIRST = _LETTERS | frozenset("_")
_TAG = _LETTERS | frozenset("_.-")
_SHOWN = 80


class Reference:
    """`domain` "docker.io", `path` "library/alpine", `tag` "3.20" or None, `digest` "sha256:<64 hex>" or None."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str | None = None, digest: str | None = None) -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """Registry and repository: "docker.io/library/alpine"."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """As short as Docker shows it: "alpine:3.20", "quay.io/podman/hello"."""
        name = self.name
        if self.domain == DEFAULT_DOMAIN:
            name = self.path
            short = name.removeprefix("library/")
            if "/" not in short:
                name = short
        return name + self._ending()

    @property
    def tagged(self) -> str:
        """The name that the store knows it by: "docker.io/library/alpine:latest"."""
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    def _ending(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._ending()

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Reference:
    """Read a reference; without a registry it is Docker Hub's, and official images there lie in "library/".

    No tag is filled in. Raises UsageError, which says what is wrong with the text.
    """
    if len(text) == 64 and _HEX.issuperset(text):
        raise _invalid(text, "64 hexadecimal digits are the id of an image, not a name")
    if "://" in text:
        raise _invalid(text, "it is a URL", f"leave {text.partition('://')[0][:_SHOWN]}:// away")
    transport, place = split_transport(text)
    if transport in LOADABLE and place.startswith(("/", ".")):
        raise _invalid(text, "it is a place of files", f"rootless load -i {place.partition(':')[0]}")
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(text, digest)
    domain, remainder = _split_domain(rest)
    path, colon, tag = remainder.partition(":")
    if colon:
        _check_tag(text, tag)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    _check_domain(text, domain)
    _check_path(text, path)
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = "library/" + path
    if len(path) > LONGEST_PATH:
        raise _invalid(text, f"the repository name has {len(path)} characters, more than {LONGEST_PATH}")
    return Reference(domain, path, tag or None, digest or None)


def names_registry(text: str) -> bool:
    """Whether the text begins with a registry ("quay.io/x", "localhost/x", "host:5000/x"), by Docker's rule."""
    first, slash, _ = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)


def split_transport(text: str) -> tuple[str, str]:
    """Take a transport off the front: "docker://alpine" -> ("docker", "alpine"), "oci:dir" -> ("oci", "dir").

    Without one the first part is "". A tag is not taken for one: "docker:latest" is an image.
    """
    name, colon, rest = text.partition(":")
    if not colon or name not in TRANSPORTS:
        return "", text
    if name == "docker":
        return (name, rest[2:]) if rest.startswith("//") else ("", text)
    # "oci:1.0" may be an image of that name; paths are what these transports take
    if name in ("dir", "oci", "sif") and "/" not in rest and not rest.startswith("."):
        return "", text
    return name, rest


def transport_of(text: str, new: bool = False) -> str:
    """The transport that `text` begins with, "" where it is an image's name. As `split_transport`, except that a
    directory that exists is taken for one ("oci:layout"), or with `new` any name of one."""
    name, _, rest = text.partition(":")
    if name in ("dir", "oci") and rest:
        import os

        if new or os.path.isdir(rest.partition(":")[0] if name == "oci" else rest):
            return name
    return split_transport(text)[0]


def _split_domain(text: str) -> tuple[str, str]:
    if not names_registry(text):
        return DEFAULT_DOMAIN, text
    domain, _, remainder = text.partition("/")
    return domain, remainder


def _check_domain(text: str, domain: str) -> None:
    if domain.startswith("["):
        host, bracket, port = domain[1:].partition("]")
        if not bracket or not host or not _IPV6.issuperset(host) or (port and port[0] != ":"):
            raise _invalid(text, f"{domain[:_SHOWN]!r} is not an IPv6 address in brackets", "write [::1]:5000/name")
    else:
        host, colon, port = domain.partition(":")
        port = colon + port
        for label in host.split("."):
            if not label or not _HOST.issuperset(label) or label[0] == "-" or label[-1] == "-":
                raise _invalid(text, f"{host[:_SHOWN]!r} is not the name of a host")
    if port and not (2 <= len(port) <= 6 and _DIGITS.issuperset(port[1:]) and 0 < int(port[1:]) < 65536):
        raise _invalid(text, f"{port[1:_SHOWN]!r} is not a port")


def _check_path(text: str, path: str) -> None:
    if not path:
        raise _invalid(text, "it names no image" if text else "it is empty")
    for part in path.split("/"):
        if not part:
            raise _invalid(text, "there is nothing between two slashes, or after the last")
        if not _is_component(part):
            if _is_component(part.lower()):
                raise _invalid(text, "repository names are lowercase", f"did you mean {_lowered(text, path)}?")
            if part[0] not in _LETTERS or part[-1] not in _LETTERS:
                raise _invalid(text, f"{part[:_SHOWN]!r} must begin and end with a letter or a digit")
            raise _invalid(
                text,
                f"{part[:_SHOWN]!r} is not a name",
                "names are made of a-z and 0-9, with single '.', '_', '__' or dashes in between",
            )


def _lowered(text: str, path: str) -> str:
    return text.replace(path, path.lower(), 1)


def _is_component(part: str) -> bool:
    """[a-z0-9]+ ( ([._] | __ | -*) [a-z0-9]+ )*"""
    separator = ""
    if part[0] not in _LOWER:
        return False
    for character in part:
        if character in _LOWER:
            separator = ""
            continue
        separator += character
        if separator not in (".", "_", "__") and separator.strip("-"):
            return False
    return not separator


def _check_tag(text: str, tag: str) -> None:
    if not tag:
        raise _invalid(text, "the tag after ':' is empty")
    if len(tag) > LONGEST_TAG:
        raise _invalid(text, f"the tag has {len(tag)} characters, more than {LONGEST_TAG}")
    if tag[0] not in _TAG_FIRST or not _TAG.issuperset(tag):
        raise _invalid(text, f"{tag[:_SHOWN]!r} is not a tag", "tags are made of letters, digits, '_', '.' and '-'")


def _check_digest(text: str, digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    if algorithm == "sha256" and len(value) == 64 and _HEX.issuperset(value):
        return
    why = f"{digest[:_SHOWN]!r} is not a digest: 'sha256:' and 64 hexadecimal digits in lower case"
    if algorithm in ("sha384", "sha512"):
        why = f"digests of {algorithm} are not known here, only those of sha256"
    raise _invalid(text, why)


def _invalid(text: str, why: str, hint: str | None = None) -> UsageError:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return UsageError(f"invalid image name {shown!r}: {why}", hint)
