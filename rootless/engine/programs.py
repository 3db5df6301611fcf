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


def run_quickly(*command: str, check: bool = True) -> str:
    """Standard output of a program without its last newline; "" where it cannot be run, takes over 5 s, or (with
    `check`) fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=check,
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


def packages_of(paths: list[str]) -> dict[str, str]:
    """The packages that files came with, as name_version_architecture (Debian) or as rpm writes it; else "Unknown"."""
    found = dict.fromkeys(paths, "Unknown")
    if paths and find_program("dpkg-query"):
        owners = {}
        for line in run_quickly("dpkg-query", "-S", *paths, check=False).splitlines():
            owner, _, path = line.partition(": ")
            if not line.startswith("diversion by "):
                owners[path] = owner.partition(",")[0].partition(":")[0]
        names = "${Package} ${Package}_${Version}_${Architecture}\n"
        listed = run_quickly("dpkg-query", "-W", "-f", names, *set(owners.values())) if owners else ""
        full = dict(line.split(" ", 1) for line in listed.splitlines())
        found |= {path: full.get(owner, owner) for path, owner in owners.items() if path in found}
    elif paths and find_program("rpm"):
        answers = run_quickly("rpm", "-qf", *paths).splitlines()
        if len(answers) == len(paths):
            found |= dict(zip(paths, answers, strict=True))
    return found
