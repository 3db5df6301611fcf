"""Id maps on hosts that are set up in every wrong way (HOSTILE 33), for real: see tests/support/hosts.py."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hosts import run_on_host

MAP_AND_ENTER = """
import json
from rootless.kernel.idmaps import default_user_map
from rootless.kernel.userns import UserNamespace
user_map = default_user_map()
def inside():
    return [open("/proc/self/uid_map").read().split(), open("/proc/self/gid_map").read().split()]
print(json.dumps([user_map.uids, user_map.gids, user_map.single, user_map.reason,
                  UserNamespace.create(user_map).run(inside)]))
"""

UID, GID = os.getuid(), os.getgid()
NAME = pwd.getpwuid(UID).pw_name


class Result:
    def __init__(self, output: str) -> None:
        self.uids, self.gids, self.single, self.reason, (self.uid_map, self.gid_map) = json.loads(output)


def measure(place: Path, subuid: str = "", subgid: str | None = None, **more: object) -> Result:
    code, output, errors = run_on_host(
        [sys.executable, "-c", MAP_AND_ENTER],
        place,
        files={"/etc/subuid": subuid, "/etc/subgid": subuid if subgid is None else subgid},
        **more,  # type: ignore[arg-type]
    )
    assert code == 0, errors
    return Result(output)


def assert_single(result: Result) -> None:
    assert result.single
    assert result.uids == [[0, UID, 1]]
    assert result.uid_map == ["0", str(UID), "1"]
    assert result.gid_map == ["0", str(GID), "1"]


def test_all_ranges_of_the_user_are_mapped_and_malformed_or_foreign_ones_are_not(tmp_path: Path) -> None:
    text = f"junk\n{NAME}:x:5\nother:2000:100\n{NAME}:3000:100\n{UID}:5000:50\n"
    result = measure(tmp_path, text)
    assert not result.single
    assert result.uids == [[0, UID, 1], [1, 3000, 100], [101, 5000, 50]]
    assert result.uid_map == f"0 {UID} 1 1 3000 100 101 5000 50".split()


def test_overlapping_ranges_and_one_that_holds_our_own_id_are_mapped_once(tmp_path: Path) -> None:
    text = f"{NAME}:3000:100\n{NAME}:3050:100\n{NAME}:{UID - 5}:10\n"
    result = measure(tmp_path, text)
    assert result.uids[:3] == [[0, UID, 1], [1, 3000, 100], [101, 3100, 50]]
    assert result.uids[3:] == [[151, UID - 5, 5], [156, UID + 1, 4]]
    assert result.uid_map[-3:] == ["156", str(UID + 1), "4"]


def test_ids_that_this_machine_does_not_have_are_left_out(tmp_path: Path) -> None:
    result = measure(tmp_path, f"{NAME}:3000:10\n{NAME}:4000000000:65536\n")
    assert result.uids == [[0, UID, 1], [1, 3000, 10]]


def test_a_range_that_is_too_small_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    result = measure(tmp_path, f"{NAME}:3000:1\n")
    assert not result.single
    assert result.uid_map == f"0 {UID} 1 1 3000 1".split()


def test_no_entry_for_us_means_one_id_and_the_file_is_named(tmp_path: Path) -> None:
    result = measure(tmp_path, "somebodyelse:3000:100\n")
    assert_single(result)
    assert "/etc/subuid" in result.reason
    assert NAME in result.reason


def test_groups_missing_alone_means_one_id_and_names_the_other_file(tmp_path: Path) -> None:
    result = measure(tmp_path, f"{NAME}:3000:100\n", "")
    assert_single(result)
    assert "/etc/subgid" in result.reason


def test_a_helper_that_is_not_set_user_id_means_one_id(tmp_path: Path) -> None:
    result = measure(tmp_path, f"{NAME}:3000:100\n", tools=lambda place: (place / "newgidmap").chmod(0o755))
    assert_single(result)
    assert "newgidmap is neither set-user-ID root nor has it file capabilities" in result.reason


def test_helpers_with_file_capabilities_serve_as_well(tmp_path: Path) -> None:
    def tools(place: Path) -> None:
        for name, bit in (("newuidmap", 7), ("newgidmap", 6)):
            (place / name).chmod(0o755)
            # struct vfs_cap_data, revision 2, effective: linux/capability.h
            value = (0x02000001).to_bytes(4, "little") + (1 << bit).to_bytes(4, "little") + bytes(12)
            os.setxattr(place / name, "security.capability", value)

    result = measure(tmp_path, f"{NAME}:3000:100\n", tools=tools)
    assert not result.single
    assert result.uid_map == f"0 {UID} 1 1 3000 100".split()


def test_a_helper_that_refuses_is_an_error_with_its_words(tmp_path: Path) -> None:
    def tools(place: Path) -> None:
        (place / "newuidmap").write_text("#!/bin/sh\necho newuidmap: I do not feel like it >&2\nexit 3\n")
        (place / "newuidmap").chmod(0o4755)

    code, _, errors = run_on_host(
        [sys.executable, "-c", MAP_AND_ENTER],
        tmp_path,
        files={"/etc/subuid": f"{NAME}:3000:100\n", "/etc/subgid": f"{NAME}:3000:100\n"},
        tools=tools,
    )
    assert code == 1
    assert "KernelError: mapping the ids of a user namespace: newuidmap: I do not feel like it" in errors


def test_helpers_that_are_not_in_the_path_mean_one_id(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAP_AND_ENTER],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    result = Result(done.stdout)
    assert_single(result)
    assert result.reason == "newuidmap is not installed"


def test_no_new_privs_means_one_id() -> None:
    done = subprocess.run(
        ["setpriv", "--no-new-privs", sys.executable, "-c", MAP_AND_ENTER], capture_output=True, text=True, check=True
    )
    result = Result(done.stdout)
    assert_single(result)
    assert "no_new_privs" in result.reason


def test_another_source_of_subordinate_ids_is_asked_through_getsubids(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "getsubids"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho '0: {NAME} 7000 70'\n")
    tool.chmod(0o755)
    code, output, errors = run_on_host(
        [
            sys.executable,
            "-c",
            "from rootless.kernel.idmaps import default_user_map; print(default_user_map().uids)",
        ],
        tmp_path,
        files={"/etc/nsswitch.conf": "passwd: files\nsubid: sss\n", "/etc/subuid": "", "/etc/subgid": ""},
        environment={"PATH": f"{tool.parent}:{os.environ['PATH']}"},
    )
    assert code == 0, errors
    assert output.strip() == f"[(0, {UID}, 1), (1, 7000, 70)]"


def test_user_namespaces_that_are_used_up_are_an_error_that_sends_to_doctor(tmp_path: Path) -> None:
    def prepare() -> None:
        with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:
            file.write("0")

    code = (
        "from rootless.kernel.idmaps import default_user_map\nfrom rootless.kernel.userns import UserNamespace\n"
        "try: UserNamespace.create(default_user_map())\n"
        "except Exception as error: print(error, '|', error.hint)"
    )
    status, output, errors = run_on_host([sys.executable, "-c", code], tmp_path, prepare=prepare)
    assert status == 0, errors
    assert output.startswith(
        "unshare(user): No space left on device (ENOSPC) | user namespaces are used up or switched off"
    )


@pytest.mark.parametrize("whole", [False, True])
def test_root_maps_ids_itself_and_never_real_root(tmp_path: Path, whole: bool) -> None:
    """Root of a container: with a range of its own that range, else all ids around it, which are not real root's."""

    def inside(place: str) -> list[list[int]]:
        from rootless.kernel.idmaps import default_user_map
        from rootless.kernel.mounts import MS_BIND, mount
        from rootless.kernel.userns import UserNamespace

        file = Path(place) / "subid"
        file.write_text("" if whole else "root:2000:300\n")
        for name in ("/etc/subuid", "/etc/subgid"):
            mount(str(file), name, None, MS_BIND)
        user_map = default_user_map()
        rows = UserNamespace.create(user_map).run(Path.read_text, Path("/proc/self/uid_map")).split()
        assert rows == [str(number) for row in user_map.uids for number in row]
        return [list(row) for row in user_map.uids]

    from rootless.kernel.idmaps import default_user_map
    from rootless.kernel.userns import UserNamespace

    outer = default_user_map()
    namespace = UserNamespace.create(outer)
    tmp_path.chmod(0o755)
    rows = namespace.run(inside, str(tmp_path), mount_ns=True)
    namespace.close()
    assert rows == ([[inner, inner, count] for inner, _, count in outer.uids] if whole else [[0, 2000, 300]])
