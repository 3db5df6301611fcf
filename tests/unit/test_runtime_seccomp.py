"""The seccomp profile: every decision against Podman's own file, and the compiler on profiles of other kinds."""

from __future__ import annotations

import ctypes
import json
import os
from binascii import crc32
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rootless.errors import UsageError
from rootless.kernel.capabilities import CAPS, DEFAULT
from rootless.runtime.seccomp_default import default_profile
from rootless.runtime.seccomp_profile import program
from tests.support.bpf import ARCHITECTURES, run_filter

ALLOW = 0x7FFF0000
ERRNO = 0x50000
MACHINE = os.uname().machine
DOCKER_NAME = {"x86_64": "amd64", "aarch64": "arm64"}.get(MACHINE, MACHINE)
# Podman 5.4's; older ones differ in a few calls.
ORACLE = Path(os.environ.get("PEER_ROOT", "/var/tmp/peer-root"), "root/usr/share/containers/seccomp.json")
CAPABILITY_SETS = [
    (),
    DEFAULT,
    tuple(CAPS),
    *(tuple(sorted({*DEFAULT, name})) for name in ("CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_AUDIT_WRITE")),
    ("CAP_SYS_ADMIN", "CAP_PERFMON"),
    *(
        (name,)
        for name in ("CAP_SYS_PTRACE", "CAP_SYS_CHROOT", "CAP_DAC_READ_SEARCH", "CAP_SYS_TIME", "CAP_SYS_MODULE")
    ),
]
INTERESTING = (0, 1, 2, 8, 9, 16, 40, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF)


@cache
def libseccomp() -> Any:
    return ctypes.CDLL("libseccomp.so.2")


@cache
def number_of(name: str) -> int:
    return int(libseccomp().seccomp_syscall_resolve_name(name.encode()))


def oracle() -> dict[str, Any]:
    if not os.access(ORACLE, os.R_OK):
        pytest.skip("Podman 5.4's seccomp.json is not on this machine")
    found: dict[str, Any] = json.loads(ORACLE.read_text())
    return found


def decide(profile: dict[str, Any], caps: set[str], name: str, arguments: tuple[int, ...]) -> int:
    """What a profile says of one call, read rule by rule, without any compiler. The first rule that holds decides."""
    default = ERRNO | profile.get("defaultErrnoRet", 1)
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        holds = (
            name in rule["names"]
            and DOCKER_NAME in includes.get("arches", [DOCKER_NAME])
            and caps.issuperset(includes.get("caps", []))
            and not caps.intersection(excludes.get("caps", []))
        )
        for condition in rule.get("args") or []:
            equal = arguments[condition["index"]] == condition["value"]
            holds = holds and equal == {"SCMP_CMP_EQ": True, "SCMP_CMP_NE": False}[condition["op"]]
        if holds:
            return ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else ERRNO | int(rule["errnoRet"])
    return int(default)


@pytest.mark.peer
@pytest.mark.skipif(MACHINE not in ARCHITECTURES, reason="the interpreter knows x86_64 and aarch64")
@pytest.mark.parametrize("caps", CAPABILITY_SETS, ids=lambda caps: "+".join(caps)[-40:] or "none")
def test_every_decision_is_podmans_or_dockers_stricter_one(caps: tuple[str, ...]) -> None:
    podmans = oracle()
    compiled = program(None, list(caps))
    names = {name for rule in podmans["syscalls"] for name in rule["names"]}
    names |= {name for rule in default_profile()["syscalls"] for name in rule["names"]} | {"io_uring_setup", "add_key"}
    architecture = ARCHITECTURES[MACHINE]
    for name in sorted(names):
        number = number_of(name)
        if number < 0:  # not a call of this machine
            continue
        for arguments in _samples(name):
            expected = decide(podmans, set(caps), name, arguments)
            if (stricter := dockers(set(caps), name, arguments)) is not None:
                expected = stricter
            assert run_filter(compiled, architecture, number, arguments) == expected, (name, arguments)


NAMESPACES = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]
ADMINISTRATORS = {
    *("fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree", "pivot_root"),
    *("setns", "umount", "umount2", "unshare"),
}


def dockers(caps: set[str], name: str, arguments: tuple[int, ...]) -> int | None:
    """What Moby's default.json says where it is stricter than Podman's file; None elsewhere."""
    if name in ("add_key", "keyctl", "request_key") or (name == "socket" and arguments[0] == 40):
        return ERRNO | 1
    if "CAP_SYS_ADMIN" in caps:
        return None
    if name == "clone3":
        return ERRNO | 38
    if name in ADMINISTRATORS or (name == "clone" and arguments[0] & sum(NAMESPACES)):
        return ERRNO | 1
    return None


def _samples(name: str) -> list[tuple[int, ...]]:
    if name == "clone":
        thread = 0x3D0F00
        return [(flags, 0, 0) for flags in (0, 17, thread, *NAMESPACES, NAMESPACES[0] | 17, sum(NAMESPACES) | thread)]
    if name == "personality":
        return [(value, 0, 0) for value in INTERESTING]
    if name == "socket":
        return [(family, 1, protocol) for family in INTERESTING for protocol in INTERESTING]
    return [(0, 0, 0)]


