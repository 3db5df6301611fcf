"""`doctor`: what this host provides, what it lacks, and the commands that mend it."""

from __future__ import annotations

from rootless.cli.output import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from rootless.engine.doctor import Finding

_WORDS = {"ok": ("ok", "32"), "note": ("note", "36"), "warning": ("WARNING", "33"), "problem": ("PROBLEM", "31")}


def command(settings: Settings, opts: Opts) -> int:
    """Print every finding. Exit code 1 where something keeps containers from running, else 0."""
    from rootless.engine.doctor import PROBLEM, examine
    from rootless.paths import data_root, run_root

    findings = examine(data_root(settings.root), run_root(settings.runroot))
    broken = any(finding.level == PROBLEM for finding in findings)
    if opts.format:
        _print_formatted(findings, broken, opts.format)
    else:
        write(_report(findings))
    return 1 if broken else 0


def _print_formatted(findings: list[Finding], broken: bool, template: str) -> None:
    checks = [
        {"check": one.check, "level": one.level, "message": one.message, "mend": list(one.mend), "note": one.note}
        for one in findings
    ]
    value = {"ok": not broken, "checks": checks}
    if template == "json":
        from rootless.cli.output import pretty_json

        write(pretty_json(value) + "\n")
        return
    from rootless.cli.template import render
    from rootless.cli.template.values import Structure

    value["checks"] = [Structure(check) for check in checks]
    write(render(template, Structure(value)) + "\n")


def _report(findings: list[Finding]) -> str:
    import os

    coloured = os.isatty(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = max(len(finding.check) for finding in findings) + 2
    lines = []
    for finding in findings:
        word, colour = _WORDS[finding.level]
        label = word.ljust(9)
        if coloured:
            label = f"\033[{colour}m{label}\033[0m"
        lines.append(f"{label}{finding.check.ljust(width)}{finding.message}")
        indent = " " * (9 + width)
        for number, mend in enumerate(finding.mend):
            first, *others = mend.splitlines()
            lines.append(f"{indent}{'mend: ' if number == 0 else '      '}{first}")
            lines += others  # a here-document has to stand at the margin to be pasted
        if finding.note:
            lines.append(f"{indent}{finding.note}")
    counts = {level: sum(finding.level == level for finding in findings) for level in _WORDS}
    if counts["problem"]:
        end = f"{_plural(counts['problem'], 'problem')} to mend before containers run as they should"
    elif counts["warning"]:
        end = f"Containers run here; {_plural(counts['warning'], 'warning')} about what does not"
    else:
        end = "Containers run here, and nothing is missing"
    return "\n".join([*lines, "", end, ""])


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
