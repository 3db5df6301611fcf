"""Options of `run` and `create`."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, CSV, LIST, STR, UINT, Argument, Command, Option
from rootless.cli.tables import create_process, health, lifespan, limits

PULL = ("always", "missing", "never", "newer")
IMAGE_VOLUMES = ("anonymous", "bind", "tmpfs", "ignore")

# Namespaces, devices, kernel settings, names.
_SURROUNDINGS = (
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
_SHARED = (
    Option("--add-host", LIST, "Add a line to /etc/hosts", metavar="NAME:IP"),
    Option("--arch", STR, "Take the image for this architecture", metavar="ARCH"),
    Option("--authfile", STR, "Take credentials for pulling from this file", metavar="FILE"),
    Option("--cap-add", CSV, "Give a capability", metavar="CAPABILITY"),
    Option("--cap-drop", CSV, "Take a capability away", metavar="CAPABILITY"),
    Option("--cidfile", STR, "Write the container's id to this file", metavar="FILE"),
    Option("--dns", CSV, "Ask this name server", metavar="ADDRESS"),
    Option("--dns-option --dns-opt", CSV, "Set an option in /etc/resolv.conf", metavar="OPTION"),
    Option("--dns-search", CSV, "Complete names with this domain", metavar="DOMAIN"),
    Option(
        "--entrypoint", STR, "Run this instead of the image's entry point (a command or a JSON list)", metavar="COMMAND"
    ),
    Option("--expose", CSV, "Note that the container listens on this port", metavar="PORT[/PROTOCOL]"),
    Option(
        "--image-volume",
        CHOICE,
        "What the image's VOLUMEs become: anonymous (or bind), tmpfs, ignore",
        "anonymous",
        "HOW",
        IMAGE_VOLUMES,
    ),
    Option("--interactive -i", BOOL, "Keep standard input open"),
    Option("--log-driver", STR, "Where output is kept", metavar="DRIVER"),
    Option("--log-opt", LIST, "Set an option of the log driver", metavar="KEY=VALUE"),
    Option("--mount", LIST, "Mount a bind, volume, tmpfs, ramfs, image, devpts or glob", metavar="type=TYPE,KEY=VALUE"),
    Option("--name", STR, "Name of the container", metavar="NAME"),
    Option("--network --net", STR, "Network: slirp4netns[:OPTIONS], host or none", metavar="NETWORK"),
    Option("--os", STR, "Take the image for this operating system", metavar="OS"),
    Option("--platform", STR, "Take the image for this platform", metavar="OS/ARCH[/VARIANT]"),
    Option("--privileged", BOOL, "All capabilities that the user namespace has, and no masked paths"),
    Option("--publish -p", LIST, "Make a port of the container reachable", metavar="[[IP:]HOSTPORT:]PORT[/PROTOCOL]"),
    Option("--pull", CHOICE, "When to pull: always, missing, never or newer", "missing", "WHEN", PULL),
    Option("--quiet -q", BOOL, "Say nothing while pulling"),
    Option("--read-only", BOOL, "Make the root file system read-only"),
    Option("--read-only-tmpfs", BOOL, "With --read-only: leave /dev, /dev/shm, /run, /tmp, /var/tmp writable", True),
    Option("--retry", UINT, "Times to try a pull again after a failure", metavar="NUMBER"),
    Option("--retry-delay", STR, "Time between tries", metavar="TIME"),
    Option("--rm", BOOL, "Remove the container when it has ended"),
    Option(
        "--security-opt", LIST, "Set a security option (seccomp=, no-new-privileges, mask=, unmask=)", metavar="OPTION"
    ),
    Option("--shm-size", STR, "Size of /dev/shm", metavar="SIZE"),
    Option("--tls-verify", BOOL, "Ask for https and a valid certificate when pulling", None),
    Option("--tmpfs", LIST, "Mount a file system in memory", metavar="PATH[:OPTIONS]"),
    Option("--tty -t", BOOL, "Give the container a terminal"),
    Option("--variant", STR, "Take the image for this variant of the architecture", metavar="VARIANT"),
    Option("--volume -v", LIST, "Mount a directory or a volume", metavar="SOURCE:PATH[:OPTIONS]"),
    Option("--volumes-from", LIST, "Mount what another container mounts", metavar="CONTAINER[:ro]"),
    Option("--workdir -w", STR, "Directory to start in", metavar="DIR"),
    *create_process.PROCESS,
    *_SURROUNDINGS,
    *health.CHECKS,
    *lifespan.SHARED,
    *limits.CONFINEMENT,
)

_IMAGE = (Argument("image", completes="image"), Argument("command", ANY, "COMMAND..."))

TABLE = {
    "create": Command(
        "create",
        "Make a container and leave it stopped.",
        _SHARED,
        _IMAGE,
        stops=True,
        examples=("rootless create --name web -p 8080:80 httpd", "rootless start web"),
    ),
    "run": Command(
        "run",
        "Make a container and run it.",
        (
            *_SHARED,
            *lifespan.RUN_ONLY,
            *create_process.RUN_ONLY,
            Option("--detach -d", BOOL, "Leave it running and print its id"),
            Option("--detach-keys", STR, "Keys that leave a terminal without ending the container", metavar="KEYS"),
            Option("--preserve-fd", CSV, "Give it this open descriptor too", metavar="NUMBER"),
            Option("--preserve-fds", UINT, "Give it so many descriptors, from 3 on", metavar="COUNT"),
            Option("--sig-proxy", BOOL, "Pass signals on to the container (default: yes)", True),
        ),
        _IMAGE,
        stops=True,
        examples=(
            "rootless run --rm -it alpine sh",
            "rootless run -d --name web -p 8080:80 -v ./site:/srv:ro httpd",
        ),
    ),
}
