"""The programs of others that containers need: where they are, their versions, and the packages they come from."""

from __future__ import annotations

import re
import subprocess
from functools import cache

from rootless.kernel.idmaps import find_program

# What a package is called, by the tool that installs it.
_INSTALL = {
    "apt-get": "apt-get install -y",
    "dnf": "dnf install -y",
    "zypper": "zypper install -y",
    "pacman": "pacman -S --noconfirm",
    "apk": "apk add",
}
_PACKAGES = {
    "newuidmap": {"apt-get": "uidmap", "dnf": "shadow-utils", "apk": "shadow-subids", "": "shadow"},
    "pasta": {"": "passt"},
    "libseccomp.so.2": {"apt-get": "libseccomp2", "zypper": "libseccomp2", "": "libseccomp"},
    "catatonit": {"": "catatonit"},
}


def install_command(*programs: str) -> str:
    """The command, without sudo, that installs the packages of these programs here."""
    for manager, command in _INSTALL.items():
        if find_program(manager):
            packages = []
            for program in programs:
                names = _PACKAGES.get(program, {})
                packages.append(names.get(manager) or names.get("") or program)
            return f"{command} {' '.join(packages)}"
    return f"install {' '.join(programs)} with this system's package manager"


def run_quickly(*command: str) -> str:
    """Standard output of a program without its last newline; "" where it cannot be run, fails, or takes over 5 s."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


@cache
def version_text(program: str) -> str:
    """What `program --version` says, or "" where it is missing or does not work."""
    path = find_program(program)
    return run_quickly(path, "--version") if path else ""


def version_number(program: str, text: str) -> tuple[int, ...]:
    """The version as numbers, (1, 2, 1) of "slirp4netns version 1.2.1-rc1"; () where there is none. What a program says
    of the libraries that it uses comes in lines of their own."""
    found = re.search(rf"{re.escape(program)}\D*(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def package_of(path: str) -> str:
    """The package that a file came with, as name_version_architecture (Debian) or as rpm writes it; else "Unknown"."""
    owner = run_quickly("dpkg", "-S", path).partition(":")[0]
    if owner:
        return run_quickly("dpkg-query", "-W", "-f", "${Package}_${Version}_${Architecture}", owner) or owner
    return run_quickly("rpm", "-qf", path) or "Unknown"
