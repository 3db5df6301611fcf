"""Flags and commands of Podman 5.4, to tell what is not supported yet from what does not exist. Only errors read it."""

from __future__ import annotations

# Long names without dashes; "/x" is the short form.
_FLAGS = {
    "": (
        "cgroup-manager config conmon connection/c events-backend help hooks-dir identity imagestore log-level "
        "module network-cmd-path network-config-dir out remote/r root runroot runtime runtime-flag ssh "
        "storage-driver storage-opt syslog tmpdir transient-store url version/v volumepath"
    ),
    "attach": "detach-keys latest/l no-stdin sig-proxy",
    "commit": "author/a change/c config format/f iidfile include-volumes message/m pause/p quiet/q squash/s",
    "create": (
        "add-host annotation arch attach/a authfile blkio-weight blkio-weight-device cap-add cap-drop cgroup-conf "
        "cgroup-parent cgroupns cgroups chrootdirs cidfile conmon-pidfile cpu-period cpu-quota cpu-rt-period "
        "cpu-rt-runtime cpu-shares/c cpus cpuset-cpus cpuset-mems decryption-key device device-cgroup-rule "
        "device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option "
        "dns-search entrypoint env-file env-host env-merge env/e expose gidmap gpus group-add group-entry "
        "health-cmd health-interval health-log-destination health-max-log-count health-max-log-size "
        "health-on-failure health-retries health-start-period health-startup-cmd health-startup-interval "
        "health-startup-retries health-startup-success health-startup-timeout health-timeout help hostname/h "
        "hosts-file hostuser http-proxy image-volume init init-ctr init-path interactive/i ip ip6 ipc label-file "
        "label/l log-driver log-opt mac-address memory-reservation memory-swap memory-swappiness memory/m mount "
        "name network network-alias no-healthcheck no-hostname no-hosts oom-kill-disable oom-score-adj os "
        "passwd-entry personality pid pidfile pids-limit platform pod pod-id-file privileged publish-all/P "
        "publish/p pull quiet/q rdt-class read-only read-only-tmpfs replace requires restart retry retry-delay rm "
        "rootfs sdnotify seccomp-policy secret security-opt shm-size shm-size-systemd stop-signal stop-timeout "
        "subgidname subuidname sysctl systemd timeout tls-verify tmpfs tty/t tz uidmap ulimit umask unsetenv "
        "unsetenv-all user/u userns uts variant volume/v volumes-from workdir/w"
    ),
    "diff": "format latest/l",
    "cp": "archive/a overwrite",
    "events": "filter/f format no-trunc since stream until",
    "exec": (
        "detach-keys detach/d env-file env/e interactive/i latest/l preserve-fd preserve-fds privileged tty/t "
        "user/u workdir/w"
    ),
    "export": "output/o",
    "history": "format human/H no-trunc quiet/q",
    "images": "all/a digests filter/f format history no-trunc noheading/n quiet/q sort",
    "image trust": "json/j noheading/n pubkeysfile/f raw type/t",
    "init": "all/a latest/l",
    "import": "arch change/c message/m os quiet/q variant",
    "info": "format/f",
    "inspect": "format/f latest/l size/s type/t",
    "kill": "all/a cidfile latest/l signal/s",
    "load": "input/i quiet/q",
    "login": (
        "authfile cert-dir compat-auth-file get-login password-stdin password/p secret tls-verify username/u verbose/v"
    ),
    "logout": "all/a authfile compat-auth-file",
    "logs": "color follow/f latest/l names/n since tail timestamps/t until",
    "pause": "all/a cidfile filter/f latest/l",
    "port": "all/a latest/l",
    "ps": (
        "all/a external filter/f format last/n latest/l no-trunc noheading ns pod/p quiet/q size/s sort sync watch/w"
    ),
    "pull": (
        "all-tags/a arch authfile cert-dir creds decryption-key disable-content-trust os platform quiet/q retry "
        "retry-delay tls-verify variant"
    ),
    "push": (
        "authfile cert-dir compress compression-format compression-level creds digestfile disable-content-trust "
        "encrypt-layer encryption-key force-compression format/f quiet/q remove-signatures retry retry-delay "
        "sign-by sign-by-sigstore sign-by-sigstore-private-key sign-passphrase-file tls-verify"
    ),
    "restart": "all/a cidfile filter/f latest/l running time/t",
    "rm": "all/a cidfile depend filter force/f ignore/i latest/l time/t volumes/v",
    "rmi": "all/a force/f ignore/i no-prune",
    "run": (
        "add-host annotation arch attach/a authfile blkio-weight blkio-weight-device cap-add cap-drop cgroup-conf "
        "cgroup-parent cgroupns cgroups chrootdirs cidfile conmon-pidfile cpu-period cpu-quota cpu-rt-period "
        "cpu-rt-runtime cpu-shares/c cpus cpuset-cpus cpuset-mems decryption-key detach-keys detach/d device "
        "device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops "
        "disable-content-trust dns dns-option dns-search entrypoint env-file env-host env-merge env/e expose "
        "gidmap gpus group-add group-entry health-cmd health-interval health-log-destination health-max-log-count "
        "health-max-log-size health-on-failure health-retries health-start-period health-startup-cmd "
        "health-startup-interval health-startup-retries health-startup-success health-startup-timeout "
        "health-timeout help hostname/h hosts-file hostuser http-proxy image-volume init init-path interactive/i "
        "ip ip6 ipc label-file label/l log-driver log-opt mac-address memory-reservation memory-swap "
        "memory-swappiness memory/m mount name network network-alias no-healthcheck no-hostname no-hosts "
        "oom-kill-disable oom-score-adj os passwd passwd-entry personality pid pidfile pids-limit platform pod "
        "pod-id-file preserve-fd preserve-fds privileged publish-all/P publish/p pull quiet/q rdt-class read-only "
        "read-only-tmpfs replace requires restart retry retry-delay rm rmi rootfs sdnotify seccomp-policy secret "
        "security-opt shm-size shm-size-systemd sig-proxy stop-signal stop-timeout subgidname subuidname sysctl "
        "systemd timeout tls-verify tmpfs tty/t tz uidmap ulimit umask unsetenv unsetenv-all user/u userns uts "
        "variant volume/v volumes-from workdir/w"
    ),
    "save": "compress format multi-image-archive/m output/o quiet/q uncompressed",
    "search": "authfile cert-dir compatible creds filter/f format limit list-tags no-trunc tls-verify",
    "start": "all attach/a detach-keys filter/f interactive/i latest/l sig-proxy",
    "stats": "all/a format interval/i latest/l no-reset no-stream no-trunc",
    "stop": "all/a cidfile filter/f ignore/i latest/l time/t",
    "top": "latest/l",
    "mount": "all/a format latest/l no-trunc",
    "unmount": "all/a force/f latest/l",
    "unpause": "all/a cidfile filter/f latest/l",
    "unshare": "rootless-netns",
    "update": (
        "blkio-weight blkio-weight-device cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus "
        "cpuset-cpus cpuset-mems device-read-bps device-read-iops device-write-bps device-write-iops health-cmd "
        "health-interval health-log-destination health-max-log-count health-max-log-size health-on-failure "
        "health-retries health-start-period health-startup-cmd health-startup-interval health-startup-retries "
        "health-startup-success health-startup-timeout health-timeout memory-reservation memory-swap "
        "memory-swappiness memory/m no-healthcheck pids-limit restart"
    ),
    "version": "format/f",
    "wait": "condition ignore interval/i latest/l",
    "container clone": (
        "blkio-weight blkio-weight-device cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus "
        "cpuset-cpus cpuset-mems destroy device-read-bps device-write-bps force/f memory-reservation memory-swap "
        "memory-swappiness memory/m name pod run"
    ),
    "container diff": "format latest/l",
    "container exists": "external",
    "container inspect": "format/f latest/l size/s",
    "image diff": "format",
    "image inspect": "format/f",
    "image tree": "whatrequires",
    "image mount": "all/a format",
    "image unmount": "all/a force/f",
    "image prune": "all/a build-cache external filter force/f",
    "container prune": "filter force/f",
    "secret create": "driver/d driver-opts env label/l replace",
    "secret inspect": "format/f pretty showsecret",
    "secret ls": "filter/f format noheading/n quiet/q",
    "secret rm": "all/a ignore/i",
    "system check": "force/f max/m quick/q repair/r",
    "system df": "format verbose/v",
    "system prune": "all/a build external filter force/f volumes",
    "system reset": "force/f",
    "manifest add": (
        "all annotation arch artifact artifact-config artifact-config-type artifact-exclude-titles "
        "artifact-layer-type artifact-subject artifact-type authfile cert-dir creds features os os-version tls-verify "
        "variant"
    ),
    "manifest annotate": "annotation arch features index os os-features os-version subject variant",
    "manifest create": "all amend/a annotation tls-verify",
    "manifest inspect": "authfile tls-verify",
    "manifest push": (
        "add-compression all authfile cert-dir compression-format compression-level creds digestfile "
        "force-compression format/f quiet/q remove-signatures rm sign-by sign-by-sigstore "
        "sign-by-sigstore-private-key sign-passphrase-file tls-verify"
    ),
    "manifest rm": "ignore/i",
    "volume create": "driver/d ignore label/l opt/o",
    "volume export": "output/o",
    "volume inspect": "all/a format/f",
    "volume ls": "filter/f format noheading/n quiet/q",
    "volume prune": "filter force/f",
    "volume rm": "all/a force/f time/t",
}

