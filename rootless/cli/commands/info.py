"""`info`: this host and the store, in the manner of YAML, as JSON, or through a template."""

from __future__ import annotations

from rootless.cli.output import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings

# What Go's structures call a field otherwise than JSON does; letters' case apart, which templates do not mind.
_GO_NAMES = {
    "capabilities": "DefaultCapabilities",
    "cgroupVersion": "CgroupsVersion",
}
_MAPS = ("registries", "graphOptions", "graphStatus")
_GO_ROW = {"container_id": "ContainerID", "host_id": "HostID", "size": "Size"}


def command(settings: Settings, opts: Opts) -> int:
    """Print what `engine.info` gathers."""
    from rootless.engine.info import gather

    facts = gather(settings.store())
    if opts.format == "json":
        from rootless.cli.output import pretty_json

        write(pretty_json(facts) + "\n")
    elif opts.format:
        from rootless.cli.template import render

        write(render(opts.format, _with_go_names(facts)) + "\n")
    else:
        write("\n".join(_yaml(facts, "")) + "\n")
    return 0


def _with_go_names(value: Any) -> Any:
    """The facts as structures with Go's names, whose JSON is what they are without."""
    from rootless.cli.template.values import Structure

    if isinstance(value, list):
        return [_with_go_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == _GO_ROW.keys():
        fields = {_GO_ROW[key]: item for key, item in value.items()}
    else:
        fields = {key: item if key in _MAPS else _with_go_names(item) for key, item in value.items()}
        fields |= {go: fields[key] for key, go in _GO_NAMES.items() if key in fields}
    return Structure(fields, lambda: value)


def _yaml(value: dict[str, Any], indent: str) -> list[str]:
    """The lines of a mapping."""
    lines = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}:", *_yaml(item, indent + "  ")]
        elif isinstance(item, list) and item:
            lines.append(f"{indent}{key}:")
            for element in item:
                inner = (
                    _yaml(element, indent + "  ") if isinstance(element, dict) else [f"{indent}  {_scalar(element)}"]
                )
                lines += [f"{indent}- {inner[0].strip()}", *inner[1:]]
        elif isinstance(item, str) and "\n" in item:
            lines += [f"{indent}{key}: |-", *[f"{indent}  {line}" for line in item.splitlines()]]
        else:
            lines.append(f"{indent}{key}: {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    """One value; text that YAML would read as something else is quoted."""
    if not isinstance(value, str):
        from rootless.jsontext import dumps

        return dumps(value)
    special = (
        not value or value != value.strip() or ": " in value or " #" in value or value[0] in "-?:,[]{}#&*!|>'\"%@`"
    )
    return f'"{value}"' if special or _reads_as_another_type(value) else value


def _reads_as_another_type(value: str) -> bool:
    try:
        float(value)
        return True
    except ValueError:
        return value.lower() in ("true", "false", "null", "yes", "no", "on", "off", "~")
