"""The command as it starts: what it imports, how it fails, and what it does when its own streams are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable

# What only the cold path may load. Each costs more than the whole of a `ps`.
HEAVY = frozenset({
    "typing", "enum", "re", "dataclasses", "functools", "collections", "contextlib", "json", "inspect", "pathlib",
    "subprocess", "socket", "signal", "threading", "tempfile", "shutil", "logging", "datetime", "sqlite3", "typer",
    "pydantic", "rich", "click", "pyroute2", "platformdirs", "urllib3", "argparse", "random", "hashlib",
    "traceback",
})  # fmt: skip
PROBE = """
import sys
sys.path[:0] = {path!r}
before = set(sys.modules)
from rootless.cli.main import main
code = main(["rootless", *{words!r}])
sys.stderr.write("\\n" + " ".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""


def loaded_by(command: Rootless, *words: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Modules that a hot command has loaded by its end, in an interpreter as bare as the launcher's."""
    path = [entry for entry in sys.path if entry]
    code = PROBE.format(path=[str(Path(__file__).parents[2]), *path], words=list(words))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env=command.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    return set(done.stderr.rpartition("\n")[2].split()), done


def assert_light(modules: set[str]) -> None:
    heavy = sorted(name for name in modules if name in HEAVY or name.split(".")[0] in HEAVY)
    assert not heavy, f"the hot path loads {heavy}"
    assert "rootless.cli.main" in modules


@pytest.mark.parametrize(
    "words",
    [("ps",), ("ps", "-a", "--no-trunc"), ("images",), ("version",), ("ps", "--format", "{{.ID}} {{.Names}}")],
    ids=" ".join,
)
def test_listing_loads_nothing_heavy(rl: Rootless, words: tuple[str, ...]) -> None:
    modules, done = loaded_by(rl, *words)
    assert done.returncode == 0, done.stderr
    assert_light(modules)


def test_running_and_what_goes_with_it_load_nothing_heavy(rl: Rootless, image: str) -> None:
    modules, done = loaded_by(rl, "run", "-d", "--name", "light", "--network", "none", image, "sleep", "100")
    assert done.returncode == 0, done.stderr
    assert_light(modules)
    for words in (
        ("exec", "light", "true"),
        ("inspect", "light"),
        ("inspect", "--format", "{{.State.Pid}}", "light"),
        ("logs", "light"),
        ("port", "light"),
        ("stop", "-t", "0", "light"),
        ("start", "light"),
        ("kill", "light"),
        ("wait", "light"),
        ("rm", "-f", "light"),
        ("run", "--rm", "--network", "none", image, "true"),
    ):
        modules, done = loaded_by(rl, *words)
        assert done.returncode == 0, (words, done.stderr)
        assert_light(modules)
        if words[0] in ("inspect", "logs", "stop", "kill", "wait", "rm"):
            assert not {"rootless.engine.start", "rootless.runtime.launch"} & modules, words


# How many modules of ours a command may load by its end, without pid 1's: each costs 0.1 ms every time.
MOST_MODULES = {
    "run": 82,
    "exec": 62,
    "inspect": 41,
    "logs": 41,
    "stop": 44,
    "start": 56,
    "ps": 31,
    "images": 23,
    "rm": 47,
}


def test_hot_commands_load_few_modules(rl: Rootless, image: str) -> None:
    counts: dict[str, int] = {}
    for words in (
        ("run", "-d", "--name", "few", "--network", "none", image, "sleep", "100"),
        ("exec", "few", "true"),
        ("inspect", "few"),
        ("logs", "few"),
        ("stop", "-t", "0", "few"),
        ("start", "few"),
        ("ps",),
        ("images",),
        ("rm", "-f", "-t", "0", "few"),
        ("run", "--rm", "--network", "none", image, "true"),
    ):
        modules, done = loaded_by(rl, *words)
        assert done.returncode == 0, (words, done.stderr)
        ours = {name for name in modules if name.partition(".")[0] in ("rootless", "storage", "network")}
        counts[words[0]] = max(len(ours), counts.get(words[0], 0))
    assert counts.keys() == MOST_MODULES.keys()
    above = {verb: count for verb, count in counts.items() if count > MOST_MODULES[verb]}
    assert not above, f"more modules than there may be: {above}; what is seldom needed is loaded where it is needed"


def test_checks_of_health_load_nothing_heavy_either(rl: Rootless, image: str) -> None:
    options = ("--network", "none", "--health-cmd", "true", "--health-interval", "disable")
    for words in (
        ("run", "-d", "--name", "light", *options, image, "sleep", "100"),
        ("healthcheck", "run", "light"),
        ("inspect", "light"),
        ("stop", "-t", "0", "light"),
        ("start", "light"),
        ("ps",),
    ):
        modules, done = loaded_by(rl, *words)
        assert done.returncode == 0, (words, done.stderr)
        assert_light(modules)


def test_help_does_not_load_pydantic(rl: Rootless) -> None:
    modules, done = loaded_by(rl, "run", "--help")
    assert done.returncode == 0
    assert "typer" in modules
    assert not {"pydantic", "rich"} & modules


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["run", "--nam", "x", "img"], "run: unknown flag --nam", "did you mean --name?"),
        (["run", "--chrootdirs", "/x", "img"], "run: --chrootdirs is not supported yet", ""),
        (["--remote", "ps"], "--remote is not supported yet", "ssh HOST rootless ..."),
        (
            ["image", "scp", "a"],
            "image scp: this command is not supported yet",
            "rootless save IMAGE | ssh HOST rootless load",
        ),
        (["ps", "--root", "/x"], "ps: --root stands before the command", "rootless --root ... ps"),
        (["rnu"], "unknown command 'rnu'", "did you mean run?"),
        (["swarm", "init"], "unknown command 'swarm'", "see: rootless --help"),
        (
            ["run", "--isolation", "x", "img"],
            "run: unknown flag --isolation",
            "leave it out: Windows alone has kinds of isolation",
        ),
        (["run", "--foo", "img"], "run: unknown flag --foo", "see: rootless run --help"),
        (["logs", "--detail", "a"], "logs: unknown flag --detail", "did you mean --details?"),
        (["run", "--evn", "A=b", "img"], "run: unknown flag --evn", "did you mean --env?"),
        (["ps", "--al"], "ps: unknown flag --al", "did you mean --all?"),
        (["image", "lss"], "unknown command 'image lss'", "did you mean image ls?"),
        (["build", "."], "build: this command is not supported yet", ""),
        (["run"], "run: IMAGE is missing", "usage: rootless run [OPTIONS] IMAGE [COMMAND...]"),
        (
            ["cp"],
            "cp: [CONTAINER:]SOURCE is missing",
            "usage: rootless cp [OPTIONS] [CONTAINER:]SOURCE [CONTAINER:]TARGET",
        ),
        (["exec", "a"], "exec: COMMAND... is missing", "usage: rootless exec [OPTIONS] CONTAINER COMMAND..."),
        (["run", "--name"], "run: --name needs a value", "see: rootless run --help"),
        (["run", "--rm=maybe", "i"], "run: --rm: 'maybe' is neither true nor false", "see: rootless run --help"),
        (["stop", "-t", "x", "a"], "stop: --time: 'x' is not a whole number", "see: rootless stop --help"),
        (["run", "--pull", "x", "a"], "run: --pull: 'x' is none of always, missing, never, newer", None),
        (["--rot", "x", "ps"], "unknown flag --rot", "did you mean --root?"),
        (["images", "a", "b"], "images: got unexpected extra argument(s) (b)", None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_line_is_told_in_one_line(fresh: Rootless, words: list[str], message: str, hint: str | None) -> None:
    done = fresh(*words, check=False)
    assert done.returncode == 125
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first == f"Error: {message}"
    assert len(rest) == (hint != "")
    if hint:
        assert rest[0] == f"hint: {hint}"
    assert not fresh.root.exists(), "a wrong line must change nothing on disk"


def test_noun_forms_are_the_same_commands(rl: Rootless) -> None:
    assert rl.out("container", "ls", "-a") == rl.out("ps", "-a")
    assert rl.out("image", "ls") == rl.out("images") == rl.out("image", "list")


def test_the_version_is_one_line(rl: Rootless) -> None:
    assert (
        rl.out("--version")
        == rl.out("-v")
        == "rootless version " + rl.out("version", "--format", "{{.Client.Version}}")
    )


def test_help_shows_usage_options_and_examples(rl: Rootless) -> None:
    text = rl.out("run", "--help")
    assert text.startswith("Usage: rootless run [OPTIONS] IMAGE [COMMAND...]")
    assert "-p, --publish" in text
    assert "rootless run --rm -it alpine sh" in text
    assert "run" in rl.out("--help").split()
    assert rl.out() == rl.out("--help") == rl.out("help")
    assert rl.out("help", "run") == text
    assert rl.out("container", "ls", "-h").startswith("Usage: rootless container ls")


def test_completion_offers_commands_options_and_names(rl: Rootless, image: str) -> None:
    def offered(line: str) -> list[str]:
        words = line.split(" ")
        environment = {
            "_ROOTLESS_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        return rl("x", env=environment).stdout.split()

    assert "run" in offered("rootless r")
    assert "--publish" in offered("rootless run --pub")
    assert "slirp4netns" in offered("rootless run --network sl")
    assert "busybox" in " ".join(offered("rootless run bus"))
    assert "_ROOTLESS_COMPLETE" in rl.out("--show-completion", env={"SHELL": "/bin/bash"})


def test_a_closed_standard_output_is_an_error_and_harms_nothing(rl: Rootless) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" images >&-', executable()],
        env=rl.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 125
    assert done.stderr == "Error: writing to standard output: Bad file descriptor\n"
    assert "REPOSITORY" in rl.out("images")


def test_a_full_disk_behind_standard_output_is_an_error(rl: Rootless) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [executable(), "images"], env=rl.environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 125
    assert done.stderr == "Error: writing to standard output: No space left on device\n"


def test_a_reader_that_has_gone_is_no_error_to_talk_about(rl: Rootless) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [executable(), "images"], env=rl.environment, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE


def test_an_interrupt_ends_with_130_and_no_traceback(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "waited", "--network", "none", image, "sleep", "100")
    process = rl.popen("wait", "waited")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 130
    assert (out, err) == (b"", b"")
