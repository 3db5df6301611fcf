"""Many commands on one store at the same moment: every one succeeds or is told why, and the store stays in order."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.images import NAME
from tests.support.leaks import assert_nothing_left
from tests.support.pulling import OPEN, registry, small
from tests.support.registry import Registry

__all__ = ["registry"]

NONE = ("--network", "none")


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=90)
    return process.returncode, out.decode(), error.decode()


@pytest.mark.parametrize(("count", "network"), [(100, "none"), (32, "slirp4netns")])
def test_many_runs_all_succeed(rl: Rootless, image: str, count: int, network: str) -> None:
    script = "echo $1; hostname; touch /mine; ls / | grep -c mine"
    processes = [
        rl.popen("run", "--rm", "--network", network, "--hostname", f"h{n}", image, "sh", "-c", script, "sh", str(n))
        for n in range(count)
    ]
    for number, process in enumerate(processes):
        assert finish(process) == (0, f"{number}\nh{number}\n1\n", "")
    assert rl.out("ps", "-aq") == ""
    assert_nothing_left(rl.place, rl.root, rl.runroot)


def test_thirty_two_exit_codes_are_kept_apart(rl: Rootless, image: str) -> None:
    processes = [rl.popen("run", "--name", f"c{n}", *NONE, image, "sh", "-c", f"exit {n}") for n in range(32)]
    assert [finish(process)[0] for process in processes] == list(range(32))
    recorded = json.loads(rl.out("inspect", *(f"c{n}" for n in range(32))))
    assert [found["State"]["ExitCode"] for found in recorded] == list(range(32))


@pytest.mark.parametrize(("count", "options"), [(20, ("-d",)), (20, ("-d", "--rm")), (100, ("--rm",))], ids=str)
def test_of_many_runs_with_one_name_exactly_one_wins(
    rl: Rootless, image: str, count: int, options: tuple[str, ...]
) -> None:
    processes = [
        rl.popen("run", *options, "--name", "unique", *NONE, image, "sh", "-c", "echo won; sleep 1000")
        for _ in range(count)
    ]
    wait_until(lambda: sum(process.poll() is not None for process in processes) >= count - 1, 90)
    wait_until(lambda: rl("logs", "unique", check=False).stdout == "won\n")
    assert len(rl.out("ps", "-aq").split()) == 1
    rl("kill", "unique")
    codes = []
    for process in processes:
        code, _, error = finish(process)
        codes.append(code)
        assert ('"unique" is already in use' in error) == (code == 125), error
    assert sorted(codes) == sorted([125] * (count - 1) + [0 if "-d" in options else 137])
    if "--rm" in options:
        wait_until(lambda: rl.out("ps", "-aq") == "")
    else:
        rl("rm", "unique")


def test_ps_inspect_and_images_tell_the_truth_while_containers_come_and_go(rl: Rootless, image: str) -> None:
    done = threading.Event()
    wrong: list[str] = []
    seen: set[str] = set()

    def watch(*words: str) -> None:
        while not done.is_set():
            looked = rl(*words, check=False)
            if looked.returncode or looked.stderr:
                wrong.append(f"{words}: {looked.returncode} {looked.stderr}")
            if words[0] == "ps":
                seen.update(row["State"] for row in json.loads(looked.stdout or "[]"))

    lines = (("ps", "-a", "--format", "json"), ("images", "-q"), ("inspect", "there"))
    rl("create", "--name", "there", *NONE, image)
    watchers = [threading.Thread(target=watch, args=words) for words in lines]
    for watcher in watchers:
        watcher.start()
    processes = [rl.popen("run", "--rm", *NONE, image, "sh", "-c", f"exit {n % 3}") for n in range(24)]
    codes = [finish(process)[0] for process in processes]
    done.set()
    for watcher in watchers:
        watcher.join()
    assert codes == [n % 3 for n in range(24)]
    assert wrong == []
    assert seen <= {"created", "initialized", "running", "exited", "stopping", "removing"}
    assert "created" in seen


def test_starts_and_restarts_of_one_container_wait_for_each_other(rl: Rootless, image: str) -> None:
    for _ in range(3):
        rl("create", "--name", "c", *NONE, image, "sleep", "60")
        verbs = [("start", "c")] * 4 + [("restart", "-t", "0", "c")] * 3
        for process in [rl.popen(*words) for words in verbs]:
            code, _, error = finish(process)
            assert (code, error) == (0, "")
        assert rl.status("c") == "running"
        rl("rm", "-f", "-t", "0", "c")


def test_who_attaches_at_the_end_is_told_the_exit_code_or_that_it_is_over(rl: Rootless, image: str) -> None:
    for round in range(12):
        rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", f"sleep 0.1{round}; exit 7")
        clients = [rl.popen(*words) for words in [("attach", "c")] * 4 + [("wait", "c")] * 2]
        for client in clients[:4]:
            code, _, error = finish(client)
            refused = "it is not running" in error or "has just ended" in error
            assert code == 7 or (code == 125 and refused), error
        assert [finish(client)[:2] for client in clients[4:]] == [(0, "7\n")] * 2
        rl("rm", "c")


def test_commands_in_a_container_that_ends_are_killed_or_refused(rl: Rootless, image: str) -> None:
    for round in range(12):
        rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", f"sleep 0.1{round}")
        for process in [rl.popen("exec", "c", "sleep", "5") for _ in range(6)]:
            code, _, error = finish(process)
            refused = "not running" in error or "has just ended" in error
            assert code == 137 or (code == 125 and refused), (code, error)
        rl("wait", "c")
        rl("rm", "c")


def test_everyone_may_remove_everything_at_once(rl: Rootless, image: str) -> None:
    names = [f"c{number}" for number in range(8)]
    for process in [rl.popen("run", "-d", "--name", name, *NONE, image, "sleep", "60") for name in names]:
        assert finish(process)[0] == 0
    removers = [rl.popen("rm", "-f", "-t", "0", *(names if number % 2 else names[::-1])) for number in range(6)]
    lookers = [rl.popen("ps", "-a") for _ in range(6)]
    for process in removers + lookers:
        code, _, error = finish(process)
        assert (code, error) == (0, ""), "what another has removed is removed"
    assert rl.out("ps", "-aq") == ""
    assert_nothing_left(rl.place, rl.root, rl.runroot)


def test_an_image_is_removed_by_force_while_containers_of_it_come_and_go(fresh: Rootless, busybox: Path) -> None:
    for _ in range(3):
        fresh("load", "-q", "-i", str(busybox))
        runs = [fresh.popen("run", "--rm", "--pull", "never", *NONE, NAME, "true") for _ in range(8)]
        removers = [fresh.popen("rmi", "-f", "-i", NAME) for _ in range(2)]
        for remover in removers:
            code, _, error = finish(remover)
            assert code == 0 or (code == 2 and "in use by" in error), error
        for run in runs:
            code, _, error = finish(run)
            assert code in (0, 137) or "no such image" in error or "removed" in error, error
        fresh("rmi", "-f", "-i", NAME)
    assert fresh.out("ps", "-aq") == fresh.out("images", "-aq") == ""


def test_removed_by_all_and_by_name_while_it_removes_itself(rl: Rootless, image: str) -> None:
    for _ in range(4):
        rl("run", "-d", "--rm", "--name", "c", *NONE, image, "sleep", "0.05")
        processes = [
            rl.popen(*words) for words in (("rm", "-f", "-t", "0", "c"), ("rm", "-f", "-a", "-t", "0"), ("ps", "-a"))
        ]
        assert [finish(process)[0] for process in processes] == [0, 0, 0]
        wait_until(lambda: rl.out("ps", "-aq") == "")
    assert_nothing_left(rl.place, rl.root, rl.runroot)


def test_everything_that_removes_beside_everything_that_makes(fresh: Rootless, busybox: Path) -> None:
    """`run` beside `rm -a`, all prunes and another load: who is refused is told why, and the store is whole."""
    fresh("load", "-q", "-i", str(busybox))
    fresh("run", "-d", "--name", "stays", *NONE, NAME, "sleep", "1000")
    makers = [fresh.popen("run", *NONE, NAME, "true") for _ in range(12)]
    makers += [fresh.popen("run", "--rm", "-v", f"v{n}:/v", *NONE, NAME, "touch", "/v/x") for n in range(4)]
    removers = [
        fresh.popen(*words)
        for words in (
            ("rm", "-a"),
            ("container", "prune", "-f"),
            ("system", "prune", "-f"),
            ("image", "prune", "-a", "-f"),
            ("volume", "prune", "-f"),
            ("load", "-q", "-i", str(busybox)),
        )
    ]
    for process in makers:
        code, _, error = finish(process)
        assert code == 0 or (code in (125, 137) and "Error: " in error and "internal" not in error), (code, error)
    for words, process in zip(("rm", "container", "system", "image", "volume", "load"), removers, strict=True):
        code, _, error = finish(process)
        assert "internal" not in error
        assert code == 0 or (words == "rm" and code == 2 and "running" in error), (words, error)
    assert fresh.status("stays") == "running"
    fresh("rm", "-f", "-a", "-t", "0")
    assert fresh("system", "check").returncode == 0
    assert fresh.out("run", "--rm", *NONE, NAME, "echo", "whole") == "whole"
    assert_nothing_left(fresh.place, fresh.root, fresh.runroot)


def test_many_pulls_of_one_image_all_succeed(fresh: Rootless, registry: Registry) -> None:
    packed = small(7)
    registry.push("many/app", packed)
    pulls = [fresh.popen("pull", "-q", OPEN, f"{registry.host}/many/app") for _ in range(12)]
    assert [finish(process) for process in pulls] == [(0, packed.id + "\n", "")] * 12
    assert len(list((fresh.root / "layers").iterdir())) == len(set(packed.diff_ids))
    assert fresh("system", "check").returncode == 0
    assert_nothing_left(fresh.place, fresh.root, fresh.runroot)
