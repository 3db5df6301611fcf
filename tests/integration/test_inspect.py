"""`inspect` of a container: Podman's keys, with values that are true."""

from __future__ import annotations

import pytest

from tests.support.command import Rootless

# What Podman 5.4.2 prints of a container, but for its locks, Kubernetes, systemd and health checks.
PODMAN = {
    "": (
        "AppArmorProfile Args BoundingCaps Config ConmonPidFile Created Dependencies Driver EffectiveCaps "
        "ExecIDs GraphDriver HostConfig HostnamePath HostsPath Id Image ImageDigest ImageName IsInfra "
        "IsService MountLabel Mounts Name Namespace NetworkSettings OCIRuntime Path PidFile Pod ProcessLabel "
        "ResolvConfPath RestartCount Rootfs State StaticDir UseImageHostname UseImageHosts"
    ),
    "State": (
        "CheckpointedAt Dead Error ExitCode FinishedAt OOMKilled OciVersion Paused Pid Restarting RestoredAt "
        "Running StartedAt Status"
    ),
    "NetworkSettings": (
        "Bridge EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen HairpinMode IPAddress IPPrefixLen "
        "IPv6Gateway LinkLocalIPv6Address LinkLocalIPv6PrefixLen MacAddress Networks Ports SandboxID "
        "SandboxKey"
    ),
    "Config": (
        "Annotations AttachStderr AttachStdin AttachStdout Cmd CreateCommand Domainname Entrypoint Env "
        "ExposedPorts Hostname Image Labels OnBuild OpenStdin Passwd StdinOnce StopSignal StopTimeout Timeout "
        "Tty Umask User Volumes WorkingDir"
    ),
    "HostConfig": (
        "Annotations AutoRemove AutoRemoveImage Binds BlkioDeviceReadBps BlkioDeviceReadIOps "
        "BlkioDeviceWriteBps BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CapAdd CapDrop Cgroup "
        "CgroupConf CgroupManager CgroupMode CgroupParent Cgroups ConsoleSize ContainerIDFile CpuCount "
        "CpuPercent CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpuShares CpusetCpus CpusetMems "
        "Devices DiskQuota Dns DnsOptions DnsSearch ExtraHosts GroupAdd HostsFile IOMaximumBandwidth "
        "IOMaximumIOps IpcMode Isolation KernelMemory Links LogConfig Memory MemoryReservation MemorySwap "
        "MemorySwappiness NanoCpus NetworkMode OomKillDisable OomScoreAdj PidMode PidsLimit PortBindings "
        "Privileged PublishAllPorts ReadonlyRootfs RestartPolicy Runtime SecurityOpt ShmSize Tmpfs UTSMode "
        "Ulimits UsernsMode VolumeDriver VolumesFrom"
    ),
}


def test_podmans_keys_are_there(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    found = rl.inspect("c")
    for part, names in PODMAN.items():
        assert set(names.split()) <= (found[part] if part else found).keys()


def test_what_nobody_limits_is_zero(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    template = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.Devices}}"
    assert rl.out("inspect", "-f", template, "c") == "0 0 0 []"
    assert rl.out("inspect", "-f", "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "c") == "none"


def test_the_command_line_that_made_it_and_the_digest_of_its_image(rl: Rootless, image: str) -> None:
    line = ("create", "--name", "c", "--network", "none", "-e", "A=b c", image, "true", "-x")
    rl(*line)
    found = rl.inspect("c")
    assert found["Config"]["CreateCommand"] == ["rootless", *line]
    assert found["ImageDigest"] == rl.inspect_image(image)["Digest"]


@pytest.mark.parametrize(("mode", "address"), [("none", ""), ("slirp4netns", "10.0.2.100")])
def test_the_network_is_listed_under_its_name(rl: Rootless, image: str, mode: str, address: str) -> None:
    rl("run", "-d", "--name", "c", "--network", mode, image, "sleep", "100")
    settings = rl.inspect("c")["NetworkSettings"]
    assert settings["Networks"][mode]["IPAddress"] == settings["IPAddress"] == address
    assert rl.out("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "c") == address


def test_ports_that_are_published_are_exposed(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "-p", "80", "--expose", "53-54/UDP,7", image, "true")
    assert sorted(rl.inspect("c")["Config"]["ExposedPorts"]) == ["53/udp", "54/udp", "7/tcp", "80/tcp"]


@pytest.mark.parametrize("text", ["nonsense", "80/icmp", "nonsense/icmp", "0", "65536", "9-8", "-1", "80-", "/tcp", ""])
def test_what_is_no_port_cannot_be_exposed(rl: Rootless, image: str, text: str) -> None:
    refused = rl("create", "--name", "c", "--expose=" + text, image, "true", check=False)
    assert refused.returncode == 125
    assert refused.stderr.startswith(f'Error: exposing "{text}": ')
    assert rl.out("ps", "-aq") == ""
