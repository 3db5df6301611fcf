"""What the state machine test knows of a container, and what its containers run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, Popen

from hypothesis.stateful import RuleBasedStateMachine

from tests.support.command import Rootless, wait_until
from tests.support.leaks import assert_nothing_left

CREATED, INITIALIZED, RUNNING, PAUSED = "created", "initialized", "running", "paused"
STOPPING, EXITED = "stopping", "exited"
CYCLING = "cycling"  # it fails and is started again, for ever: mostly restarting

SERVER, DEAF, ONE_SHOT, FAILING = "server", "deaf", "one-shot", "failing"
OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    SERVER: ([], ["sh", "-c", "trap 'exit 7' TERM; sleep 600 & wait"]),  # ends with 7 when it is told to
    DEAF: ([], ["sh", "-c", "trap '' TERM; sleep 600 & wait"]),
    ONE_SHOT: ([], ["sh", "-c", "echo once; exit 5"]),
    FAILING: (["--restart", "always"], ["sh", "-c", "exit 5"]),
}
"""Options and command of each program."""

_SIGTERM_BIT = 1 << 14


@dataclass
class Model:
    """What is known of a container. `policy`: it is started again once, `retries` tells whether that is left.

    `before`: its state when `init` prepared it; `told`: TERM waits for its unpause; `stopper`: a command that stops it.
    """

    id: str
    program: str
    removed: bool
    policy: bool
    state: str = CREATED
    code: int = 0
    before: str = CREATED
    told: bool = False
    retries: int = 1
    stopper: Popen[bytes] | None = None

    def stopped(self, code: int = 0) -> None:
        """The command that stops it, where there is one, has to end now, with this code."""
        if self.stopper is not None:
            _, error = self.stopper.communicate(timeout=20)
            assert self.stopper.returncode == code, error
            self.stopper = None


def hears_no_term(pid: str) -> bool:
    """Whether TERM does no longer end this process by itself: it has a handler, or ignores the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    sets = (int(status.partition(name)[2].split()[0], 16) for name in ("SigCgt:", "SigIgn:"))
    return any(bits & _SIGTERM_BIT for bits in sets)


class Known(RuleBasedStateMachine):
    """Containers of one store, and what is known of each, by its name."""

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
        for model in self.known.values():
            model.stopped()
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
        model.stopped()

    def cut_short(self, name: str) -> None:
        """One that fails again and again has been ended, between two lives or in one."""
        identity = self.known[name].id
        wait_until(lambda: self.state_of(identity) == EXITED, what="the end of its policy")
        code = self.look(name, "{{.State.ExitCode}}")
        assert code in ("5", "137"), name
        self.ended(name, int(code))

    def look(self, name: str, template: str) -> str:
        return self.rl.out("container", "inspect", "-f", template, name)

    def runs(self, name: str) -> None:
        """A start has succeeded: wait until its program does what it does."""
        model = self.known[name]
        model.retries = 1
        if model.program == ONE_SHOT:
            assert self.do("wait", name).stdout == "5\n"
            self.ended(name, 5)
        elif model.program == FAILING:
            model.state = CYCLING
        else:
            self.serves(name)

    def serves(self, name: str) -> None:
        self.known[name].state = RUNNING
        pid = self.look(name, "{{.State.Pid}}")
        wait_until(lambda: hears_no_term(pid), what="the trap")

    def of(self, state: str, *programs: str) -> list[str]:
        return [
            name
            for name, model in sorted(self.known.items())
            if model.state == state and (not programs or model.program in programs)
        ]

    def make(self, name: str, program: str, policy: str, *words: str) -> bool:
        options = [*OPTIONS[program][0], *([policy] if policy else [])]
        words = (*words, "--name", name, "--network", "none", *options, self.image, *OPTIONS[program][1])
        if name in self.known:
            assert "already in use" in self.do(*words, code=125).stderr
            return False
        identity = self.do(*words).stdout.strip()
        self.known[name] = Model(identity, program, policy == "--rm", policy.startswith("--restart"))
        return True

    def ends_by_term(self, name: str) -> None:
        identity = self.known[name].id
        wait_until(lambda: self.state_of(identity) in ("", EXITED), what="the end")
        self.ended(name, 7)

    def goes_on(self, name: str) -> None:
        self.known[name].state = RUNNING
        if self.known[name].told:
            self.ends_by_term(name)

    def state_of(self, identity: str) -> str:
        """What `ps` says; "" where it is gone."""
        return self.rl.out("ps", "-a", "--filter", f"id={identity}", "--format", "{{.State}}")
