"""Random commands on a few real containers, against a model that says what must come of each.

In CI always the same ones; ROOTLESS_STATE_MACHINE=N tries N other sequences, of 60 commands each.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.command import Rootless, wait_until
from tests.support.container_model import (
    CREATED,
    CYCLING,
    DEAF,
    EXITED,
    FAILING,
    INITIALIZED,
    ONE_SHOT,
    PAUSED,
    RUNNING,
    SERVER,
    STOPPING,
    Known,
)

NAMES = st.sampled_from(["one", "two", "three"])
ONES = st.integers(0, 11)
PROGRAMS = st.sampled_from([SERVER, SERVER, SERVER, DEAF, ONE_SHOT, FAILING])
BUSY = (RUNNING, PAUSED, STOPPING, CYCLING)


def some(machine: Containers) -> bool:
    return bool(machine.known)


class Containers(Known):
    # Making

    @initialize()
    def begin(self) -> None:
        self.run("one", SERVER, "")
        self.create("two", SERVER)

    @precondition(lambda machine: len(machine.known) < 3)
    @rule(name=NAMES, program=PROGRAMS)
    def create(self, name: str, program: str) -> None:
        self.make(name, program, "", "create")

    @precondition(lambda machine: len(machine.known) < 3)
    @rule(name=NAMES, program=PROGRAMS, policy=st.sampled_from(["", "--rm", "--restart=on-failure:1"]))
    def run(self, name: str, program: str, policy: str) -> None:
        if self.make(name, program, policy if program in (SERVER, DEAF) else "", "run", "-d"):
            self.runs(name)

    @precondition(some)
    @rule(which=ONES, new=NAMES)
    def rename(self, which: int, new: str) -> None:
        old = self.one(which)
        possible = old in self.known and new not in self.known
        self.do("rename", old, new, code=0 if possible else 125)
        if possible:
            self.known[new] = self.known.pop(old)

    # Running

    @precondition(some)
    @rule(which=ONES)
    def init(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is None or model.state not in (CREATED, EXITED):
            self.do("init", name, code=125)
            return
        self.do("init", name)
        model.before, model.state = model.state, INITIALIZED

    @precondition(some)
    @rule(which=ONES)
    def start(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is None or model.state == PAUSED:
            self.do("start", name, code=125)
            return
        assert self.do("start", name).stdout == name + "\n"
        if model.state not in (RUNNING, STOPPING):
            self.runs(name)

    @precondition(some)
    @rule(which=ONES)
    def start_attached(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is not None and model.program == ONE_SHOT and model.state in (CREATED, INITIALIZED, EXITED):
            assert self.do("start", "-a", name, code=5).stdout == "once\n"
            self.ended(name, 5)

    @precondition(some)
    @rule(which=ONES)
    def restart(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is None or model.state == PAUSED:
            self.do("restart", "-t", "0", name, code=125)
        elif not model.removed:
            self.do("restart", "-t", "0", name)
            model.stopped()
            self.runs(name)

    @precondition(some)
    @rule(which=ONES, code=st.sampled_from([0, 3, 255]))
    def execute(self, which: int, code: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is not None and model.state == CYCLING:
            return  # in this moment it may run
        runs = model is not None and model.state in (RUNNING, STOPPING)
        self.do("exec", name, "sh", "-c", f"exit {code}", code=code if runs else 125)

    # Ending

    @precondition(some)
    @rule(which=ONES, at_once=st.booleans())
    def stop(self, which: int, at_once: bool) -> None:
        name = self.one(which)
        model = self.known.get(name)
        at_once = at_once or (model is not None and model.program == DEAF)
        words = ("stop", *(("-t", "0") if at_once else ()), name)
        if model is None or model.state == PAUSED:
            self.do(*words, code=125)
            return
        assert self.do(*words).stdout == name + "\n"
        if model.state in (RUNNING, STOPPING):
            self.ended(name, 137 if at_once else 7)
        elif model.state == CYCLING:
            self.cut_short(name)
        elif model.state == INITIALIZED:
            model.state = model.before

    @precondition(lambda machine: machine.of(RUNNING, DEAF))
    @rule()
    def stop_for_long(self) -> None:
        name = self.of(RUNNING, DEAF)[0]
        self.known[name].stopper = self.rl.popen("stop", "-t", "600", name)
        wait_until(lambda: self.look(name, "{{.State.Status}}") == STOPPING, what="stopping")
        self.known[name].state = STOPPING

    @precondition(lambda machine: machine.of(STOPPING))
    @rule(number=st.sampled_from([signal.SIGINT, signal.SIGKILL]))
    def give_up_stopping(self, number: signal.Signals) -> None:
        model = self.known[self.of(STOPPING)[0]]
        assert model.stopper is not None
        model.stopper.send_signal(number)
        model.stopped(130 if number == signal.SIGINT else -number)
        model.state = RUNNING

    @precondition(some)
    @rule(which=ONES, name_of=st.sampled_from(["KILL", "TERM", "CONT"]))
    def kill(self, which: int, name_of: str) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is not None and model.state == CYCLING:
            self.do("kill", name)
            self.cut_short(name)
            return
        words = ("kill", "-s", name_of, name)
        if model is None or model.state not in BUSY or (model.state == PAUSED and name_of == "CONT"):
            self.do(*words, code=125)
            return
        self.do(*words)
        if name_of == "KILL":
            self.ended(name, 137)
        elif name_of == "TERM" and model.program == SERVER:
            if model.state == PAUSED:
                model.told = True
            else:
                self.ends_by_term(name)

    @precondition(lambda machine: machine.of(RUNNING) or machine.of(PAUSED))
    @rule(which=ONES, monitor=st.booleans())
    def crash(self, which: int, monitor: bool) -> None:
        """Something else than a user ends its pid 1, or its monitor."""
        names = self.of(RUNNING) + self.of(PAUSED)
        name = names[which % len(names)]
        model = self.known[name]
        pid = int(self.look(name, "{{.State.ConmonPid}}" if monitor else "{{.State.Pid}}"))
        os.kill(pid, signal.SIGKILL)
        if not monitor and model.policy and model.retries and not model.told:
            wait_until(lambda: self.look(name, "{{.RestartCount}} {{.State.Status}}") == "1 running", what="its return")
            model.retries = 0
            self.serves(name)
            return
        wait_until(lambda: self.state_of(model.id) in ("", EXITED), what="the end")
        self.ended(name, 137)

    @precondition(lambda machine: len(machine.known) > 1)
    @rule(which=ONES, force=st.booleans())
    def remove(self, which: int, force: bool) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if force:
            self.do("rm", "-f", "-t", "0", name)
            if model is not None:
                self.known.pop(name).stopped()
        elif model is None:
            self.do("rm", name, code=1)
        elif model.state in BUSY:
            self.do("rm", name, code=2)
        else:
            self.do("rm", name)
            del self.known[name]

    @precondition(lambda machine: len(machine.known) > 1)
    @rule(which=ONES, step=st.sampled_from(["removing", "remove-run-directory", "remove-files"]))
    def die_removing(self, which: int, step: str) -> None:
        """Whoever looks next goes on with it."""
        name = self.one(which)
        if name in self.known and not (self.known[name].removed and self.known[name].state in BUSY):
            self.rl("rm", "-f", "-t", "0", name, env={"ROOTLESS_TEST_DIE_AT": step}, check=False)
            self.known.pop(name).stopped()

    @precondition(lambda machine: len(machine.known) == 3)
    @rule()
    def prune(self) -> None:
        gone = {model.id for model in self.known.values() if model.state in (CREATED, EXITED)}
        assert set(self.do("container", "prune", "-f").stdout.split()) == gone
        self.known = {name: model for name, model in self.known.items() if model.id not in gone}

    # Pausing

    @precondition(some)
    @rule(which=ONES)
    def pause(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is not None and model.state == CYCLING:
            return  # in this moment it may run
        possible = model is not None and model.state == RUNNING
        self.do("pause", name, code=0 if possible else 125)
        if possible:
            self.known[name].state = PAUSED

    @precondition(some)
    @rule(which=ONES)
    def unpause(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is None or model.state != PAUSED:
            self.do("unpause", name, code=125)
            return
        self.do("unpause", name)
        self.goes_on(name)

    # All of them, and questions

    @precondition(lambda machine: machine.known and not machine.of(CYCLING))
    @rule(verb=st.sampled_from(["pause", "unpause", "stop", "kill"]))
    def everything(self, verb: str) -> None:
        suits = {"pause": (RUNNING,), "unpause": (PAUSED,), "stop": (RUNNING, STOPPING, INITIALIZED), "kill": BUSY}
        meant = [name for name, model in self.known.items() if model.state in suits[verb]]
        words = (verb, "--all", *(("-t", "0") if verb == "stop" else ()))
        assert set(self.do(*words).stdout.split()) == {self.known[name].id for name in meant}
        for name in meant:
            model = self.known[name]
            if verb == "pause":
                model.state = PAUSED
            elif verb == "unpause":
                self.goes_on(name)
            elif model.state == INITIALIZED:
                model.state = model.before
            else:
                self.ended(name, 137)

    @precondition(some)
    @rule(which=ONES)
    def wait(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is None:
            self.do("wait", name, code=125)
        elif model.state == CYCLING:
            assert self.do("wait", name).stdout == "5\n"
        elif model.state == EXITED:
            assert self.do("wait", name).stdout == f"{model.code}\n"
        else:
            self.do("wait", "--condition", f"{model.state},removing", name)

    @precondition(some)
    @rule(which=ONES)
    def exists(self, which: int) -> None:
        name = self.one(which)
        done = self.rl("container", "exists", name, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0 if name in self.known else 1, "", "")

    @invariant()
    def the_list_is_true(self) -> None:
        lines = self.rl.out(
            "ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}} {{.State}} {{.ExitCode}} {{.Pid}}"
        )
        found = {line.split()[0]: line.split()[1:] for line in lines.splitlines()}
        assert found.keys() == self.known.keys()
        for name, (identity, state, code, pid) in found.items():
            model = self.known[name]
            assert identity == model.id, name
            if model.state == CYCLING:
                assert state in ("restarting", RUNNING, INITIALIZED, EXITED), name
                continue
            assert state == model.state, name
            if state == EXITED:
                assert int(code) == model.code, name
            alive = state in (RUNNING, PAUSED, STOPPING, INITIALIZED)
            assert alive == (pid != "0"), (name, pid)
            if alive:
                assert (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T") == (state == PAUSED)


def test_containers_do_as_the_model_says(rl: Rootless, image: str) -> None:
    more = int(os.environ.get("ROOTLESS_STATE_MACHINE", "0"))
    run_state_machine_as_test(
        lambda: Containers(rl, image),  # type: ignore[arg-type]  # anything that makes one will do
        settings=settings(
            max_examples=more or 18,
            stateful_step_count=60 if more else 22,
            derandomize=not more,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink] if more else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
