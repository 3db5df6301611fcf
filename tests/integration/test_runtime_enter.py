"""rootless.runtime.enter: further processes in a running container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rootless.kernel.capabilities import DEFAULT
from rootless.kernel.namespaces import KINDS
from tests.support.runtime import PRIVATE, config, launch, make_rootfs


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return make_rootfs(tmp_path / "rootfs")


def entering(rootfs: Path, *args: str, user: str | None = None, flags: int = PRIVATE, **process: Any) -> dict[str, Any]:
    """What a command came to in a container that sleeps."""
    one = {"process": config(rootfs, *args, **process)["process"], "user": user}
    return launch(config(rootfs, "sleep", "60"), flags=flags, enters=[one]).entered[0]


def test_the_process_is_in_every_namespace_of_the_container(rootfs: Path) -> None:
    kinds = " ".join(KINDS)
    script = (
        f"for n in {kinds}; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n; done; hostname"
    )
    done = entering(rootfs, "sh", "-c", script, flags=PRIVATE | KINDS["time"])
    assert done["out"] == "box\n"


def test_it_has_a_number_of_the_containers_and_the_caller_is_its_parent(rootfs: Path) -> None:
    done = entering(rootfs, "sh", "-c", "echo $PPID; cat /proc/1/comm")
    assert done["out"].split() == ["0", "sleep"]


def test_its_exit_code_comes_back(rootfs: Path) -> None:
    assert entering(rootfs, "sh", "-c", "exit 9")["code"] == 9


def test_its_capabilities_are_those_asked_for(rootfs: Path) -> None:
    few = {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
    done = entering(rootfs, "grep", "Cap", "/proc/self/status", capabilities=few)
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in done["out"].splitlines()}
    assert masks == {"CapInh": 0, "CapPrm": 1 << 5, "CapEff": 1 << 5, "CapBnd": 1 << 5, "CapAmb": 0}


def test_another_user_has_no_capabilities_and_its_own_groups(rootfs: Path) -> None:
    done = entering(rootfs, "sh", "-c", "id; grep CapEff /proc/self/status; echo $HOME", user="alice")
    assert done["out"].splitlines() == [
        "uid=1000(alice) gid=1000(alice) groups=10(wheel),1000(alice)",
        "CapEff:\t0000000000000000",
        "/home/alice",
    ]


def test_a_terminal_comes_from_the_containers_devpts(rootfs: Path) -> None:
    process: dict[str, Any] = {"terminal": True, "consoleSize": {"height": 10, "width": 20}}
    done = entering(rootfs, "sh", "-c", "tty; stty size; stat -c %u /dev/pts/0", user="alice", **process)
    assert done["out"].split("\r\n")[:3] == ["/dev/pts/0", "10 20", "1000"]


def test_only_standard_descriptors_are_open(rootfs: Path) -> None:
    # The fourth is the directory that ls reads.
    assert entering(rootfs, "ls", "/proc/self/fd")["out"].split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("args", "code", "kind"),
    [
        (["nosuch"], 127, "CommandNotFoundError"),
        (["/bin/nosuch"], 127, "CommandNotFoundError"),
        (["/etc"], 126, "CannotInvokeError"),
        (["/etc/passwd"], 126, "CannotInvokeError"),
        ([], 125, "UsageError"),
    ],
)
def test_what_cannot_run_has_the_right_exit_code(rootfs: Path, args: list[str], code: int, kind: str) -> None:
    done = entering(rootfs, *args)
    assert (done["code"], done["kind"]) == (code, kind)


def test_an_unknown_user_is_named(rootfs: Path) -> None:
    done = entering(rootfs, "true", user="nobody-here")
    assert done["code"] == 125
    assert "nobody-here" in done["error"]


def test_a_missing_working_directory_is_an_error(rootfs: Path) -> None:
    done = entering(rootfs, "true", cwd="/nowhere")
    assert done["code"] == 125
    assert "/nowhere" in done["error"]


def test_many_enter_one_after_the_other(rootfs: Path) -> None:
    one = {"process": config(rootfs, "true")["process"]}
    outcomes = launch(config(rootfs, "sleep", "60"), enters=[one] * 20).entered
    assert [outcome["code"] for outcome in outcomes] == [0] * 20


def test_entering_works_where_one_id_is_mapped(rootfs: Path) -> None:
    one = {"process": config(rootfs, "id", "-u")["process"]}
    done = launch(config(rootfs, "sleep", "60"), enters=[one], wrapper=("setpriv", "--no-new-privs"))
    assert done.entered[0]["out"] == "0\n"


def test_a_container_that_has_ended_cannot_be_entered(rootfs: Path) -> None:
    end = {"process": config(rootfs, "sh", "-c", "kill -TERM 1; sleep 1")["process"]}
    one = {"process": config(rootfs, "true")["process"]}
    done = launch(config(rootfs, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"), enters=[end, one])
    assert done.entered[1]["kind"] == "ConflictError"


def test_the_default_set_is_what_a_plain_process_gets(rootfs: Path) -> None:
    done = entering(rootfs, "grep", "CapEff", "/proc/self/status")
    assert bin(int(done["out"].split()[1], 16)).count("1") == len(DEFAULT)
