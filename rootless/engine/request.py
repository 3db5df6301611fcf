"""What the user asked for when a container was made: one field per option of `create` and `run`, as it was typed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from storage.progress import Progress
    from storage.registry.patience import Patience

_LISTS = (
    "add_host",
    "annotation",
    "attach",  # stdin, stdout, stderr
    "blkio_weight_device",
    "cgroup_conf",
    "cap_add",
    "cap_drop",
    "command",  # what stands behind the image
    "create_command",  # the whole command line
    "default_env",  # NAME=VALUE lines that give way to the image's
    "device",
    "device_read_bps",
    "device_read_iops",
    "device_write_bps",
    "device_write_iops",
    "dns",
    "dns_option",
    "dns_search",
    "env",  # NAME=VALUE, or NAME alone: the value from here
    "env_file",
    "env_merge",
    "expose",
    "group_add",
    "hostuser",
    "label",
    "label_file",
    "log_opt",
    "mount",
    "publish",
    "requires",  # once made: ids of containers
    "secret",
    "security_opt",
    "sysctl",
    "tmpfs",
    "ulimit",
    "unsetenv",
    "volume",
    "volumes_from",
)
_FLAGS = (
    "env_host",
    "init",
    "interactive",
    "no_healthcheck",
    "no_hostname",
    "no_hosts",
    "oom_kill_disable",
    "privileged",
    "publish_all",
    "quiet",
    "read_only",
    "replace",
    "rm",
    "rmi",
    "rootfs",  # what stands in place of the image is a directory
    "tty",
    "unsetenv_all",
)
_TEXTS = (
    "arch",
    "authfile",
    "cgroup_parent",
    "cgroupns",
    "cgroups",
    "cidfile",
    "conmon_pidfile",
    "cpus",
    "cpuset_cpus",
    "cpuset_mems",
    "domainname",
    "entrypoint",  # None: the image's; a command, or a JSON list
    "group_entry",
    "health_cmd",
    "health_interval",
    "health_log_destination",
    "health_on_failure",
    "health_start_interval",
    "health_start_period",
    "health_startup_cmd",
    "health_startup_interval",
    "health_startup_timeout",
    "health_timeout",
    "hostname",
    "hosts_file",
    "image_volume",  # None: anonymous
    "init_path",
    "ipc",
    "log_driver",
    "memory",
    "memory_reservation",
    "memory_swap",
    "name",
    "network",  # None: slirp4netns
    "os",
    "passwd_entry",
    "personality",
    "pid",
    "pidfile",
    "platform",
    "pull",  # missing, always, never, newer; None: missing
    "restart",  # None, or restart.parse_policy
    "shm_size",
    "stop_signal",
    "tz",
    "umask",
    "user",
    "uts",
    "variant",
    "workdir",
)
_NUMBERS = (  # None: not said
    "blkio_weight",
    "cpu_period",
    "cpu_quota",
    "cpu_shares",
    "health_max_log_count",
    "health_max_log_size",
    "health_retries",
    "health_startup_retries",
    "health_startup_success",
    "memory_swappiness",
    "oom_score_adj",
    "pids_limit",
)
# For a pull, which is over once the container is made; for its configuration, which is written then.
_UNKEPT = (
    "default_env",
    "env_host",
    "http_proxy",
    "label_file",
    "authfile",
    "display",
    "patience",
    "read_only_tmpfs",
    "tls_verify",
)


# What the container's control group is told; `engine.cgroups.confine`.
LIMITS = (
    *("blkio_weight", "blkio_weight_device", "cgroup_conf", "cpu_period", "cpu_quota", "cpu_shares", "cpus"),
    *("cpuset_cpus", "cpuset_mems", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops"),
    *("memory", "memory_reservation", "memory_swap", "memory_swappiness", "oom_kill_disable", "pids_limit"),
)
_UNLIMITED = {"cpus": "0", "memory": "0", "memory_reservation": "0"}  # the others: -1; takes no control group
_SLOTS_OF_HEALTH = tuple(name for name in (*_TEXTS, *_NUMBERS) if name.startswith("health_"))


class CreateRequest:
    """The options of one container. Fields that nobody sets are empty: [], False, None, and "" for `image`.

    `stop_timeout` and `timeout` (how long it may run) are in seconds. Field names are those of the command line's
    options, so `from_options` copies. For a pull, where one is needed: `display` makes what shows its progress,
    `patience` says how often it is tried, `tls_verify` None leaves to the configuration. `http_proxy`, `passwd` and
    `read_only_tmpfs`: None is True. `health`, once made: the plan of its checks (`health.plan`), or None; the options
    for it are None then.
    """

    __slots__ = (
        *_LISTS,
        *_FLAGS,
        *_TEXTS,
        *_NUMBERS,
        "display",
        "health",
        "http_proxy",
        "image",
        "passwd",
        "patience",
        "read_only_tmpfs",
        "stop_timeout",
        "timeout",
        "tls_verify",
    )

    if TYPE_CHECKING:
        add_host: list[str]
        annotation: list[str]
        arch: str | None
        attach: list[str]
        blkio_weight: int | None
        blkio_weight_device: list[str]
        cgroup_conf: list[str]
        cgroup_parent: str | None
        cgroups: str | None
        cpu_period: int | None
        cpu_quota: int | None
        cpu_shares: int | None
        cpus: str | None
        cpuset_cpus: str | None
        cpuset_mems: str | None
        device_read_bps: list[str]
        device_read_iops: list[str]
        device_write_bps: list[str]
        device_write_iops: list[str]
        memory: str | None
        memory_reservation: str | None
        memory_swap: str | None
        memory_swappiness: int | None
        oom_kill_disable: bool
        pids_limit: int | None
        authfile: str | None
        cap_add: list[str]
        cap_drop: list[str]
        cgroupns: str | None
        cidfile: str | None
        command: list[str]
        conmon_pidfile: str | None
        create_command: list[str]
        default_env: list[str]
        device: list[str]
        display: Callable[[], AbstractContextManager[Progress]] | None
        dns: list[str]
        dns_option: list[str]
        dns_search: list[str]
        domainname: str | None
        entrypoint: str | None
        env: list[str]
        env_file: list[str]
        env_host: bool
        env_merge: list[str]
        expose: list[str]
        group_add: list[str]
        group_entry: str | None
        health_cmd: str | None
        health_interval: str | None
        health_log_destination: str | None
        health_max_log_count: int | None
        health_max_log_size: int | None
        health_on_failure: str | None
        health_retries: int | None
        health_start_interval: str | None
        health_start_period: str | None
        health_startup_cmd: str | None
        health_startup_interval: str | None
        health_startup_retries: int | None
        health_startup_success: int | None
        health_startup_timeout: str | None
        health_timeout: str | None
        hostname: str | None
        hosts_file: str | None
        hostuser: list[str]
        http_proxy: bool | None
        image_volume: str | None
        init: bool
        init_path: str | None
        interactive: bool
        ipc: str | None
        label: list[str]
        label_file: list[str]
        log_driver: str | None
        log_opt: list[str]
        mount: list[str]
        name: str | None
        network: str | None
        no_healthcheck: bool
        no_hostname: bool
        no_hosts: bool
        oom_score_adj: int | None
        os: str | None
        passwd: bool | None
        passwd_entry: str | None
        patience: Patience | None
        personality: str | None
        pid: str | None
        pidfile: str | None
        platform: str | None
        privileged: bool
        publish: list[str]
        publish_all: bool
        pull: str | None
        quiet: bool
        read_only: bool
        read_only_tmpfs: bool | None
        replace: bool
        requires: list[str]
        restart: str | None
        rm: bool
        rmi: bool
        rootfs: bool
        secret: list[str]
        security_opt: list[str]
        shm_size: str | None
        stop_signal: str | None
        sysctl: list[str]
        tls_verify: bool | None
        tmpfs: list[str]
        tty: bool
        tz: str | None
        ulimit: list[str]
        umask: str | None
        unsetenv: list[str]
        unsetenv_all: bool
        user: str | None
        uts: str | None
        variant: str | None
        volume: list[str]
        volumes_from: list[str]
        workdir: str | None

    def __init__(self, image: str = "", **fields: Any) -> None:
        for name in _LISTS:
            setattr(self, name, [])
        for name in _FLAGS:
            setattr(self, name, False)
        for name in (*_TEXTS, *_NUMBERS):
            setattr(self, name, None)
        self.health: dict[str, Any] | None = None
        self.image = image
        self.stop_timeout: int | None = None
        self.timeout: int | None = None
        self.display = self.patience = self.read_only_tmpfs = self.tls_verify = None
        self.http_proxy = self.passwd = None
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def needs_lifespan(self) -> bool:
        """Whether `engine.lifespan` has something to say about it."""
        asked = self.restart or self.replace or self.rmi or self.attach or self.requires
        return bool(asked or self.pidfile or self.conmon_pidfile or self.cidfile)

    @property
    def needs_health(self) -> bool:
        """Whether `engine.health.plan` has something to say about it, whatever the image has."""
        if self.no_healthcheck or self.health_cmd is not None:
            return True
        return any(getattr(self, name) is not None for name in _SLOTS_OF_HEALTH)

    @property
    def needs_particulars(self) -> bool:
        """Whether `engine.spec.particulars` has something to say about it."""
        more = self.annotation or self.device or self.sysctl or self.tz or self.umask or self.personality
        own = self.ipc or self.uts or self.cgroupns or self.pid or self.domainname or self.group_add
        return bool(more or own or self.oom_score_adj is not None)

    @property
    def confined(self) -> bool:
        """Whether its control group has to be told something, or to lie elsewhere."""
        # False is 0 too, which is no limit but for swappiness.
        told = (name for name in LIMITS if getattr(self, name) not in (None, [], False, _UNLIMITED.get(name, -1)))
        return self.cgroup_parent is not None or self.memory_swappiness == 0 or any(told)

    @property
    def needs_accounts(self) -> bool:
        """Whether the image's /etc/passwd or /etc/group may lack an entry that is wanted."""
        if self.passwd is False:
            return False
        user = self.user or ""
        numbered = user[:1].isdigit() and user.partition(":")[0].isdigit() and user.partition(":")[0] != "0"
        return bool(numbered or self.hostuser)

    @property
    def shapes_environment(self) -> bool:
        """Whether the environment that the image gives is changed otherwise than by --env."""
        return bool(self.env_host or self.env_merge or self.unsetenv or self.unsetenv_all)

    @classmethod
    def from_options(cls, options: Any) -> CreateRequest:
        """From an object with one attribute per option; those that it lacks keep their defaults."""
        request = cls()
        for name in cls.__slots__:
            value = getattr(options, name, None)
            if value is not None:
                setattr(request, name, value)
        return request

    def to_plain(self) -> dict[str, Any]:
        """The fields that were set, as JSON knows them."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in _UNKEPT}
        return {
            name: value
            for name, value in plain.items()
            if not (value is None or value == [] or (value is False and name != "passwd"))
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> CreateRequest:
        """The inverse of `to_plain`; fields of other versions are ignored."""
        return cls(**{name: value for name, value in plain.items() if name in cls.__slots__})
