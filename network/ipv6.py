"""IPv6 in a network namespace that a helper is about to serve."""

from __future__ import annotations


def skip_address_detection() -> None:
    """Let interfaces that are made from now on in the caller's network namespace use their IPv6 addresses at once.

    Duplicate address detection keeps a new address unusable for about a second, and a tap that only we are attached to
    has no neighbour to collide with. To be called before the helper makes its interface. Any mounted /proc will do: the
    file shows the network namespace of whoever opens it. Without IPv6 in the kernel there is nothing to set.
    """
    try:
        with open("/proc/sys/net/ipv6/conf/default/accept_dad", "wb", buffering=0) as setting:
            setting.write(b"0")
    except OSError:  # no IPv6, or a masked /proc/sys (inside another container): detection just takes its second
        return
