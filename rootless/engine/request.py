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
    "attach",  # stdin, stdout, stderr
    "cap_add",
    "cap_drop",
    "create_command",  # the whole command line
    "command",  # what stands behind the image
    "dns",
    "dns_option",
    "dns_search",
    "env",  # NAME=VALUE, or NAME alone: the value from here
    "env_file",
    "expose",
    "group_add",
    "label",
    "log_opt",
    "mount",
    "publish",
    "requires",  # once made: ids of containers
    "security_opt",
    "tmpfs",
    "ulimit",
    "volume",
    "volumes_from",
)
_FLAGS = (
    "init",
    "interactive",
    "no_healthcheck",
    "no_hosts",
    "privileged",
    "quiet",
    "read_only",
    "replace",
    "rm",
    "rmi",
    "tty",
)
_TEXTS = (
    "arch",
    "authfile",
    "cidfile",
    "conmon_pidfile",
    "entrypoint",  # None: the image's; a command, or a JSON list
    "health_cmd",
    "health_interval",
    "health_log_destination",
    "health_on_failure",
    "health_start_period",
    "health_startup_cmd",
    "health_startup_interval",
    "health_startup_timeout",
    "health_timeout",
    "hostname",
    "image_volume",  # None: anonymous
    "log_driver",
    "name",
    "network",  # None: slirp4netns
    "os",
    "pidfile",
    "platform",
    "pull",  # missing, always, never, newer; None: missing
    "restart",  # None, or restart.parse_policy
    "shm_size",
    "stop_signal",
    "user",
    "variant",
    "workdir",
)
_NUMBERS = (  # None: not said
    "health_max_log_count",
    "health_max_log_size",
    "health_retries",
    "health_startup_retries",
    "health_startup_success",
)
# For a pull, which is over once the container is made; for its configuration, which is written then.
_UNKEPT = ("authfile", "display", "patience", "read_only_tmpfs", "tls_verify")


_SLOTS_OF_HEALTH = tuple(name for name in (*_TEXTS, *_NUMBERS) if name.startswith("health_"))


class CreateRequest:
    """The options of one container. Fields that nobody sets are empty: [], False, None, and "" for `image`.

    `stop_timeout` and `timeout` (how long it may run) are in seconds. Field names are those of the command line's
    options, so `from_options` copies. For a pull, where one is needed: `display` makes what shows its progress,
    `patience` says how often it is tried, `tls_verify` None leaves to the configuration. `read_only_tmpfs`: None is
    True. `health`, once made: the plan of its checks (`health.plan`), or None; the options for it are None then.
    """

    __slots__ = (
        *_LISTS,
        *_FLAGS,
        *_TEXTS,
        *_NUMBERS,
        "display",
        "health",
        "image",
        "patience",
        "read_only_tmpfs",
        "stop_timeout",
        "timeout",
        "tls_verify",
    )

    if TYPE_CHECKING:
        display: Callable[[], AbstractContextManager[Progress]] | None
        patience: Patience | None
        read_only_tmpfs: bool | None
        tls_verify: bool | None
        add_host: list[str]
        attach: list[str]
        cap_add: list[str]
        cap_drop: list[str]
        command: list[str]
        create_command: list[str]
        dns: list[str]
        dns_option: list[str]
        dns_search: list[str]
        env: list[str]
        env_file: list[str]
        expose: list[str]
        group_add: list[str]
        label: list[str]
        log_opt: list[str]
        mount: list[str]
        publish: list[str]
        requires: list[str]
        security_opt: list[str]
        tmpfs: list[str]
        ulimit: list[str]
        volume: list[str]
        volumes_from: list[str]
        health_cmd: str | None
        health_interval: str | None
        health_log_destination: str | None
        health_max_log_count: int | None
        health_max_log_size: int | None
        health_on_failure: str | None
        health_retries: int | None
        health_start_period: str | None
        health_startup_cmd: str | None
        health_startup_interval: str | None
        health_startup_retries: int | None
        health_startup_success: int | None
        health_startup_timeout: str | None
        health_timeout: str | None
        init: bool
        interactive: bool
        no_healthcheck: bool
        no_hosts: bool
        privileged: bool
        quiet: bool
        read_only: bool
        replace: bool
        rm: bool
        rmi: bool
        tty: bool
        arch: str | None
        authfile: str | None
        cidfile: str | None
        conmon_pidfile: str | None
        entrypoint: str | None
        hostname: str | None
        image_volume: str | None
        log_driver: str | None
        name: str | None
        network: str | None
        os: str | None
        pidfile: str | None
        platform: str | None
        pull: str | None
        restart: str | None
        shm_size: str | None
        stop_signal: str | None
        user: str | None
        variant: str | None
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
        return {name: value for name, value in plain.items() if not (value is None or value is False or value == [])}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> CreateRequest:
        """The inverse of `to_plain`; fields of other versions are ignored."""
        return cls(**{name: value for name, value in plain.items() if name in cls.__slots__})
