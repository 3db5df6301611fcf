"""The verbs for containers as a user meets them: what they print, and how they end."""

from __future__ import annotations

import json

import pytest

from tests.support.command import Rootless, wait_until


@pytest.fixture
def web(rl: Rootless, image: str) -> str:
    """A running container with labels and variables."""
    return rl.out(
        "run", "-d", "--name", "web", "--network", "none", "-e", "A=b", "-l", "tier=front", image, "sh", "-c",
        "echo out; echo err >&2; exec sleep 1000",
    )  # fmt: skip


def test_ps_shows_podmans_columns(rl: Rootless, web: str) -> None:
    heading, line = rl.out("ps").splitlines()
    assert heading.split("  ")[0] == "CONTAINER ID"
    assert heading.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert line.startswith(web[:12] + "  docker.io/library/busybox:latest  sh -c echo out; e...  ")
    assert "  Up " in line
    assert line.endswith("  web")
    (bare,) = rl.out("ps", "--noheading").splitlines()
    assert (bare[:12], bare[-5:]) == (web[:12], "  web")
    assert rl.out("ps", "-q") == web[:12]
    assert rl.out("ps", "-q", "--no-trunc") == web
    assert "exec sleep 1000" in rl.out("ps", "--no-trunc")


def test_ps_shows_stopped_containers_only_when_asked(rl: Rootless, image: str) -> None:
    rl("run", "--name", "done", "--network", "none", image, "sh", "-c", "exit 3", check=False)
    rl("create", "--name", "fresh", image, "true")
    assert rl.out("ps", "-q") == ""
    names = ["ps", "--format", "{{.Names}} {{.State}}"]
    assert rl.out(*names, "-a").splitlines() == ["done exited", "fresh created"]
    assert rl.out(*names, "--latest") == "fresh created"
    assert rl.out(*names, "--last", "2").splitlines() == ["done exited", "fresh created"]
    assert rl.out(*names, "--filter", "status=exited") == "done exited"
    assert rl.out(*names, "-a", "--sort", "status").splitlines() == ["fresh created", "done exited"]
    assert rl.out("ps", "-a", "--filter", "name=done", "--format", "{{.Status}}").startswith("Exited (3) ")


def test_ps_formats(rl: Rootless, web: str) -> None:
    assert rl.out("ps", "--format", r"{{.ID}}\t{{.Names}}") == f"{web[:12]}\tweb"
    assert rl.out("ps", "--format", "table {{.ID}} {{.Image}}").splitlines() == [
        "CONTAINER ID  IMAGE",
        f"{web[:12]}  docker.io/library/busybox:latest",
    ]
    assert rl.out("ps", "--format", '{{.Label "tier"}} {{join .Names ","}} {{.Labels}}') == "front web map[tier:front]"
    assert rl.out("ps", "--format", "table").split()[:2] == ["CONTAINER", "ID"]
    (listed,) = json.loads(rl.out("ps", "--format", "json"))
    assert listed["Id"] == web
    assert listed["Names"] == ["web"]
    assert listed["State"] == "running"
    assert listed["Labels"] == {"tier": "front"}
    assert listed["Pid"] == rl.inspect("web")["State"]["Pid"]
    failed = rl("ps", "--format", "{{.Nmes}}", check=False)
    assert failed.returncode == 125
    assert failed.stderr == "Error: template: there is no field .Nmes\nhint: did you mean .Names?\n"


def test_json_in_a_template_is_that_of_the_format(rl: Rootless, image: str, web: str) -> None:
    line = json.loads(rl.out("ps", "-a", "--format", "{{json .}}"))
    listed = json.loads(rl.out("ps", "-a", "--format", "json"))[0]
    for moving in ("CreatedAt", "Status"):
        line.pop(moving), listed.pop(moving)
    assert line == listed
    shown = json.loads(rl.out("images", "--format", "{{json .}}", image))
    assert (shown["Names"], shown["repository"], shown["tag"]) == ([image], image.removesuffix(":latest"), "latest")
    steps = rl.out("history", "--format", "{{json .}}", image).splitlines()
    assert [json.loads(step) for step in steps] == json.loads(rl.out("history", "--format", "json", image))
    assert json.loads(rl.out("version", "--format", "{{json .Client}}"))["Os"] == "linux"
    assert json.loads(rl.out("inspect", "--format", "{{json .}}", image))["Id"] == shown["Id"]


def test_inspect_formats(rl: Rootless, web: str) -> None:
    pid = rl.out("inspect", "--format", "{{.State.Pid}}", "web")
    assert int(pid) > 1
    assert rl.out("inspect", "-f", "{{.Id}} {{.ID}}", web[:8]) == f"{web} {web}"
    assert rl.out("inspect", "-f", "{{if .State.Running}}up{{end}}", "web") == "up"
    assert rl.out("inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", "web").splitlines().count("A=b") == 1
    assert json.loads(rl.out("inspect", "-f", "{{json .Config.Labels}}", "web"))["tier"] == "front"
    (found,) = json.loads(rl.out("container", "inspect", "web"))
    assert found["Name"] == "web"
    kinds = json.loads(rl.out("inspect", "web", "busybox"))
    assert "State" in kinds[0]
    assert "RepoTags" in kinds[1]