# Noun (or nothing) -> its verbs.
_COMMANDS = {
    "": (
        "artifact attach build commit compose container cp create diff events exec export farm generate "
        "healthcheck history image images import info init inspect kill kube load login logout logs machine "
        "manifest mount network pause pod port ps pull push quadlet rename restart rm rmi run save search secret "
        "start stats stop system tag top unmount unpause unshare untag update version volume wait"
    ),
    "artifact": "add inspect ls pull push rm",
    "container": (
        "attach checkpoint cleanup clone commit cp create diff exec exists export init inspect kill list logs "
        "mount pause port prune ps rename restart restore rm run runlabel start stats stop top unmount unpause "
        "update wait"
    ),
    "generate": "kube spec systemd",
    "image": (
        "build diff exists history import inspect list load mount prune pull push rm save scp search sign tag tree "
        "trust trust unmount untag"
    ),
    "kube": "apply down generate play",
    "manifest": "add annotate create exists inspect push remove rm",
    "network": "connect create disconnect exists inspect ls prune reload rm update",
    "pod": "clone create exists inspect kill logs pause prune ps restart rm start stats stop top unpause",
    "secret": "create exists inspect ls rm",
    "system": (
        "check connection connection connection connection connection df events info migrate prune renumber reset "
        "service"
    ),
    "volume": "create exists export import inspect ls mount prune reload rm unmount",
}

