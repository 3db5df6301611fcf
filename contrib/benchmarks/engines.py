"""The two engines inside the peer's tree, and how their commands are timed against each other."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

IMAGE = "busybox"
BUSY_LIMIT = 0.15  # of all processors
FEW = 6  # runs; more are done several in a row


def fail(message: str, hint: str) -> NoReturn:
    print(f"Error: {message}\nhint: {hint}", file=sys.stderr)
    sys.exit(1)


class Engine:
    """One engine's command line, with the store that its user would have by default."""

    def __init__(self, name: str, executable: str) -> None:
        self.name = name
        self.executable = executable

    def command(self, words: str) -> str:
        return f"{self.executable} {words}"

    def run(self, words: str, check: bool = True) -> str:
        """Standard output of one command; CalledProcessError with stderr where it fails."""
        arguments = [self.executable, *shlex.split(words)]
        done = subprocess.run(arguments, check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.stdout.strip()

    def remove_all(self) -> None:
        self.run("rm -f -a -t 0", check=False)


class Bench:
    """Both engines, a scratch folder, and a registry where one is asked for."""

    def __init__(self, scratch: Path, runs: int, many: int) -> None:
        self.scratch = scratch
        self.work = scratch / "work"
        self.runs = runs
        self.many = many
        self.ours = Engine("rootless", str(self.work / "venv/bin/rootless"))
        self.theirs = Engine("podman", "podman")
        self.engines = (self.ours, self.theirs)
        self._registry: subprocess.Popen[bytes] | None = None
        self._registry_port = 0
        self._installed = False

    def demand_quiet(self) -> None:
        """End where other work keeps the processors busy: ratios stand that, medians less so."""
        before = processor_ticks()
        time.sleep(2)
        after = processor_ticks()
        busy = 1 - (after[1] - before[1]) / max(1, after[0] - before[0])
        if busy > BUSY_LIMIT:
            fail(
                f"the machine is busy ({busy:.0%} of its processors)", "wait until it is quiet, or measure with --noisy"
            )

    def install(self) -> None:
        """The wheel into a virtual environment, the small image into both stores."""
        wheels = self.scratch / "wheels"
        quiet(sys.executable, "-m", "venv", str(self.work / "venv"))
        wheel = next(wheels.glob("rootless-*.whl"))
        python = str(self.work / "venv/bin/python")
        quiet(python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels), str(wheel))
        quiet(python, "-m", "compileall", "-q", str(self.work / "venv/lib"))
        self._installed = True
        for engine in self.engines:
            engine.run(f"load -q -i {self.scratch}/busybox.tar")
            engine.run(f"run --rm --network none {IMAGE} true")

    def versions(self) -> dict[str, str]:
        crun = subprocess.run(["crun", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
        python = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
        return {
            "rootless": self.ours.run("--version", check=False).split()[-1],
            "Python": python,
            "podman": self.theirs.run("--version").split()[-1],
            "crun": crun.split()[-1],
        }

    def time(
        self, ours: str, theirs: str, runs: int, prepare: Sequence[str] | None = None, warmup: int = 1
    ) -> dict[str, list[float]]:
        """Seconds of each run of two commands, in turns of a few runs, or of one where there are few; `prepare`: ours
        and theirs before every run."""
        turns = runs if runs < FEW else min(8, runs // 3)
        share = -(-runs // turns)
        samples: dict[str, list[float]] = {engine.name: [] for engine in self.engines}
        contest = [(self.ours.name, ours, 0), (self.theirs.name, theirs, 1)]
        for turn in range(turns):
            for name, command, number in contest if turn % 2 == 0 else reversed(contest):
                samples[name] += self._hyperfine(command, share, prepare[number] if prepare else None, warmup)
        return samples

    def time_one(self, command: str, runs: int, prepare: str) -> list[float]:
        """Seconds of each run of a third party's command."""
        return self._hyperfine(command, runs, prepare, warmup=0)

    def do(self, command: str) -> None:
        """Run a command line to its end; CalledProcessError tells what it printed."""
        quiet(*shlex.split(command))

    def store_of(self, engine: Engine) -> Path:
        return self.work / "data" / ("rootless" if engine is self.ours else "containers/storage")

    def _hyperfine(self, command: str, runs: int, prepare: str | None, warmup: int) -> list[float]:
        report = self.work / "hyperfine.json"
        words = ["hyperfine", "--shell=none", "--style=none", f"--runs={runs}", f"--warmup={warmup}"]
        words += [f"--export-json={report}"]
        if prepare:
            words += ["--prepare", prepare]
        quiet(*words, command)
        times: list[float] = json.loads(report.read_text())["results"][0]["times"]
        return times

    def registry(self) -> str:
        """`127.0.0.1:PORT` of a registry that holds the big image, gzip-compressed, as `big:latest`."""
        if self._registry is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._registry_port = probe.getsockname()[1]
            config = self.work / "registry.yml"
            config.write_text(
                "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                f"storage: {{filesystem: {{rootdirectory: {self.work}/registry}}}}\n"
                f"http: {{addr: 127.0.0.1:{self._registry_port}}}\n"
            )
            log = (self.work / "registry.log").open("wb")
            self._registry = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
            self._wait_for_registry()
            source = f"docker-archive:{self.scratch}/big.tar"
            quiet("skopeo", "copy", "-q", "--dest-tls-verify=false", source, f"docker://{self._address}/big:latest")
        return self._address

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self._registry_port}"

    def _wait_for_registry(self) -> None:
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://{self._address}/v2/", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        fail("the registry does not answer", f"see {self.work}/registry.log")

    def manifest(self) -> dict[str, Any]:
        """The big image's manifest in the registry."""
        words = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{self.registry()}/big:latest"]
        found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        return found

    def clean_up(self) -> None:
        if self._installed:
            for engine in self.engines:
                engine.remove_all()
        if self._registry is not None:
            self._registry.terminate()
            self._registry.wait()


def quiet(*words: str) -> None:
    """Run; CalledProcessError tells what it printed."""
    subprocess.run(words, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def processor_ticks() -> tuple[int, int]:
    """(all, idle) ticks of all processors since boot: proc_stat(5)."""
    values = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return sum(values), values[3] + values[4]