def test_inspect_prints_what_it_finds_and_tells_the_rest(rl: Rootless, web: str) -> None:
    done = rl("inspect", "web", "nobody", check=False)
    assert done.returncode == 125
    assert json.loads(done.stdout)[0]["Id"] == web
    assert done.stderr.startswith('Error: no such object: "nobody"\n')
    assert rl("inspect", "nobody", check=False).stdout == "[]\n"
    assert rl("inspect", "--type", "container", "busybox", check=False).returncode == 125


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["rm", "nobody"], 1),
        (["rm", "-f", "nobody"], 0),
        (["rm", "-i", "nobody"], 0),
        (["stop", "nobody"], 125),
        (["stop", "-i", "nobody"], 0),
        (["start", "nobody"], 125),
        (["kill", "nobody"], 125),
        (["logs", "nobody"], 125),
        (["wait", "nobody"], 125),
        (["port", "nobody"], 125),
        (["attach", "nobody"], 125),
        (["exec", "nobody", "true"], 125),
        (["inspect", "nobody"], 125),
        (["container", "exists", "nobody"], 1),
        (["run", "--pull", "never", "nobody/nothing", "true"], 125),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes_where_there_is_no_such_container(rl: Rootless, words: list[str], code: int) -> None:
    done = rl(*words, check=False)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_running_container_is_not_removed_by_itself(rl: Rootless, web: str) -> None:
    done = rl("rm", "web", check=False)
    assert done.returncode == 2
    assert "rootless stop web" in done.stderr
    assert rl("container", "exists", "web").returncode == 0
    assert rl.out("rm", "-f", "-t", "0", "web") == "web"


def test_one_failure_does_not_keep_the_others_from_their_turn(rl: Rootless, image: str) -> None:
    for name in ("one", "two"):
        rl("create", "--name", name, image, "true")
    done = rl("rm", "one", "nobody", "two", check=False)
    assert done.stdout == "one\ntwo\n"
    assert done.returncode == 1
    assert "nobody" in done.stderr


def test_several_containers_stop_side_by_side(rl: Rootless, image: str) -> None:
    ignores_term = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    for name in ("a", "b", "c"):
        rl("run", "-d", "--name", name, "--network", "none", image, *ignores_term)
    stop = rl.popen("stop", "-t", "600", "a", "b", "c")
    wait_until(lambda: len(rl.out("ps", "-q", "--filter", "status=stopping").split()) == 3, what="all at once")
    rl("kill", "c", "b", "a")
    assert stop.communicate(timeout=30)[0].split() == [b"a", b"b", b"c"]
    assert rl.out("wait", "a", "b", "c") == "137\n137\n137"
    assert rl.out("stop", "--all") == ""


def test_logs_go_where_they_came_from(rl: Rootless, web: str) -> None:
    done = rl("logs", "web")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert rl("logs", "--names", "web").stdout == "web out\n"
    assert rl("logs", "web", web[:12]).stdout == f"{web[:12]} out\n" * 2


def test_naming_nothing_or_too_much_is_told(rl: Rootless) -> None:
    for verb in ("stop", "start", "rm", "kill", "logs", "wait", "restart"):
        done = rl(verb, check=False)
        assert done.returncode == 125
        assert done.stderr.startswith(f"Error: {verb}: no container is named\nhint: usage: rootless {verb} ")
    assert (
        rl("stop", "--all", "x", check=False).stderr
        == "Error: stop: --all and the name of a container exclude each other\n"
    )
    assert rl("start", "--latest", "x", check=False).returncode == 125


def test_options_behind_the_image_belong_to_the_command(rl: Rootless, image: str) -> None:
    assert rl.out("run", "--rm", "--network=none", image, "echo", "-n", "--rm", "--", "-x") == "--rm -- -x"
    assert rl.out("run", "--rm=true", "--network", "none", "--", image, "echo", "a b") == "a b"
    rl("run", "-d", "--name=target", "--network=none", image, "sleep", "100")
    assert rl.out("exec", "-e", "X=1", "target", "sh", "-c", "echo $X -e") == "1 -e"


def test_variables_are_taken_from_the_environment(rl: Rootless, image: str) -> None:
    words = ["run", "--rm", "--network=none", "-e", "FOO", "-e", "ABSENT", "-eBAR=x y", image, "env"]
    variables = rl.out(*words, env={"FOO": "from here"}).splitlines()
    assert "FOO=from here" in variables
    assert "BAR=x y" in variables
    assert not [line for line in variables if line.startswith("ABSENT")]


def test_a_file_keeps_the_id(rl: Rootless, image: str, tmp_path: object) -> None:
    path = f"{tmp_path}/id"
    made = rl.out("create", "--cidfile", path, image, "true")
    with open(path) as file:
        assert file.read() == made
    assert rl.out("rm", "--cidfile", path) == made


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tag", "nothing", "x"], 125),
        (["history", "nothing"], 125),
        (["image", "inspect", "nothing"], 125),
        (["rmi", "nothing"], 1),
        (["rmi", "-i", "nothing"], 0),
        (["image", "exists", "nothing"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes_where_there_is_no_such_image(rl: Rootless, words: list[str], code: int) -> None:
    assert rl(*words, check=False).returncode == code


def test_ps_counts_sizes_when_asked(rl: Rootless, image: str) -> None:
    rl("run", "--name", "big", "--network", "none", image, "sh", "-c", "head -c 100000 /dev/zero > /file")
    assert "SIZE" not in rl.out("ps", "-a")
    assert "  100kB (virtual " in rl.out("ps", "-as").splitlines()[1]
    (listed,) = json.loads(rl.out("ps", "-as", "--format", "json"))
    assert listed["Size"]["rwSize"] == 100000


def test_a_pull_that_a_run_needs_is_shown_unless_quiet(rl: Rootless) -> None:
    words = ["--network", "none", "localhost:1/nothing", "true"]
    assert rl("run", *words, check=False).stderr.startswith("Trying to pull localhost:1/nothing:latest")
    assert rl("run", "-q", *words, check=False).stderr.startswith("Error: ")
