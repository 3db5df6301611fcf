"""`system check`: is the store what it should be, and mending it."""

from __future__ import annotations

from typing import Any

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, printable, short, write
from rootless.cli.settings import Settings
from rootless.cli.times import seconds_of
from rootless.engine.upkeep.check import check, repair
from rootless.errors import UsageError
from storage.upkeep.check import BLOB, IMAGE, LAYER, Checked, Damage


def command(settings: Settings, opts: Opts) -> int:
    """Print what is wrong and what mends it. Exit code 1 where damage is left, 0 where all is well.

    With --repair the store is looked at once more afterwards, and that is what counts.
    """
    if opts.force and not opts.repair:
        raise UsageError("--force goes with --repair: a check alone removes nothing")
    try:
        age = seconds_of(opts.max)
    except ValueError as error:
        raise UsageError(f"--max {opts.max}: {error}", "write it as 24h or 90s") from None
    store = settings.store()
    found = check(store, opts.quick, age, warn)
    mended: list[Damage] = []
    if opts.repair and found.damages:
        repair(store, found.damages, opts.force)
        mended = [damage for damage in found.damages if damage.mended]
        failures = {(damage.kind, damage.name): damage for damage in found.damages if not damage.mended}
        found = check(store, opts.quick, age, warn)
        for damage in found.damages:
            before = failures.get((damage.kind, damage.name))
            if before is not None:  # it knows why it could not be mended
                damage.what, damage.mend = before.what, before.mend
    if opts.format:
        _print_formatted(found, mended, opts.format)
    else:
        write(_report(found, mended))
    return 1 if found.damages else 0


def _print_formatted(checked: Checked, mended: list[Damage], template: str) -> None:
    value: dict[str, Any] = {
        "ok": not checked.damages,
        "checked": checked.counts,
        "damage": [_plain(damage) for damage in checked.damages],
        "mended": [_plain(damage) for damage in mended],
    }
    if template == "json":
        write(pretty_json(value) + "\n")
        return
    from rootless.cli.template import render
    from rootless.cli.template.values import Structure

    for key in ("damage", "mended"):
        value[key] = [Structure(damage) for damage in value[key]]
    write(render(template, Structure(value)) + "\n")


def _plain(damage: Damage) -> dict[str, Any]:
    return {
        "kind": damage.kind,
        "name": damage.name,
        "what": damage.what,
        "images": damage.images,
        "mend": damage.mend,
    }


def _report(checked: Checked, mended: list[Damage]) -> str:
    lines = [f"mended   {_title(damage)}: {printable(damage.what[0])}" for damage in mended]
    for damage in checked.damages:
        lines.append(f"DAMAGE   {_title(damage)}")
        lines += [f"         {printable(line)}" for line in damage.what]
        lines.append(f"         mend: {printable(damage.mend)}")
    counts = ", ".join(_plural(count, kind) for kind, count in checked.counts.items())
    looked = f"Looked at {counts}: " if counts else ""
    if not checked.damages:
        return "\n".join([*lines, f"{looked}{'all is well now' if mended else 'all is well'}", ""])
    return "\n".join([*lines, f"{looked}{_plural(len(checked.damages), 'damage')} found", ""])


def _title(damage: Damage) -> str:
    name = short(damage.name) if damage.kind in (LAYER, BLOB, IMAGE) else damage.name
    images = f" of {', '.join(damage.images)}" if damage.images else ""
    return printable(f"{damage.kind} {name}{images}")


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
