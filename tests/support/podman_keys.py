"""The keys that podman 5.4.2 prints, recorded from it with the types of their values.

Left out is what only Podman has: its numbers of locks, and what it does for Kubernetes and systemd.
"""

from __future__ import annotations

from typing import Any

CONTAINER = {
    "str": (
        "AppArmorProfile Config.Domainname Config.HealthLogDestination Config.HealthcheckOnFailureAction "
        "Config.Hostname Config.Image Config.StopSignal Config.Umask Config.User Config.WorkingDir ConmonPidFile "
        "Created Driver GraphDriver.Name HostConfig.Cgroup HostConfig.CgroupManager HostConfig.CgroupMode "
        "HostConfig.CgroupParent HostConfig.Cgroups HostConfig.ContainerIDFile HostConfig.CpusetCpus "
        "HostConfig.CpusetMems HostConfig.HostsFile HostConfig.IpcMode HostConfig.Isolation HostConfig.LogConfig.Path "
        "HostConfig.LogConfig.Size HostConfig.LogConfig.Tag HostConfig.LogConfig.Type HostConfig.NetworkMode "
        "HostConfig.PidMode HostConfig.RestartPolicy.Name HostConfig.Runtime HostConfig.UTSMode HostConfig.UsernsMode "
        "HostConfig.VolumeDriver HostnamePath HostsPath Id Image ImageDigest ImageName MountLabel Name Namespace "
        "NetworkSettings.Bridge NetworkSettings.EndpointID NetworkSettings.Gateway NetworkSettings.GlobalIPv6Address "
        "NetworkSettings.IPAddress NetworkSettings.IPv6Gateway NetworkSettings.LinkLocalIPv6Address "
        "NetworkSettings.MacAddress NetworkSettings.Networks.*.EndpointID NetworkSettings.Networks.*.Gateway "
        "NetworkSettings.Networks.*.GlobalIPv6Address NetworkSettings.Networks.*.IPAddress "
        "NetworkSettings.Networks.*.IPv6Gateway NetworkSettings.Networks.*.MacAddress "
        "NetworkSettings.Networks.*.NetworkID NetworkSettings.SandboxID NetworkSettings.SandboxKey OCIConfigPath "
        "OCIRuntime Path PidFile Pod ProcessLabel ResolvConfPath Rootfs State.CheckpointedAt State.Error "
        "State.FinishedAt State.Health.Status State.OciVersion State.RestoredAt State.StartedAt State.Status "
        "StaticDir"
    ),
    "list": (
        "Args BoundingCaps Config.Cmd Config.CreateCommand Config.Env Config.Healthcheck.Test Dependencies "
        "EffectiveCaps ExecIDs HostConfig.Binds HostConfig.CapAdd HostConfig.CapDrop HostConfig.ConsoleSize "
        "HostConfig.Devices HostConfig.Dns HostConfig.DnsOptions HostConfig.DnsSearch HostConfig.ExtraHosts "
        "HostConfig.GroupAdd HostConfig.SecurityOpt HostConfig.Ulimits Mounts State.Health.Log"
    ),
    "bool": (
        "Config.AttachStderr Config.AttachStdin Config.AttachStdout Config.OpenStdin Config.Passwd Config.StdinOnce "
        "Config.Tty HostConfig.AutoRemove HostConfig.AutoRemoveImage HostConfig.OomKillDisable HostConfig.Privileged "
        "HostConfig.PublishAllPorts HostConfig.ReadonlyRootfs IsInfra IsService NetworkSettings.HairpinMode "
        "State.Dead State.OOMKilled State.Paused State.Restarting State.Running UseImageHostname UseImageHosts"
    ),
    "int": (
        "Config.Healthcheck.Interval Config.Healthcheck.Retries Config.Healthcheck.Timeout "
        "Config.HealthcheckMaxLogCount Config.HealthcheckMaxLogSize Config.StopTimeout Config.Timeout "
        "HostConfig.BlkioWeight HostConfig.CpuCount HostConfig.CpuPercent HostConfig.CpuPeriod HostConfig.CpuQuota "
        "HostConfig.CpuRealtimePeriod HostConfig.CpuRealtimeRuntime HostConfig.CpuShares HostConfig.DiskQuota "
        "HostConfig.IOMaximumBandwidth HostConfig.IOMaximumIOps HostConfig.KernelMemory HostConfig.Memory "
        "HostConfig.MemoryReservation HostConfig.MemorySwap HostConfig.MemorySwappiness HostConfig.NanoCpus "
        "HostConfig.OomScoreAdj HostConfig.PidsLimit HostConfig.RestartPolicy.MaximumRetryCount HostConfig.ShmSize "
        "NetworkSettings.GlobalIPv6PrefixLen NetworkSettings.IPPrefixLen NetworkSettings.LinkLocalIPv6PrefixLen "
        "NetworkSettings.Networks.*.GlobalIPv6PrefixLen NetworkSettings.Networks.*.IPPrefixLen RestartCount "
        "State.ConmonPid State.ExitCode State.Health.FailingStreak State.Pid"
    ),
    "dict": (
        "Config.Annotations Config.Labels HostConfig.Annotations HostConfig.PortBindings HostConfig.Tmpfs "
        "NetworkSettings.Ports"
    ),
    "null": (
        "Config.Entrypoint Config.OnBuild Config.Volumes HostConfig.BlkioDeviceReadBps HostConfig.BlkioDeviceReadIOps "
        "HostConfig.BlkioDeviceWriteBps HostConfig.BlkioDeviceWriteIOps HostConfig.BlkioWeightDevice "
        "HostConfig.CgroupConf HostConfig.Links HostConfig.LogConfig.Config HostConfig.VolumesFrom "
        "NetworkSettings.Networks.*.DriverOpts NetworkSettings.Networks.*.IPAMConfig NetworkSettings.Networks.*.Links"
    ),
}

IMAGE = {
    "str": (
        "Architecture Author Comment Created Digest GraphDriver.Name Id ManifestType Os Parent RootFS.Type User Version"
    ),
    "list": ("Config.Cmd History NamesHistory RepoDigests RepoTags RootFS.Layers"),
    "dict": ("Annotations Config.Labels Labels"),
    "int": ("Size VirtualSize"),
}

LISTED = {
    "bool": ("AutoRemove Exited IsInfra"),
    "list": ("Command Mounts Names Networks"),
    "str": ("CIDFile CreatedAt Id Image ImageID Pod PodName State Status"),
    "int": ("Created ExitCode ExitedAt Pid Restarts StartedAt"),
    "null": ("ExposedPorts Ports"),
    "dict": ("Labels Namespaces Size"),
}


def check(found: dict[str, Any], recorded: dict[str, str]) -> None:
    """Assert that every recorded key is there with a value of its type; null may be anything."""
    for kind, paths in recorded.items():
        for path in paths.split():
            value: Any = found
            for name in path.split("."):
                value = next(iter(value.values())) if name == "*" else value[name]
            assert kind == "null" or type(value).__name__ == kind, (path, value)
