"""init, rename, clone, update, and selecting containers."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until

NONE = ("--network", "none")


def created(rl: Rootless, image: str, *command: str, name: str = "c", options: tuple[str, ...] = ()) -> str:
    return rl.out("create", "--name", name, *NONE, *options, image, *command)


# init


def test_a_prepared_container_waits_for_its_start(rl: Rootless, image: str) -> None:
    created(rl, image, "sh", "-c", "echo ran; exit 4")
    assert rl.out("init", "c") == "c"
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["Running"]) == ("initialized", False)
    assert Path(f"/proc/{state['Pid']}").exists()
    assert rl.out("logs", "c") == ""
    assert rl.out("ps", "-q") == "", "it does not run yet"
    assert rl.out("ps", "-a", "--format", "{{.Names}} {{.Status}}") == "c Initialized"
    assert rl.out("start", "c") == "c"
    assert rl.out("wait", "c") == "4"
    assert rl.out("logs", "c") == "ran"
    assert rl.out("init", "c") == "c", "one that has ended can be prepared as well"
    assert rl.status("c") == "initialized"


def test_who_starts_it_attached_sees_everything(rl: Rootless, image: str) -> None:
    created(rl, image, "sh", "-c", "cat; seq 20000; exit 3", options=("-i",))
    rl("init", "c")
    done = rl("start", "-a", "-i", "c", input="given\n", check=False)
    assert done.returncode == 3
    assert done.stdout == "given\n" + "".join(f"{n}\n" for n in range(1, 20001))
    assert not done.stderr


def test_a_prepared_container_on_a_terminal(rl: Rootless, image: str) -> None:
    created(rl, image, "sh", "-c", "tty; exit 5", options=("-t",))
    rl("init", "c")
    done = rl("start", "-a", "c", check=False)
    assert (done.returncode, done.stdout) == (5, "/dev/pts/0\n")


def test_waiting_for_one_that_is_prepared(rl: Rootless, image: str) -> None:
    created(rl, image, "sh", "-c", "echo noise; exit 6")
    rl("init", "c")
    waiting = rl.popen("wait", "c")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)
    rl("start", "c")
    assert waiting.communicate(timeout=20)[0] == b"6\n"


def test_what_a_prepared_container_refuses(rl: Rootless, image: str) -> None:
    created(rl, image, "true")
    rl("init", "c")
    for words in (("init", "c"), ("exec", "c", "true"), ("attach", "c"), ("kill", "c"), ("pause", "c")):
        done = rl(*words, check=False)
        assert (done.returncode, done.stdout) == (125, ""), words
        assert rl.status("c") == "initialized"
    assert rl.out("init", "--all") == ""


@pytest.mark.parametrize("ran", [False, True])
def test_stopping_it_leaves_it_as_it_was(rl: Rootless, image: str, ran: bool) -> None:
    created(rl, image, "sh", "-c", "exit 7")
    if ran:
        rl("start", "-a", "c", check=False)
    before = rl.inspect("c")["State"]
    rl("init", "c")
    done = rl("stop", "c")
    assert (done.stdout, done.stderr) == ("c\n", "")
    after = rl.inspect("c")["State"]
    for key in ("Status", "ExitCode", "StartedAt", "FinishedAt", "Pid"):
        assert after[key] == before[key], key


def test_removing_it_needs_no_force(rl: Rootless, image: str) -> None:
    created(rl, image, "true")
    rl("init", "c")
    assert rl.out("rm", "c") == "c"
    assert rl.out("ps", "-aq") == ""


def test_a_program_that_is_missing_is_told_to_whoever_starts_it(rl: Rootless, image: str) -> None:
    created(rl, image, "/no/such")
    done = rl("init", "c", check=False)
    if done.returncode == 0:
        done = rl("start", "c", check=False)
    assert done.returncode == 127
    assert "/no/such" in done.stderr
    assert rl.status("c") == "created"


def test_a_holder_that_is_killed_is_noticed(rl: Rootless, image: str) -> None:
    created(rl, image, "true")
    rl("init", "c")
    state = rl.inspect("c")["State"]
    os.kill(state["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{state['Pid']}").exists(), what="the end of pid 1")
    assert rl.status("c") == "exited"
    assert rl("start", "-a", "c").returncode == 0


@pytest.mark.parametrize("step", ["written", "initialized", "waiting", "before-execute", "executed"])
def test_init_or_the_start_after_it_killed_at_a_step(rl: Rootless, image: str, step: str) -> None:
    created(rl, image, "sleep", "60")
    rl("init", "c", env={"ROOTLESS_TEST_DIE_AT": step}, check=False)
    rl("start", "c", check=False)  # the holder dies, where it has not yet
    assert rl.status("c") in ("created", "exited", "running")
    rl("start", "c")
    assert rl.status("c") == "running"


def test_ten_that_start_it_at_once(rl: Rootless, image: str) -> None:
    created(rl, image, "sh", "-c", "echo once; sleep 60")
    rl("init", "c")
    for process in [rl.popen("start", "c") for _ in range(10)]:
        assert process.wait(60) == 0
    wait_until(lambda: rl.out("logs", "c") == "once")


def test_starting_against_stopping_it(rl: Rootless, image: str) -> None:
    for _ in range(5):
        created(rl, image, "sleep", "60")
        rl("init", "c")
        both = [rl.popen("start", "c"), rl.popen("stop", "-t", "0", "c")]
        for process in both:
            process.wait(30)
            assert b"Traceback" not in process.stderr.read()  # type: ignore[union-attr]
        assert rl.status("c") in ("created", "exited", "running")
        rl("rm", "-f", "-t", "0", "c")


def test_ports_and_network_of_a_prepared_container(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--publish", "127.0.0.1::80", image, "sh", "-c", "ip addr show tap0")
    rl("init", "c")
    assert "10.0.2.100" in rl("start", "-a", "c").stdout


# rename


def test_rename_in_every_state(rl: Rootless, image: str) -> None:
    identity = created(rl, image, "sh", "-c", "exec sleep 60", name="zeroth")  # names that no id begins with
    for step, name in enumerate(("first", "second", "third", "fourth")):
        words = (("init",), ("start",), ("pause",), ("kill",))[step]
        old = rl.out("ps", "-a", "--format", "{{.Names}}")
        assert rl("rename", old, name).stdout == ""
        rl(*words, name)
        found = rl.inspect(name)
        assert (found["Id"], found["Name"]) == (identity, name)
        assert "no container with name" in rl("inspect", "--type", "container", old, check=False).stderr


def test_names_that_cannot_be_had(rl: Rootless, image: str) -> None:
    created(rl, image, "true")
    created(rl, image, "true", name="other")
    for name, said in (
        ("other", "already in use"),
        ("c", "this name already"),
        ("a b", "not a name"),
        ("", "not a name"),
        ("-x", "not a name"),
    ):
        done = rl("rename", "c", "--", name, check=False)
        assert (done.returncode, done.stdout) == (125, ""), name
        assert said in done.stderr, name
    assert sorted(rl.out("ps", "-a", "--format", "{{.Names}}").split()) == ["c", "other"]
    assert rl("container", "rename", "none", "new", check=False).returncode == 125


def test_of_many_that_want_one_name_one_gets_it(rl: Rootless, image: str) -> None:
    for n in range(5):
        created(rl, image, "true", name=f"c{n}")
    processes = [rl.popen("rename", f"c{n}", "wanted") for n in range(5)]
    assert sorted(process.wait(30) for process in processes) == [0, 125, 125, 125, 125]
    assert rl.out("ps", "-a", "--format", "{{.Names}}").split().count("wanted") == 1


def test_rename_against_rm(rl: Rootless, image: str) -> None:
    for _ in range(5):
        created(rl, image, "true")
        renaming, removing = rl.popen("rename", "c", "new"), rl.popen("rm", "c")
        codes = (renaming.wait(30), removing.wait(30))
        assert codes in ((0, 0), (0, 1), (125, 0)), codes
        assert b"Traceback" not in renaming.stderr.read() + removing.stderr.read()  # type: ignore[union-attr]
        rl("rm", "-f", "new")


# clone


def test_a_clone_has_the_options_and_none_of_the_files(rl: Rootless, image: str) -> None:
    options = (
        "--env",
        "A=1",
        "--label",
        "l=2",
        "--workdir",
        "/tmp",
        "--stop-signal",
        "INT",
        "--restart",
        "on-failure:2",
    )
    script = "pwd; echo $A; cat /mine 2>&1; echo x > /mine"
    created(rl, image, "sh", "-c", script, options=options)
    rl("start", "-a", "c")
    identity = rl.out("container", "clone", "c")
    new, old = rl.inspect("c-clone"), rl.inspect("c")
    assert new["Id"] == identity != old["Id"]
    assert new["State"]["Status"] == "created"
    for key in ("Env", "Labels", "Cmd", "WorkingDir", "StopSignal"):
        assert [line for line in new["Config"][key] if "HOSTNAME" not in line] == [
            line for line in old["Config"][key] if "HOSTNAME" not in line
        ], key
    assert new["HostConfig"]["RestartPolicy"] == old["HostConfig"]["RestartPolicy"]
    assert new["Image"] == old["Image"]
    assert rl.out("start", "-a", "c-clone").splitlines()[:2] == ["/tmp", "1"]
    assert "can't open" in rl.out("logs", "c-clone")
    rl("container", "clone", "c")
    rl("container", "clone", "c-clone")
    assert {"c-clone1", "c-clone2"} < set(rl.out("ps", "-a", "--format", "{{.Names}}").split())


def test_a_clone_that_takes_the_others_place(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--stop-timeout", "0", *NONE, image, "sleep", "60")
    done = rl("container", "clone", "--destroy", "c", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "add --force" in done.stderr
    assert rl.out("ps", "-a", "--format", "{{.Names}}") == "c"
    assert "--destroy" in rl("container", "clone", "--force", "c", check=False).stderr
    rl("container", "clone", "--destroy", "-f", "--run", "c", "new", image)
    assert rl.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == "new running"


def test_a_clone_whose_limits_cannot_be_is_not_made(rl: Rootless, image: str) -> None:
    created(rl, image, "true")
    done = rl("container", "clone", "--memory", "lots", "c", "new", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "--memory: 'lots' is not a size" in done.stderr
    assert rl.out("ps", "-a", "--format", "{{.Names}}") == "c"


def test_a_clone_of_another_image(rl: Rootless, image: str) -> None:
    created(rl, image, "sh", "-c", "cat /there")
    rl("run", "--name", "maker", *NONE, image, "sh", "-c", "echo yes > /there")
    rl("commit", "-q", "maker", "changed")
    rl("container", "clone", "--run", "c", "new", "changed")
    rl("wait", "new")
    assert rl.out("logs", "new") == "yes"
    rl("rm", "-a")
    rl("rmi", "changed")


# update


def test_the_restart_policy_is_changed(rl: Rootless, image: str) -> None:
    identity = rl.out("run", "-d", "--name", "c", *NONE, image, "sh", "-c", "echo x; sleep 0.3; exit 1")
    assert rl.out("update", "--restart", "on-failure:2", "c") == identity
    assert rl.inspect("c")["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 2 and rl.status("c") == "exited", 30)
    rl("update", "--restart", "no", "c")
    assert rl.inspect("c")["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_one_that_restarts_all_the_time_ends_when_it_is_told(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--restart", "always", *NONE, image, "false")
    wait_until(lambda: rl.inspect("c")["RestartCount"] > 1)
    rl("update", "--restart", "no", "c")
    wait_until(lambda: rl.status("c") == "exited")


def test_what_cannot_be_updated(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--rm", "--name", "c", *NONE, image, "sleep", "60")
    for words, said in (
        (("--restart", "always"), "--rm"),
        (("--restart", "often"), "not a restart policy"),
        ((), "nothing is to be changed"),
        (("--memory", "-1"), "--memory"),
        (("--memory", "1g"), "control group"),
        (("--cpu-rt-period", "1000"), "not supported yet"),
    ):
        done = rl("update", *words, "c", check=False)
        assert (done.returncode, done.stdout) == (125, ""), words
        assert said in done.stderr, words


# Selecting


def test_containers_are_selected(rl: Rootless, image: str, tmp_path: Path) -> None:
    ids = [created(rl, image, "sleep", "60", name=f"c{n}", options=("--label", f"n={n % 2}")) for n in range(4)]
    file = tmp_path / "id"
    file.write_text(ids[0])
    assert sorted(rl.out("start", "--filter", "label=n=1").split()) == sorted([ids[1], ids[3]])
    assert rl.out("init", "--latest", check=False) == ""
    assert sorted(rl.out("init", "--all").split()) == sorted([ids[0], ids[2]])
    assert sorted(rl.out("restart", "-t", "0", "--running").split()) == sorted([ids[1], ids[3]])
    rl("pause", "c1")
    assert rl.out("restart", "-t", "0", "--running") == ids[3]
    rl("unpause", "c1")
    assert rl.out("restart", "-t", "0", "--cidfile", str(file)) == ids[0]
    assert rl.out("stop", "-t", "0", "--cidfile", str(file)) == ids[0]
    assert sorted(rl.out("start", "--all").split()) == sorted([ids[0], ids[2]]), "the others run already"
    assert rl.out("start", "--filter", "name=c2") == ids[2]
    assert rl.out("stop", "-t", "0", "c0", "c2").split() == ["c0", "c2"]
    assert rl.out("kill", "--latest") == ids[3]
    assert rl.out("kill", "--all") == ids[1]
    done = rl("stop", "--ignore", "nobody", "-t", "0", "--cidfile", str(tmp_path / "gone"), "c2")
    assert done.stdout == "c2\n"
    for verb in ("stop", "rm"):  # as units that `podman generate systemd` made have it
        assert rl(verb, "--cidfile", str(tmp_path / "gone"), check=False).returncode == 125
        assert rl.out(verb, "--ignore", "--cidfile", str(tmp_path / "gone")) == ""
    assert rl.out("rm", "--filter", "label=n=0", "--filter", "id=" + ids[0][:20]) == ids[0]
    done = rl("start", "--filter", "label=n=1", "c1", check=False)
    assert done.returncode == 125
    assert rl("container", "exists", "--external", "c1").returncode == 0


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("created", ()),
        ("configured", ()),
        ("initialized", ("init",)),
        ("running", ("start",)),
        ("paused", ("start", "pause")),
        ("stopped", ("start", "kill")),
        ("exited", ("start", "kill")),
    ],
)
def test_waiting_for_a_state(rl: Rootless, image: str, state: str, words: tuple[str, ...]) -> None:
    created(rl, image, "sleep", "60")
    if state in ("stopped", "exited"):
        rl("start", "c")
        words = ("kill",)
    waiting = rl.popen("wait", "--condition", state, "--interval", "10ms", "c")
    for word in words:
        rl(word, "c")
    assert waiting.communicate(timeout=20)[0] == (b"137\n" if state in ("stopped", "exited") else b"-1\n")


def test_waiting_for_what_no_container_has(rl: Rootless, image: str) -> None:
    created(rl, image, "true")
    done = rl("wait", "--condition", "healthy", "c", check=False)
    assert done.returncode == 125
    assert "health check" in done.stderr
    assert "not one of" in rl("wait", "--condition", "fine", "c", check=False).stderr
