"""Random commands on a few real containers, against a model that says what must come of each.

In CI always the same ones; ROOTLESS_STATE_MACHINE=N tries N other sequences, of 60 commands each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.command import Rootless, wait_until
from tests.support.leaks import assert_nothing_left

NAMES = st.sampled_from(["one", "two", "three"])
ONES = st.integers(0, 11)
SERVER = ("sh", "-c", "trap 'exit 7' TERM; sleep 600 & wait")  # ends with 7 when it is told to
ONE_SHOT = ("sh", "-c", "echo once; exit 5")
SIGTERM_BIT = 1 << 14
CREATED, INITIALIZED, RUNNING, PAUSED, EXITED = "created", "initialized", "running", "paused", "exited"


@dataclass
class Model:
    """What is known of a container. `before`: its state when `init` prepared it; `told`: TERM waits for its unpause."""

    id: str
    server: bool
    removed: bool
    state: str = CREATED
    code: int = 0
    before: str = CREATED
    told: bool = False


def some(machine: Containers) -> bool:
    return bool(machine.known)


class Containers(RuleBasedStateMachine):
    def __init__(self, rl: Rootless, image: str) -> None:
        super().__init__()
        self.rl = rl
        self.image = image
        self.known: dict[str, Model] = {}

    def one(self, which: int) -> str:
        """Mostly the name of a container that is there."""
        names = sorted(self.known)
        return names[which % len(names)] if which < 11 and names else "three"

    def teardown(self) -> None:
        self.rl("rm", "-f", "-a", "-t", "0")
        assert_nothing_left(self.rl.place, self.rl.root, self.rl.runroot)

    def do(self, *words: str, code: int = 0) -> CompletedProcess[str]:
        """Run a command that must end with this code; one that fails says why, in one way."""
        done = self.rl(*words, check=False)
        assert done.returncode == code, (words, code, done)
        for fault in ("Traceback", "internal error"):
            assert fault not in done.stderr, (words, done)
        if code in (1, 2, 125):
            assert (done.stdout, done.stderr[:7]) == ("", "Error: "), (words, done)
        return done

    def ended(self, name: str, code: int) -> None:
        model = self.known[name]
        model.state, model.code, model.told = EXITED, code, False
        if model.removed:
            del self.known[name]

    def runs(self, name: str) -> None:
        """A start has succeeded: wait until its program does what it does."""
        model = self.known[name]
        if not model.server:
            assert self.do("wait", name).stdout == "5\n"
            self.ended(name, 5)
            return
        model.state = RUNNING
        pid = self.rl.out("inspect", "-f", "{{.State.Pid}}", name)
        wait_until(lambda: _catches_term(pid), what="the trap")

    # Making

    @initialize()
    def begin(self) -> None:
        self.run("one", True, False)
        self.create("two", True)

    @precondition(lambda machine: len(machine.known) < 3)
    @rule(name=NAMES, server=st.booleans())
    def create(self, name: str, server: bool) -> None:
        self._make(name, server, False, "create")

    @precondition(lambda machine: len(machine.known) < 3)
    @rule(name=NAMES, server=st.sampled_from([True, True, False]), removed=st.booleans())
    def run(self, name: str, server: bool, removed: bool) -> None:
        if self._make(name, server, removed and server, "run", "-d"):
            self.runs(name)

    def _make(self, name: str, server: bool, removed: bool, *words: str) -> bool:
        options = ("--rm",) if removed else ()
        command = SERVER if server else ONE_SHOT
        words = (*words, "--name", name, "--network", "none", *options, self.image, *command)
        if name in self.known:
            assert "already in use" in self.do(*words, code=125).stderr
            return False
        self.known[name] = Model(self.do(*words).stdout.strip(), server, removed)
        return True

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
        if model.state != RUNNING:
            self.runs(name)

    @precondition(some)
    @rule(which=ONES)
    def start_attached(self, which: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if model is not None and not model.server and model.state != RUNNING:
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
            self.runs(name)

    @precondition(some)
    @rule(which=ONES, code=st.sampled_from([0, 3, 255]))
    def execute(self, which: int, code: int) -> None:
        name = self.one(which)
        model = self.known.get(name)
        runs = model is not None and model.state == RUNNING
        self.do("exec", name, "sh", "-c", f"exit {code}", code=code if runs else 125)

    # Ending

    @precondition(some)
    @rule(which=ONES, at_once=st.booleans())
    def stop(self, which: int, at_once: bool) -> None:
        name = self.one(which)
        model = self.known.get(name)
        words = ("stop", *(("-t", "0") if at_once else ()), name)
        if model is None or model.state == PAUSED:
            self.do(*words, code=125)
            return
        assert self.do(*words).stdout == name + "\n"
        if model.state == RUNNING:
            self.ended(name, 137 if at_once else 7)
        elif model.state == INITIALIZED:
            model.state = model.before

    @precondition(some)
    @rule(which=ONES, signal=st.sampled_from(["KILL", "TERM", "CONT"]))
    def kill(self, which: int, signal: str) -> None:
        name = self.one(which)
        model = self.known.get(name)
        words = ("kill", "-s", signal, name)
        if model is None or model.state not in (RUNNING, PAUSED) or (model.state == PAUSED and signal == "CONT"):
            self.do(*words, code=125)
            return
        self.do(*words)
        if signal == "KILL":
            self.ended(name, 137)
        elif signal == "TERM" and model.state == PAUSED:
            model.told = True
        elif signal == "TERM":
            self._ends_by_term(name)

    def _ends_by_term(self, name: str) -> None:
        identity = self.known[name].id
        wait_until(lambda: _state_of(self.rl, identity) in ("", EXITED), what="the end")
        self.ended(name, 7)

    @precondition(lambda machine: len(machine.known) > 1)
    @rule(which=ONES, force=st.booleans())
    def remove(self, which: int, force: bool) -> None:
        name = self.one(which)
        model = self.known.get(name)
        if force:
            self.do("rm", "-f", "-t", "0", name)
            self.known.pop(name, None)
        elif model is None:
            self.do("rm", name, code=1)
        elif model.state in (RUNNING, PAUSED):
            self.do("rm", name, code=2)
        else:
            self.do("rm", name)
            del self.known[name]

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
        self._goes_on(name)

    def _goes_on(self, name: str) -> None:
        self.known[name].state = RUNNING
        if self.known[name].told:
            self._ends_by_term(name)

    # All of them, and questions

    @precondition(some)
    @rule(verb=st.sampled_from(["pause", "unpause", "stop", "kill"]))
    def everything(self, verb: str) -> None:
        suits = {"pause": (RUNNING,), "unpause": (PAUSED,), "stop": (RUNNING, INITIALIZED), "kill": (RUNNING, PAUSED)}
        meant = [name for name, model in self.known.items() if model.state in suits[verb]]
        words = (verb, "--all", *(("-t", "0") if verb == "stop" else ()))
        assert set(self.do(*words).stdout.split()) == {self.known[name].id for name in meant}
        for name in meant:
            model = self.known[name]
            if verb == "pause":
                model.state = PAUSED
            elif verb == "unpause":
                self._goes_on(name)
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
            assert (identity, state) == (model.id, model.state), name
            if state == EXITED:
                assert int(code) == model.code, name
            alive = state in (RUNNING, PAUSED, INITIALIZED)
            assert alive == (pid != "0"), (name, pid)
            if alive:
                assert (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T") == (state == PAUSED)


def _catches_term(pid: str) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & SIGTERM_BIT)


def _state_of(rl: Rootless, identity: str) -> str:
    return rl.out("ps", "-a", "--filter", f"id={identity}", "--format", "{{.State}}")


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