# What does the same, or nearly: flag or command -> what to type, or why it is not needed.
_INSTEAD = {
    "container checkpoint": "rootless commit NAME IMAGE keeps its files; its processes cannot be kept",
    "container cleanup": "nothing has to be cleaned up: every command looks what has become of the containers it meets",
    "container runlabel": "rootless image inspect --format '{{.Config.Labels}}' IMAGE shows the label's command",
    "generate systemd": "rootless start --all --filter restart-policy=always is what a unit has to run at boot",
    "image scp": "rootless save IMAGE | ssh HOST rootless load",
    "system connection": "ssh HOST rootless ...",
    "system migrate": "nothing is to be migrated: containers go on after an upgrade",
    "system renumber": "there are no lock numbers",
    "volume reload": "rootless volume ls always shows what is there",
    "--connection": "ssh HOST rootless ...",
    "--decryption-key": "skopeo copy --decryption-key KEY docker://IMAGE oci-archive:FILE; rootless load -i FILE",
    "--device-cgroup-rule": "--device PATH gives a device that you may open",
    "--disable-content-trust": "leave it out: it does nothing in Podman either",
    "--gpus": "--device /dev/dri (or the devices of your card) gives what you may open",
    "--imagestore": "rootless --root DIR",
    "--isolation": "leave it out: Windows alone has kinds of isolation",
    "--kernel-memory": "--memory: the kernel has no separate limit for itself any more",
    "--remote": "ssh HOST rootless ...",
    "--runtime": "containers are started by rootless itself, without crun or runc",
    "--seccomp-policy": "--security-opt seccomp=FILE",
    "--storage-opt": "--tmpfs PATH:size=SIZE limits what is written to a directory",
    "--shm-size-systemd": "--shm-size SIZE",
    "--tmpdir": "rootless --runroot DIR",
    "--url": "ssh HOST rootless ...",
    "--volume-driver": "rootless volume create --driver DRIVER NAME; rootless run -v NAME:PATH",
}


def instead(name: str) -> str | None:
    """What to use in place of a flag ("--remote") or a command ("image scp") that is not supported yet, if anything."""
    return _INSTEAD.get(name)


def knows(command: str, flag: str) -> bool:
    """Does Podman's `command` (or Podman itself, for "") have `flag`, given with its dashes?"""
    words = _FLAGS.get(command, "").split()
    if flag.startswith("--"):
        return any(word.partition("/")[0] == flag[2:] for word in words)
    return any(word.partition("/")[2] == flag[1:] for word in words)


def knows_command(name: str) -> bool:
    """Is `name` ("build", "pod create") a command of Podman?"""
    noun, _, verb = name.rpartition(" ")
    return verb in _COMMANDS.get(noun, "").split()