def test_a_call_that_nobody_knows_seems_not_to_exist() -> None:
    assert run_filter(program(None, list(DEFAULT)), ARCHITECTURES[MACHINE], 4000) == ERRNO | 38


@pytest.mark.skipif(MACHINE != "x86_64", reason="needs the 32-bit ABI of x86")
def test_32_bit_programs_are_held_to_the_same_rules() -> None:
    compiled = program(None, list(DEFAULT))
    assert run_filter(compiled, ARCHITECTURES["x86"], 20) == ALLOW  # getpid
    assert run_filter(compiled, ARCHITECTURES["x86"], 286) == ERRNO | 1  # add_key


def test_another_architecture_is_killed() -> None:
    assert run_filter(program(None, list(DEFAULT)), 0x12345, 1) in (0, 0x80000000)


def sealed(code: bytes) -> bytes:
    """A program as it is kept."""
    return code + crc32(code).to_bytes(4, "little")


def test_a_program_is_kept_and_found_again(tmp_path: Path) -> None:
    first = program(None, list(DEFAULT), str(tmp_path / "cache"))
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.read_bytes() == sealed(first)
    kept.write_bytes(sealed(first[:8]))
    assert program(None, list(DEFAULT), str(tmp_path / "cache")) == first[:8]
    assert program(None, ["CAP_SYS_ADMIN"], str(tmp_path / "cache")) != first[:8]


def test_programs_of_installations_before_this_one_are_swept(tmp_path: Path) -> None:
    for name in (
        "default-1a-2b-x86_64-6.1.0-ff.bpf",
        "default-1a-2b-x86_64-6.1.0-0.bpf",
        "0123abcd-x86_64-6.1.0-ff.bpf",
    ):
        (tmp_path / name).write_bytes(b"")
    program(None, [], str(tmp_path))
    program(None, list(DEFAULT), str(tmp_path))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept[0] == "0123abcd-x86_64-6.1.0-ff.bpf", "a profile of somebody's own is no default one"
    assert len(kept) == 3
    assert not any("-1a-" in name for name in kept)


@pytest.mark.parametrize("length", [0, 3, 4, 7, 8, 800, -8, -4, -1])
def test_a_kept_program_that_was_cut_is_made_anew(tmp_path: Path, length: int) -> None:
    first = program(None, list(DEFAULT), str(tmp_path))
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:length])
    assert program(None, list(DEFAULT), str(tmp_path)) == first
    assert kept.read_bytes() == sealed(first)


def test_a_kept_program_with_a_page_of_zeros_is_made_anew(tmp_path: Path) -> None:
    """As a power cut may leave it; the kernel would refuse it, and every start would fail."""
    first = program(None, list(DEFAULT), str(tmp_path))
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(bytes(len(first) + 4))
    assert program(None, list(DEFAULT), str(tmp_path)) == first


def test_a_place_that_cannot_be_written_to_costs_time_only() -> None:
    assert program(None, list(DEFAULT), "/proc/nowhere") == program(None, list(DEFAULT))


def test_a_profile_of_ones_own_is_obeyed() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
            {"name": "rmdir", "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["kill"], "action": "SCMP_ACT_LOG", "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_GE"}]},
            {
                "names": ["umask"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 7, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}],
            },
            {"names": ["no_such_call"], "action": "SCMP_ACT_TRAP"},
        ],
    }
    compiled = program(profile, [])
    if MACHINE not in ARCHITECTURES or number_of("mkdir") < 0:
        pytest.skip("needs x86_64's calls")

    def said(name: str, *arguments: int) -> int:
        return run_filter(compiled, ARCHITECTURES[MACHINE], number_of(name), arguments)

    assert said("mkdir") == ERRNO | 13
    assert said("rmdir") == 0x80000000
    assert [said("kill", 1, signal) for signal in (8, 9, 15)] == [ALLOW, 0x7FFC0000, 0x7FFC0000]
    assert [said("umask", value) for value in (5, 13, 7)] == [ERRNO | 1, ERRNO | 1, ALLOW]


def test_two_conditions_on_one_argument_are_alternatives() -> None:
    conditions = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (3, 4)]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "args": conditions}],
    }
    compiled = program(profile, [])
    if MACHINE not in ARCHITECTURES:
        pytest.skip("the interpreter knows x86_64 and aarch64")
    said = [run_filter(compiled, ARCHITECTURES[MACHINE], number_of("umask"), (value,)) for value in (2, 3, 4)]
    assert said == [ALLOW, ERRNO | 1, ERRNO | 1]


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_NONSENSE"},
        {},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "LIKE"}]}
            ],
        },
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(profile: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="seccomp profile"):
        program(profile, [])


@pytest.mark.parametrize(
    ("condition", "kernel_is_old"),
    [({"includes": {"minKernel": "99.0"}}, True), ({"includes": {"minKernel": "3.1"}}, False)],
)
def test_rules_may_depend_on_the_kernel(condition: dict[str, Any], kernel_is_old: bool) -> None:
    rule = {"names": ["umask"], "action": "SCMP_ACT_ERRNO", **condition}
    compiled = program({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, [])
    if MACHINE not in ARCHITECTURES:
        pytest.skip("the interpreter knows x86_64 and aarch64")
    assert (run_filter(compiled, ARCHITECTURES[MACHINE], number_of("umask")) == ALLOW) is kernel_is_old
