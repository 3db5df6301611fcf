"""`doctor`: everything that a host must provide, looked at or tried, and the command that mends what is missing.

Each module holds the checks of one subject; a check yields findings and changes nothing on the host.
"""

from __future__ import annotations

from rootless.engine.doctor.finding import OK, PROBLEM, WARNING, Finding

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "examine"]


def examine(root: str, runroot: str) -> list[Finding]:
    """All findings for a store at `root` (which need not exist) and live state at `runroot`."""
    from rootless.engine.doctor import helpers, ids, namespaces, place, session

    findings = [
        *namespaces.check_kernel(),
        *namespaces.check_surroundings(),
        *namespaces.check_user_namespaces(),
    ]
    possible = all(finding.level != PROBLEM for finding in findings)
    findings += [*ids.check_tools(), *ids.check_files()]
    overlay_works = False
    if possible:  # else all that follows would say again that there are no user namespaces
        findings += ids.check_mapping()
        tried, overlay_works = place.check_drivers(root)
        findings += tried
    findings += [
        *helpers.check_fuse_overlayfs(overlay_works),
        *place.check_store(root),
        *helpers.check_network_helpers(),
        *helpers.check_tun(),
        *helpers.check_seccomp(),
        *session.check_cgroups(),
        *session.check_lingering(),
        *session.check_runtime_directory(),
        *session.check_run_root(runroot),
    ]
    return findings
