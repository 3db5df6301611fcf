"""Options of `run` and `create` that say what surrounds the process: namespaces, devices, kernel settings, names."""

from __future__ import annotations

from rootless.cli.options import BOOL, CSV, LIST, STR, Option

SURROUNDINGS = (
    Option("--annotation", LIST, "Note something in the runtime's configuration", metavar="KEY=VALUE"),
    Option("--cgroupns", STR, "Whose cgroups it sees: private or host", metavar="WHOSE"),
    Option(
        "--device", LIST, "Give it a device that you may open, or all of a directory", metavar="DEVICE[:PATH][:rwm]"
    ),
    Option("--domainname", STR, "Name of the NIS domain as the container sees it", metavar="NAME"),
    Option("--hostname -h", STR, "Name of the host as the container sees it", metavar="NAME"),
    Option("--hosts-file", STR, "Take names into /etc/hosts from this file (none: from no file)", metavar="FILE"),
    Option("--init", BOOL, "Run a small init as pid 1 that reaps and forwards signals"),
    Option("--init-path", STR, "Run this program as that init", metavar="PROGRAM"),
    Option("--ipc", STR, "Shared memory and queues: private, shareable, none (no /dev/shm) or host", metavar="WHOSE"),
    Option("--label -l", LIST, "Attach a label", metavar="KEY[=VALUE]"),
    Option("--label-file", LIST, "Attach labels from the lines of a file", metavar="FILE"),
    Option("--no-hostname", BOOL, "Leave the image's /etc/hostname alone"),
    Option("--no-hosts", BOOL, "Leave the image's /etc/hosts alone"),
    Option("--pid", STR, "Whose processes it sees: private", metavar="WHOSE"),
    Option("--publish-all -P", BOOL, "Publish every port that the image or --expose names, at one that is free"),
    Option("--rootfs", BOOL, "Use a directory as root file system: name it in place of the image"),
    Option("--sysctl", CSV, "Set a kernel setting of the container's own", metavar="NAME=VALUE"),
    Option("--uts", STR, "Whose host name it has: private or host", metavar="WHOSE"),
)
