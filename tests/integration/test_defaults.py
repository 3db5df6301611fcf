"""containers.conf: what it says where the command line says nothing."""

from __future__ import annotations

from pathlib import Path

from tests.support.command import Rootless

NONE = ("--network", "none")
SCRIPT = "echo $FROM_CONF; umask; ulimit -n"


def conf(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_users_file_gives_way_to_options(rl: Rootless, image: str) -> None:
    place = Path(rl.environment["HOME"]) / ".config" / "containers"
    main, drop_in = place / "containers.conf", place / "containers.conf.d" / "50.conf"
    try:
        conf(
            main,
            '[containers]\nenv = ["FROM_CONF=1", "PATH=/nowhere"]\numask = "0027"\n'
            'default_ulimits = ["nofile=100:200"]\nannotations = ["a=b"]\ntz = ""\n[engine]\nstop_timeout = 3\n',
        )
        assert rl.out("run", "--rm", *NONE, image, "sh", "-c", SCRIPT).split() == ["1", "0027", "100"]
        given = ("-e", "FROM_CONF=2", "--umask", "0022", "--ulimit", "nofile=50:60")
        assert rl.out("run", "--rm", *NONE, *given, image, "sh", "-c", SCRIPT).split() == ["2", "0022", "50"]
        conf(drop_in, '[containers]\numask = "0077"\n')
        assert rl.out("run", "--rm", *NONE, image, "sh", "-c", SCRIPT).split() == ["1", "0077", "100"]
        rl("create", "--name", "c", image)
        found = rl.inspect("c")["Config"]
        assert found["StopTimeout"] == 3
        assert found["Annotations"]["a"] == "b"
        rl("rm", "c")
        conf(main, "")
        drop_in.unlink()
        assert rl.out("run", "--rm", *NONE, image, "sh", "-c", "umask").split() == ["0022"]
    finally:
        main.unlink(missing_ok=True)
        drop_in.unlink(missing_ok=True)


def test_files_named_by_the_environment(rl: Rootless, image: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.conf", tmp_path / "other.conf"
    one.write_text('[containers]\numask = "0007"\n')
    other.write_text('[containers]\numask = "0070"\n')
    env = {"CONTAINERS_CONF": str(one)}
    assert rl.out("run", "--rm", *NONE, image, "sh", "-c", "umask", env=env) == "0007"
    env["CONTAINERS_CONF_OVERRIDE"] = str(other)
    assert rl.out("run", "--rm", *NONE, image, "sh", "-c", "umask", env=env) == "0070"


def test_a_file_that_is_wrong_is_named(rl: Rootless, image: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.conf"
    for text, said in (
        ("[containers]\numask = 22\n", "umask"),
        ("[containers\n", "line 1"),
        ("[containers]\nenv = [1]\n", "env"),
    ):
        file.write_text(text)
        done = rl("create", image, env={"CONTAINERS_CONF": str(file)}, check=False)
        assert done.returncode == 125
        assert str(file) in done.stderr
        assert said in done.stderr
    assert rl.out("ps", "-aq") == ""
