"""registries.conf (containers-registries.conf(5), version 2; version 1 is translated): which registries a name means.

Read: $CONTAINERS_REGISTRIES_CONF, or the user's registries.conf, or /etc/containers/registries.conf; then the drop-ins
of /etc/containers/registries.conf.d and the user's registries.conf.d, each of which may replace what came before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from rootless.errors import RegistryError, StorageError, UsageError
from storage.references import DEFAULT_DOMAIN, Reference, names_registry, parse
from storage.settings.files import drop_ins, home, read_toml, user_directory

SYSTEM_DIRECTORY = "/etc/containers"
_MIRROR_USES = ("all", "digest-only", "tag-only")
_MODES = ("enforcing", "permissive", "disabled")


@dataclass(frozen=True, slots=True)
class Mirror:
    """`location` replaces the prefix of its registry. `use`: "all", "digest-only" or "tag-only" references."""

    location: str
    insecure: bool = False
    use: str = "all"


@dataclass(frozen=True, slots=True)
class Registry:
    """What holds for names that begin with `prefix` ("host", "host/namespace", "host/repository:tag", "*.host")."""

    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask for an image: `host` with port ("docker.io" is Docker Hub), `repository`, whether certificates may
    be wrong and http is allowed, whether it is a mirror, and the folder of `certificates` that was asked for, if any.
    """

    host: str
    repository: str
    insecure: bool = False
    mirror: bool = False
    certificates: str | None = None


@dataclass(slots=True)
class RegistriesConf:
    """The merged configuration. `sources`: the files that were read."""

    registries: dict[str, Registry] = field(default_factory=dict)
    search: list[str] | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    helpers: list[str] | None = None
    mode: str = "permissive"
    sources: list[str] = field(default_factory=list)

    def candidates(self, text: str, local: bool = False) -> list[Reference]:
        """The full references that `text` may mean, in the order in which to try them.

        A name with a registry means itself; a short one its alias, else one in each of the searched registries
        (Docker Hub where none is configured). Raises UsageError where short-name-mode = "enforcing" leaves a choice, or
        nothing is searched; not when images that are here (`local`) are looked for.
        """
        if names_registry(text):
            return [parse(text)]
        meant = parse(text)
        short = meant.path if "/" in text.partition(":")[0] else meant.path.removeprefix("library/")
        alias = self.aliases.get(short)
        if alias:
            target = parse(alias)
            return [Reference(target.domain, target.path, meant.tag, meant.digest)]
        if self.search is None:
            return [meant]
        found = [parse(f"{registry}/{text}") for registry in self.search]
        if local:
            return found
        if not found:
            raise UsageError(
                f"{text}: no registry is named, and registries.conf searches none",
                f"write {DEFAULT_DOMAIN}/{text}, or set unqualified-search-registries in {user_file()}",
            )
        if len(found) > 1 and self.mode == "enforcing":
            raise UsageError(
                f"{text}: this may be an image of {len(found)} registries, and registries.conf wants it settled",
                "write one of: " + ", ".join(str(reference) for reference in found),
            )
        return found

    def registry_of(self, name: str) -> Registry | None:
        """The entry with the longest prefix that `name` ("quay.io/a/b:tag") begins with."""
        matching = [entry for entry in self.registries.values() if _matches(name, entry.prefix)]
        return max(matching, key=lambda entry: len(entry.prefix), default=None)

    def endpoints(self, reference: Reference) -> list[Endpoint]:
        """Mirrors first, then the registry itself. Raises RegistryError where it is blocked."""
        entry = self.registry_of(str(reference))
        if entry is None:
            return [_endpoint(reference.name, False, False)]
        if entry.blocked:
            raise RegistryError(
                f"{reference.familiar}: the registry {entry.prefix} is blocked",
                f"{entry.source} says so (blocked = true)",
            )
        kind = "digest-only" if reference.digest else "tag-only"
        mirrors = [mirror for mirror in entry.mirrors if mirror.use in ("all", kind)]
        return [
            *(
                _endpoint(_rewrite(reference, entry.prefix, mirror.location), mirror.insecure, True)
                for mirror in mirrors
            ),
            _endpoint(_rewrite(reference, entry.prefix, entry.location), entry.insecure, False),
        ]


def user_file() -> str:
    """The user's own registries.conf, which hints name."""
    return user_directory() + "/registries.conf"


def load(path: str | None = None) -> RegistriesConf:
    """Read the configuration files; `path` replaces the main one. Raises StorageError, naming the file."""
    conf = RegistriesConf()
    main = path or os.environ.get("CONTAINERS_REGISTRIES_CONF") or os.environ.get("REGISTRIES_CONFIG_PATH")
    if main:
        if not _merge_file(conf, main):
            raise StorageError(f"reading {main}: there is no such file", "see CONTAINERS_REGISTRIES_CONF")
    elif not _merge_file(conf, user_file()):
        _merge_file(conf, SYSTEM_DIRECTORY + "/registries.conf")
    for directory in (SYSTEM_DIRECTORY, user_directory()):
        for drop_in in drop_ins(directory + "/registries.conf.d"):
            _merge_file(conf, drop_in)
    cache = os.environ.get("XDG_CACHE_HOME") or home() + "/.cache"
    _merge_aliases(conf, read_toml(cache + "/containers/short-name-aliases.conf") or {}, cache)
    return conf


