"""Options that limit what a container uses, of `run`, `create` and `update`, and those that say where its control group
lies."""

from __future__ import annotations

from rootless.cli.options import BOOL, INT, LIST, STR, UINT, Option

LIMITS = (
    Option("--blkio-weight", UINT, "Its share of disks, from 10 to 1000", metavar="WEIGHT"),
    Option("--blkio-weight-device", LIST, "Its share of one disk", metavar="DEVICE:WEIGHT"),
    Option("--cpu-period", UINT, "Period of the processor quota, in microseconds", metavar="TIME"),
    Option("--cpu-quota", INT, "Processor time in each period, in microseconds (-1: no limit)", metavar="TIME"),
    Option("--cpu-shares -c", UINT, "Its share of the processors, from 2 to 262144 (1024)", metavar="SHARES"),
    Option("--cpus", STR, "How many processors it may use (0: no limit)", metavar="NUMBER"),
    Option("--cpuset-cpus", STR, "Which processors it may use, like 0-2,4", metavar="LIST"),
    Option("--cpuset-mems", STR, "Which memory nodes it may use, like 0,1", metavar="LIST"),
    Option("--device-read-bps", LIST, "Bytes that it may read from a disk in a second", metavar="DEVICE:SIZE"),
    Option("--device-read-iops", LIST, "Reads from a disk in a second", metavar="DEVICE:NUMBER"),
    Option("--device-write-bps", LIST, "Bytes that it may write to a disk in a second", metavar="DEVICE:SIZE"),
    Option("--device-write-iops", LIST, "Writes to a disk in a second", metavar="DEVICE:NUMBER"),
    Option("--memory -m", STR, "Memory that it may use (0: no limit)", metavar="SIZE"),
    Option("--memory-reservation", STR, "Memory that is taken from it last", metavar="SIZE"),
    Option("--memory-swap", STR, "Memory and swap together (-1: no limit on swap)", metavar="SIZE"),
    Option("--memory-swappiness", INT, "Refused: control groups of version 2 have none", metavar="NUMBER"),
    Option("--pids-limit", INT, "Processes and threads that it may have (-1: no limit)", metavar="NUMBER"),
)

CONFINEMENT = (
    *LIMITS,
    Option("--cgroup-conf", LIST, "Write a file of its control group", metavar="FILE=VALUE"),
    Option("--cgroup-parent", STR, "Where its control group lies: a group, or a slice of systemd", metavar="PARENT"),
    Option("--cgroups", STR, "Whether it has a control group: enabled, disabled, no-conmon or split", metavar="HOW"),
    Option("--oom-kill-disable", BOOL, "Refused: control groups of version 2 have no such setting"),
)
