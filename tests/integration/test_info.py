"""`info`: Podman's keys, and numbers that are true."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.support.command import Rootless

PODMAN = {
    "host": {
        "arch",
        "cgroupControllers",
        "cgroupManager",
        "cgroupVersion",
        "cpuUtilization",
        "cpus",
        "databaseBackend",
        "distribution",
        "eventLogger",
        "hostname",
        "idMappings",
        "kernel",
        "logDriver",
        "memFree",
        "memTotal",
        "networkBackend",
        "ociRuntime",
        "os",
        "pasta",
        "rootlessNetworkCmd",
        "security",
        "serviceIsRemote",
        "slirp4netns",
        "swapFree",
        "swapTotal",
        "uptime",
        "variant",
    },
    "store": {
        "configFile",
        "containerStore",
        "graphDriverName",
        "graphOptions",
        "graphRoot",
        "graphRootAllocated",
        "graphRootUsed",
        "graphStatus",
        "imageCopyTmpDir",
        "imageStore",
        "runRoot",
        "transientStore",
        "volumePath",
    },
    "plugins": {"authorization", "log", "network", "volume"},
    "version": {"APIVersion", "BuildOrigin", "Built", "BuiltTime", "GitCommit", "GoVersion", "Os", "OsArch", "Version"},
}


def test_json_has_podmans_keys_and_the_facts_of_this_host(fresh: Rootless) -> None:
    facts = json.loads(fresh.out("info", "--format", "json"))
    for section, keys in PODMAN.items():
        assert keys <= facts[section].keys()
    assert facts["host"]["kernel"] == os.uname().release
    assert facts["host"]["idMappings"]["uidmap"][0] == {"container_id": 0, "host_id": os.getuid(), "size": 1}
    assert facts["store"]["graphRoot"] == str(fresh.root)
    assert facts["store"]["runRoot"] == str(fresh.runroot)
    assert facts["store"]["containerStore"] == {"number": 0, "paused": 0, "running": 0, "stopped": 0}
    assert facts["store"]["imageStore"] == {"number": 0}
    assert 0 < facts["store"]["graphRootUsed"] < facts["store"]["graphRootAllocated"]
    assert facts["host"]["slirp4netns"]["executable"] == (shutil.which("slirp4netns") or "")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Host.OS}}", "linux"),
        ("{{.Host.Kernel}}", os.uname().release),
        ("{{.Host.Security.Rootless}}", "true"),
        ("{{.Host.Security.SECCOMPEnabled}}", "true"),
        ("{{.Host.OCIRuntime.Name}}", "rootless"),
        ("{{.Store.ImageStore.Number}}", "0"),
        ("{{.Host.LogDriver}} {{.Host.ServiceIsRemote}}", "k8s-file false"),
        ("{{range .Host.IDMappings.UIDMap}}{{.HostID}} {{break}}{{end}}", f"{os.getuid()} "),
        ("{{(index .Host.IDMappings.GIDMap 0).Size}}", "1"),
    ],
)
def test_templates_use_the_names_of_gos_structures(fresh: Rootless, template: str, expected: str) -> None:
    assert fresh("info", "--format", template).stdout == expected + "\n"


def test_the_version_of_control_groups_goes_by_either_name(fresh: Rootless) -> None:
    found = fresh.out("info", "-f", "{{.Host.CgroupsVersion}}")
    assert found in ("v1", "v2", "none")
    assert fresh.out("info", "-f", "{{.Host.CgroupVersion}}") == found


def test_people_get_yaml(fresh: Rootless) -> None:
    lines = fresh.out("info").splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "host:",
        "plugins:",
        "registries: {}" if "registries: {}" in lines else "registries:",
        "store:",
        "version:",
    ]
    assert "  os: linux" in lines
    assert "    - container_id: 0" in lines
    assert f"  graphRoot: {fresh.root}" in lines
    variant = {"aarch64": "v8", "armv7l": "v7", "armv6l": "v6"}.get(os.uname().machine)
    assert ("  variant: " + (variant or '""')) in lines
    assert "    version: |-" in lines


def test_the_registries_of_the_users_configuration_are_listed(fresh: Rootless) -> None:
    directory = fresh.place / "home" / ".config" / "containers"
    directory.mkdir(parents=True)
    (directory / "registries.conf").write_text(
        'unqualified-search-registries = ["quay.io"]\n[[registry]]\nprefix = "a.example"\nlocation = "b.example"\n'
        "insecure = true\n"
    )
    found = json.loads(fresh.out("info", "--format", "json"))["registries"]
    assert found["search"] == ["quay.io"]
    assert found["a.example"]["Location"] == "b.example"
    assert found["a.example"]["Insecure"] is True


def test_images_are_counted(rl: Rootless) -> None:
    images = set(rl.out("images", "-a", "-q", "--no-trunc").split())
    assert rl.out("info", "--format", "{{.Store.ImageStore.Number}}") == str(len(images))


def test_json_in_a_template_is_that_of_the_format(fresh: Rootless) -> None:
    template = json.loads(fresh.out("info", "--format", "{{json .}}"))
    assert template["host"]["idMappings"] == json.loads(fresh.out("info", "-f", "json"))["host"]["idMappings"]
    assert template.keys() == PODMAN.keys() | {"registries"}
    assert template["host"].keys() >= PODMAN["host"]
    assert "CgroupsVersion" not in template["host"]


def test_a_field_that_there_is_not_is_an_error(fresh: Rootless) -> None:
    for template in ("{{.Bogus}}", "{{.Host.Bogus}}", "{{.Host.Security.Bogus}}"):
        done = fresh("info", "--format", template, check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert ".Bogus" in done.stderr
    assert fresh.out("info", "-f", "{{.Registries.search}}") == "<no value>"  # a map, of which that is a key