def _merge_file(conf: RegistriesConf, path: str) -> bool:
    found = read_toml(path)
    if found is None:
        return False
    conf.sources.append(path)
    if "registries" in found:
        found = _from_version_1(found, path)
    search = found.get("unqualified-search-registries")
    if search is not None:
        conf.search = _strings(search, path, "unqualified-search-registries")
    helpers = found.get("credential-helpers")
    if helpers is not None:
        conf.helpers = _strings(helpers, path, "credential-helpers")
    mode = found.get("short-name-mode")
    if mode is not None:
        conf.mode = _choice(mode, _MODES, path, "short-name-mode")
    for table in _tables(found.get("registry", []), path, "registry"):
        entry = _registry(table, path)
        conf.registries[entry.prefix] = entry
    _merge_aliases(conf, found, path)
    return True


def _merge_aliases(conf: RegistriesConf, found: dict[str, Any], path: str) -> None:
    aliases = found.get("aliases", {})
    if not isinstance(aliases, dict) or not all(isinstance(value, str) for value in aliases.values()):
        raise _wrong(path, "aliases", "a table of strings")
    conf.aliases.update(aliases)


def _registry(table: dict[str, Any], path: str) -> Registry:
    location = _text(table, "location", path)
    prefix = _text(table, "prefix", path) or location
    if not prefix:
        raise _wrong(path, "a [[registry]]", "complete: it needs a prefix or a location")
    if (
        prefix.startswith("*.")
        and not location
        and any(not _text(m, "location", path) for m in table.get("mirror", []))
    ):
        raise _wrong(path, f"the mirror of {prefix}", "complete: it needs a location")
    digest_only = _flag(table, "mirror-by-digest-only", path)
    return Registry(
        prefix=prefix,
        location=location,
        insecure=_flag(table, "insecure", path),
        blocked=_flag(table, "blocked", path),
        mirrors=tuple(
            _mirror(mirror, path, digest_only) for mirror in _tables(table.get("mirror", []), path, "mirror")
        ),
        source=path,
    )


def _mirror(table: dict[str, Any], path: str, digest_only: bool) -> Mirror:
    location = _text(table, "location", path)
    if not location:
        raise _wrong(path, "a [[registry.mirror]]", "complete: it needs a location")
    use = _choice(
        table.get("pull-from-mirror", "digest-only" if digest_only else "all"), _MIRROR_USES, path, "pull-from-mirror"
    )
    return Mirror(location, _flag(table, "insecure", path), use)


def _from_version_1(found: dict[str, Any], path: str) -> dict[str, Any]:
    """[registries.search], [registries.insecure], [registries.block], each with a list `registries`."""
    if any(key in found for key in ("registry", "unqualified-search-registries", "aliases")):
        raise StorageError(f"reading {path}: versions 1 and 2 of registries.conf are mixed in it", "keep version 2")
    old = found["registries"]

    def listed(key: str) -> list[str]:
        section = old.get(key, {}) if isinstance(old, dict) else {}
        return _strings(section.get("registries", []), path, f"registries.{key}")

    insecure, blocked = listed("insecure"), listed("block")
    return {
        "unqualified-search-registries": listed("search"),
        "registry": [
            {"location": name, "insecure": name in insecure, "blocked": name in blocked}
            for name in dict.fromkeys([*insecure, *blocked])
        ],
    }


def _matches(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        host, slash, rest = prefix[1:].partition("/")
        domain, _, path = name.partition("/")
        return domain.endswith(host) and (not slash or _matches(path, rest))
    return name.startswith(prefix) and (len(name) == len(prefix) or name[len(prefix)] in "/:@")


def _rewrite(reference: Reference, prefix: str, location: str) -> str:
    """The repository to ask for: `location` in the place of `prefix`."""
    name = reference.name
    if not location:
        return name
    if prefix.startswith("*."):
        # a wildcard stands for the whole host
        path = name.partition("/")[2]
        beyond = prefix.partition("/")[2]
        return location + (path[len(beyond) :] if beyond else "/" + path)
    return location + name[len(prefix) :]


def _endpoint(name: str, insecure: bool, mirror: bool) -> Endpoint:
    host, _, repository = name.partition("/")
    return Endpoint(host, repository, insecure, mirror)


def with_tls_verify(
    endpoints: Iterable[Endpoint], tls_verify: bool | None, certificates: str | None = None
) -> list[Endpoint]:
    """--tls-verify and --cert-dir override what is configured; None leaves it."""
    return [
        replace(
            endpoint,
            insecure=endpoint.insecure if tls_verify is None else not tls_verify,
            certificates=certificates or endpoint.certificates,
        )
        for endpoint in endpoints
    ]


def _text(table: dict[str, Any], key: str, path: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise _wrong(path, key, "a string")
    value = value.strip()
    if "://" in value:
        raise _wrong(path, f'{key} = "{value}"', "a host: leave the scheme away")
    return value.rstrip("/")


def _flag(table: dict[str, Any], key: str, path: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(path, key, "true or false")
    return value


def _choice(value: object, choices: tuple[str, ...], path: str, key: str) -> str:
    if value not in choices:
        raise _wrong(path, key, "one of " + ", ".join(choices))
    return str(value)


def _strings(value: object, path: str, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(path, key, "a list of strings")
    return value


def _tables(value: object, path: str, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _wrong(path, f"[[{key}]]", "a list of tables")
    return value


def _wrong(path: str, what: str, should_be: str) -> StorageError:
    return StorageError(f"reading {path}: {what} is not {should_be}", "see man 5 containers-registries.conf")
