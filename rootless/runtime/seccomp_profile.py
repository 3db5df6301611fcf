"""From a seccomp profile to the BPF program for one container, compiled once and remembered.

Profiles come as Docker and Podman write them in files (rules with `includes` and `excludes`) or as `linux.seccomp` of
an OCI configuration. Compiling takes tens of milliseconds, so the program is kept under everything it depends on.
"""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.kernel.capabilities import mask
from rootless.kernel.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_EPERM = 1
_CHECKSUM = 4  # bytes

# machine -> (name of the architecture in profiles, other ABIs that its kernels run: names in libseccomp)
_MACHINES = {
    "x86_64": ("amd64", ("x86", "x32")),
    "aarch64": ("arm64", ("arm",)),
    "s390x": ("s390x", ("s390",)),
    "mips64": ("mips64", ("mips", "mips64n32")),
    "ppc64le": ("ppc64le", ()),
    "riscv64": ("riscv64", ()),
    "armv7l": ("arm", ()),
    "i686": ("x86", ()),
}


def program(profile: dict[str, Any] | None, caps: list[str], cache_dir: str | None = None) -> bytes:
    """The BPF program of `profile` (None is the default one) for a container whose bounding set is `caps`.

    With `cache_dir` (made where missing) it is kept there, and taken from there the next time. Raises UsageError for a
    profile that makes no sense, RootlessError where libseccomp is missing.
    """
    system = os.uname()
    if cache_dir is None:
        return _compile(profile, caps, system.machine, system.release)
    place = f"{cache_dir}/{_name(profile)}-{system.machine}-{system.release.replace('/', '_')}-{mask(caps):x}.bpf"
    found = _load(place)
    if found is None:
        found = _compile(profile, caps, system.machine, system.release)
        _save(place, found)
    return found


def _name(profile: dict[str, Any] | None) -> str:
    if profile is None:
        # The default is as good as the file that holds it; importing that is what we are here to save.
        about = os.stat(os.path.join(os.path.dirname(__file__), "seccomp_default.py"))
        return f"default-{about.st_size:x}-{about.st_mtime_ns:x}"
    import hashlib

    from rootless import jsontext

    return hashlib.sha256(jsontext.dumps(profile).encode()).hexdigest()


def _load(place: str) -> bytes | None:
    """The program kept at `place`, unless it is not all there. A checksum follows it: a filter that was cut may be one
    that the kernel refuses, or one that lets more through."""
    from binascii import crc32

    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = os.read(fd, 1 << 18)
    finally:
        os.close(fd)
    found = content[:-_CHECKSUM]
    return found if found and content[-_CHECKSUM:] == crc32(found).to_bytes(_CHECKSUM, "little") else None


def _save(place: str, content: bytes) -> None:
    """Keep a program for the next start; a store that cannot be written to only means compiling again."""
    from binascii import crc32

    directory = os.path.dirname(place)
    draft = f"{directory}/new-{os.urandom(8).hex()}"
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, content + crc32(content).to_bytes(_CHECKSUM, "little"))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(draft, place)
        _sweep(directory, os.path.basename(place))
    except OSError:
        pass


def _sweep(directory: str, name: str) -> None:
    """Delete the programs of default profiles that an installation before this one had.

    Two installations that share a store make each other's again: it costs them a moment, and they notice nothing else.
    """
    profile = name.split("-")[:3]
    if profile[0] != "default":
        return
    for other in os.listdir(directory):
        if other.startswith("default-") and other.split("-")[:3] != profile:
            os.unlink(f"{directory}/{other}")


def _compile(profile: dict[str, Any] | None, caps: list[str], machine: str, release: str) -> bytes:
    from rootless.kernel.libseccomp import Filter

    if profile is None:
        from rootless.runtime.seccomp_default import default_profile

        profile = default_profile()
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
    architecture, others = _MACHINES.get(machine, (machine, ()))
    built = Filter(default)
    try:
        for name in _other_abis(profile, others):
            built.add_architecture(name)
        for rule in profile.get("syscalls") or []:
            if not _applies(rule, set(caps), architecture, release):
                continue
            action = _action(rule.get("action"), rule.get("errnoRet"))
            if action == default:
                continue
            for name in rule.get("names") or [rule["name"]]:
                for comparisons in _comparisons(rule.get("args") or []):
                    built.add_rule(action, name, comparisons)
        return built.export()
    finally:
        built.close()


def _other_abis(profile: dict[str, Any], others: tuple[str, ...]) -> list[str]:
    """An OCI object lists the ABIs it is for; a file that lists none, or has a map, means all of the machine."""
    listed = profile.get("architectures")
    if not listed:
        return list(others)
    wanted = {str(name).removeprefix("SCMP_ARCH_").lower() for name in listed}
    return [name for name in others if name in wanted]


def _applies(rule: dict[str, Any], caps: set[str], architecture: str, release: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if includes.get("caps") and not caps.issuperset(includes["caps"]):
        return False
    if includes.get("minKernel") and _version(release) < _version(includes["minKernel"]):
        return False
    if architecture in (excludes.get("arches") or []) or caps.intersection(excludes.get("caps") or []):
        return False
    return not (excludes.get("minKernel") and _version(release) >= _version(excludes["minKernel"]))


def _version(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    minor = ""
    for character in rest:
        if not character.isdigit():
            break
        minor += character
    return int(major or 0), int(minor or 0)


def _action(name: Any, number: Any) -> int:
    if name == "SCMP_ACT_NOTIFY":
        raise UsageError("seccomp profile: SCMP_ACT_NOTIFY needs a listener, which is not supported")
    if name not in _ACTIONS:
        raise UsageError(f"seccomp profile: there is no action {name!r}")
    value = _ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= (_EPERM if number is None else int(number)) & 0xFFFF
    return value


def _comparisons(arguments: list[dict[str, Any]]) -> list[list[tuple[int, int, int, int]]]:
    """The conditions of a rule as one list that must hold, or one for each where an argument is named twice: libseccomp
    compares an argument once, and every engine reads two conditions on one argument as alternatives."""
    from rootless.kernel.libseccomp import COMPARISONS

    converted = []
    for argument in arguments:
        if argument.get("op") not in COMPARISONS:
            raise UsageError(f"seccomp profile: there is no operator {argument.get('op')!r}")
        values = int(argument.get("value") or 0), int(argument.get("valueTwo") or 0)
        converted.append((int(argument["index"]), COMPARISONS[argument["op"]], *values))
    if len({number for number, *_ in converted}) < len(converted):
        return [[one] for one in converted]
    return [converted]
