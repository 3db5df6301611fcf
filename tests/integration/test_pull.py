"""Pulling from a real registry."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable
from tests.support.faulty import Faulty, Request, send
from tests.support.layers import Packed, index_of, make_image, tar_of
from tests.support.pulling import LINES, OPEN, Write, big, configure, faulty, files_of, registry, small, stored
from tests.support.registry import Registry

__all__ = ["configure", "faulty", "registry"]


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("packing", ["gzip", "zstd", "none"])
def test_every_format_and_packing_is_pulled(fresh: Rootless, registry: Registry, docker: bool, packing: str) -> None:
    image = make_image(
        [tar_of({"a": b"below", "b": b"1"}), tar_of(LINES)], [packing, packing], docker=docker, Env=["A=1"]
    )
    name = registry.push(f"formats/{packing}", image, "docker" if docker else "oci")
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert files_of(fresh, *image.diff_ids) == {"a": b"below", "b": b"1", **LINES}
    shown = fresh.inspect(name)
    assert shown["Digest"] == image.manifest.digest
    kept = [] if packing == "none" else sorted(layer.hex for layer in image.layers)
    assert stored(fresh) == {"layers": sorted(image.diff_ids), "blobs": kept, "tmp": []}


def test_what_skopeo_pushes_runs(fresh: Rootless, registry: Registry, busybox: Path) -> None:
    name = f"{registry.host}/team/busybox:1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{busybox}", f"docker://{name}"], check=True
    )
    image_id = fresh.out("pull", "-q", OPEN, name)
    assert fresh.out("images", "-q", "--no-trunc") == f"sha256:{image_id}"
    assert fresh.out("run", "--rm", "--network", "none", name, "cat", "/etc/group").startswith("root:x:0:")


def test_pulling_by_digest_checks_it_and_gives_no_tag(fresh: Rootless, registry: Registry) -> None:
    image = small()
    registry.push("digests/app", image, "v1")
    name = f"{registry.host}/digests/app@{image.manifest.digest}"
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert fresh.inspect(name)["RepoTags"] == []
    assert fresh.out("pull", "-q", "--policy", "never", name) == image.id
    other = f"{registry.host}/digests/app@sha256:{'0' * 64}"
    failed = fresh("pull", OPEN, other, check=False)
    assert failed.returncode == 125
    assert "has no digests/app with the digest sha256:000" in failed.stderr
    assert "hint: check the digest" in failed.stderr


def test_an_image_that_was_pulled_by_digest_is_listed_and_kept_by_it(fresh: Rootless, registry: Registry) -> None:
    image = small()
    registry.push("pinned/app", image, "v1")
    name = f"{registry.host}/pinned/app@{image.manifest.digest}"
    shown = ("images", "--format", "{{.Repository}} {{.Tag}} {{.Names}} {{.Dangling}}")
    fresh("pull", "-q", OPEN, name)
    assert fresh.out(*shown) == f"{registry.host}/pinned/app <none> [{name}] false"
    assert fresh.out("images", "-q", f"{registry.host}/pinned/app") == image.id[:12]
    assert fresh.out("images", "-q", "--filter", "dangling=true") == fresh.out("image", "prune", "-f") == ""
    fresh("pull", "-q", OPEN, f"{registry.host}/pinned/app:v1")
    assert fresh.out("images", "--format", "{{.Repository}} {{.Tag}}") == f"{registry.host}/pinned/app v1"
    fresh("untag", image.id)
    assert fresh.out("images", "--format", "{{.Repository}} {{.Tag}}") == "<none> <none>"
    assert fresh.out("image", "prune", "-f") == image.id


@pytest.mark.parametrize("docker", [False, True], ids=["index", "list"])
def test_the_platform_is_chosen_from_an_index(fresh: Rootless, registry: Registry, docker: bool) -> None:
    images = {
        f"linux/{architecture}": small(number, architecture=architecture, docker=docker)
        for number, architecture in enumerate(["riscv64", "s390x"])
    }
    ours = small(9, architecture="amd64" if os.uname().machine == "x86_64" else "arm64", docker=docker)
    images[f"linux/{'amd64' if os.uname().machine == 'x86_64' else 'arm64'}"] = ours
    repository = f"platforms/{'docker' if docker else 'oci'}"
    for image in images.values():
        registry.push(repository, image, image.id[:10])
    index = index_of({platform: image.manifest for platform, image in images.items()}, docker)
    registry.push_manifest(repository, "all", index.data, index.media_type)
    name = f"{registry.host}/{repository}:all"
    assert fresh.out("pull", "-q", OPEN, name) == ours.id
    assert fresh.out("pull", "-q", OPEN, "--platform", "linux/s390x", name) == images["linux/s390x"].id
    assert fresh.out("pull", "-q", OPEN, "--arch", "riscv64", name) == images["linux/riscv64"].id
    assert fresh.out("pull", "-q", OPEN, f"{registry.host}/{repository}@{index.digest}") == ours.id
    failed = fresh("pull", OPEN, "--platform", "linux/ppc64le", name, check=False)
    assert failed.returncode == 125
    assert "no image for linux/ppc64le, only for linux/" in failed.stderr


def test_an_image_for_another_processor_is_pulled_with_a_warning(fresh: Rootless, registry: Registry) -> None:
    name = registry.push("platforms/single", small(architecture="s390x"))
    done = fresh("pull", "-q", OPEN, name)
    assert "Warning: " in done.stderr
    assert "is for linux/s390x, not for linux/" in done.stderr


def test_http_is_refused_until_the_lines_of_the_hint_are_in_registries_conf(
    fresh: Rootless, registry: Registry, configure: Write
) -> None:
    image = small()
    name = registry.push("plain/app", image)
    failed = fresh("pull", name, check=False)
    assert failed.returncode == 125
    assert "speaks http, and https was expected" in failed.stderr
    lines = failed.stderr.splitlines()
    start = next(number for number, line in enumerate(lines) if "[[registry]]" in line)
    configure("\n".join(lines[start : start + 3]))
    assert fresh.out("pull", "-q", name) == image.id
    assert "speaks http" in fresh("pull", "--tls-verify=true", name, check=False).stderr


def test_a_mirror_is_asked_first_and_its_failure_is_no_failure(
    fresh: Rootless, registry: Registry, faulty: Faulty, configure: Write
) -> None:
    image, other = small(1), small(2)
    registry.push("mirrored/library/app", image)
    name = registry.push("origin/other", other)
    configure(
        f"""
        [[registry]]
        location = "{registry.host}"
        insecure = true
        [[registry.mirror]]
        location = "{faulty.host}/mirrored"
        insecure = true
        [[registry]]
        prefix = "docker.io"
        location = "{registry.host}/origin"
        insecure = true
        [[registry.mirror]]
        location = "{faulty.host}/mirrored"
        insecure = true
        """
    )
    done = fresh("pull", "app")
    assert done.stdout.strip() == image.id
    assert f"from the mirror {faulty.host}" in done.stderr
    assert fresh.inspect("app")["RepoTags"] == ["docker.io/library/app:latest"]
    assert fresh.out("pull", "-q", name) == other.id
    assert faulty.paths("mirrored/origin/other")


def test_short_names_are_searched_where_registries_conf_says(
    fresh: Rootless, registry: Registry, configure: Write
) -> None:
    image = small()
    registry.push("tools/app", image)
    configure(
        f"""
        unqualified-search-registries = ["{registry.host}/nowhere", "{registry.host}/tools"]
        [[registry]]
        location = "{registry.host}"
        insecure = true
        [aliases]
        short = "{registry.host}/tools/app"
        """
    )
    assert fresh.out("pull", "-q", "app") == image.id
    assert fresh.out("pull", "-q", "short") == image.id
    assert fresh.inspect(image.id)["RepoTags"] == [f"{registry.host}/tools/app:latest"]
    failed = fresh("pull", "absent", check=False)
    assert failed.returncode == 125
    assert "none of 2 places has given it" in failed.stderr


def test_an_unknown_image_and_an_unreachable_registry_are_told_apart(fresh: Rootless, registry: Registry) -> None:
    failed = fresh("pull", OPEN, f"{registry.host}/no/such:thing", check=False)
    assert failed.returncode == 125
    assert f"{registry.host} has no no/such with the tag thing" in failed.stderr
    failed = fresh("pull", OPEN, "127.0.0.1:1/x", check=False, timeout=10)
    assert failed.returncode == 125
    assert "asking 127.0.0.1:1 for the manifest: connection refused" in failed.stderr
    failed = fresh("pull", "registry.invalid/x", check=False, timeout=20)
    assert failed.returncode == 125
    assert "registry.invalid cannot be resolved" in failed.stderr


def test_nothing_that_is_here_is_fetched_again(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    first, second = small(1), make_image([tar_of({"layer-0": b"1.0", **LINES}), tar_of({"new": b"n"})])
    assert first.diff_ids[0] == second.diff_ids[0]
    registry.push("cached/app", first, "1")
    registry.push("cached/app", second, "2")
    fresh("pull", OPEN, f"{faulty.host}/cached/app:1")
    faulty.requests.clear()
    fresh("pull", OPEN, f"{faulty.host}/cached/app:1")
    assert not faulty.paths("/blobs/")
    done = fresh("pull", OPEN, f"{faulty.host}/cached/app:2")
    assert f"Layer {first.layers[0].hex[:12]}: already here" in done.stderr
    assert {request.path.rpartition("/")[2] for request in faulty.paths("/blobs/")} == {
        second.config.digest,
        second.layers[1].digest,
    }


def test_policies(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    old, new = small(1), small(2)
    registry.push("policies/app", old)
    name = f"{faulty.host}/policies/app"
    failed = fresh("pull", "--policy", "never", name, check=False)
    assert failed.returncode == 125
    assert "no such image here" in failed.stderr
    assert fresh.out("pull", "-q", OPEN, "--policy", "missing", name) == old.id
    registry.push("policies/app", new)
    faulty.requests.clear()
    assert fresh.out("pull", "-q", OPEN, "--policy", "missing", name) == old.id
    assert not faulty.requests
    assert fresh.out("pull", "-q", OPEN, "--policy", "newer", name) == new.id
    assert fresh.inspect(old.id)["RepoTags"] == []
    faulty.stop()
    assert fresh.out("pull", "-q", OPEN, "--policy", "newer", name) == new.id
    assert fresh("pull", "-q", OPEN, "--policy", "always", name, check=False).returncode == 125


def test_several_images_are_pulled_and_one_failure_does_not_stop_the_others(
    fresh: Rootless, registry: Registry
) -> None:
    first, last = small(1), small(2)
    names = [registry.push("several/a", first), f"{registry.host}/several/absent", registry.push("several/b", last)]
    done = fresh("pull", "-q", OPEN, *names, check=False)
    assert done.returncode == 125
    assert done.stdout.split() == [first.id, last.id]
    assert done.stderr.count("Error: ") == 1


def test_many_layers_are_pulled_in_batches(fresh: Rootless, registry: Registry) -> None:
    image = make_image([tar_of({f"f{number}": b"%d" % number}) for number in range(60)])
    name = registry.push("many/app", image)
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert files_of(fresh, *image.diff_ids) == {f"f{number}": b"%d" % number for number in range(60)}


def test_layers_that_occur_twice_are_fetched_once(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    tar = tar_of(LINES)
    image = make_image([tar, tar_of({"x": b""}), tar])
    registry.push("repeated/app", image)
    assert fresh.out("pull", "-q", OPEN, f"{faulty.host}/repeated/app") == image.id
    assert len(faulty.paths(image.layers[0].digest)) == 1


def test_memory_does_not_grow_with_the_layers(fresh: Rootless, registry: Registry) -> None:
    image = make_image([tar_of({"zeros": b"\0" * (200 << 20)})])
    name = registry.push("memory/app", image)
    limited = ["prlimit", f"--as={600 << 20}", "/bin/sh", "-c", 'exec "$@"', "sh"]
    done = subprocess.run(
        [*limited, executable(), "pull", "-q", OPEN, name], env=fresh.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == image.id


def test_a_hard_link_to_a_lower_layer_is_pulled_whole(fresh: Rootless, registry: Registry) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("etc/issue")
        link.type, link.linkname = tarfile.LNKTYPE, "etc/motd"
        tar.addfile(link)
    image = make_image([tar_of(LINES), out.getvalue()])
    assert fresh.out("pull", "-q", OPEN, registry.push("links/app", image)) == image.id
    assert files_of(fresh, image.diff_ids[1])["etc/issue"] == LINES["etc/motd"]


def test_progress_is_lines_where_there_is_no_terminal(fresh: Rootless, registry: Registry) -> None:
    image = small(800)
    name = registry.push("progress/app", image)
    done = fresh("pull", OPEN, name)
    assert done.stderr.splitlines()[0] == f"Trying to pull {name}..."
    assert sorted(done.stderr.splitlines()[1:]) == sorted(
        f"Layer {layer.hex[:12]}: {len(layer.data)} B" for layer in image.layers
    )
    assert "\x1b" not in done.stderr


def test_progress_is_a_bar_on_a_terminal(fresh: Rootless, registry: Registry) -> None:
    image = big(810)
    name = registry.push("progress/bar", image)
    master, slave = pty.openpty()
    process = fresh.popen("pull", OPEN, name, stderr=slave, env={"TERM": "xterm"})
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # what a terminal says when nobody has it open any more
            break
        if not piece:
            break
        seen += piece
    out, _ = process.communicate()
    os.close(master)
    assert process.returncode == 0
    assert out.decode().strip() == image.id
    assert image.layers[0].hex[:12].encode() in seen
    assert b"3.1/3.1 MB" in seen
    assert b"\x1b[?25h" in seen  # the cursor is shown again


def test_a_proxy_is_used_where_the_environment_names_one(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = small(820)
    registry.push("proxied/app", image)

    def forward(handler: BaseHTTPRequestHandler, request: Request) -> None:
        request.path = request.path.removeprefix("http://registry.test:8080")
        found = faulty.fetch(request)
        send(handler, found.status, found.data, dict(found.headers))

    faulty.rule("^http://registry.test:8080/", forward, times=-1)
    name = "registry.test:8080/proxied/app"
    failed = fresh("pull", "-q", OPEN, name, check=False)
    assert "registry.test cannot be resolved" in failed.stderr
    done = fresh("pull", "-q", OPEN, name, env={"http_proxy": f"http://{faulty.host}"})
    assert done.stdout.strip() == image.id
    failed = fresh("pull", name, env={"https_proxy": "http://127.0.0.1:1"}, check=False)
    assert failed.returncode == 125
    assert "proxy" in failed.stderr
    done = fresh("pull", "-q", OPEN, f"{registry.host}/proxied/app", env={"http_proxy": "http://127.0.0.1:1"})
    assert done.stdout.strip() == image.id


def test_a_manifest_without_layers_is_an_empty_image(fresh: Rootless, registry: Registry) -> None:
    image = make_image([])
    assert isinstance(image.manifest, Packed)
    assert fresh.out("pull", "-q", OPEN, registry.push("empty/app", image)) == image.id


def test_transports_that_cannot_be_read_are_refused_with_the_way_to_go(fresh: Rootless) -> None:
    for text, way in (
        ("docker-daemon:alpine:1", "docker save alpine:1 | rootless load"),
        ("sif:/tmp/x", "oci-archive"),
    ):
        failed = fresh("pull", text, check=False)
        assert failed.returncode == 125
        assert way in failed.stderr
