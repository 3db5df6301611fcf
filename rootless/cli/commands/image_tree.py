"""`image tree`: the layers of an image, and which images stand on them."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import human_size, short, write
from rootless.cli.settings import Settings
from storage.images.tree import Node, branch_of, layer_tree
from storage.lookup import need_image

_DIGITS = 4


def command(settings: Settings, opts: Opts) -> int:
    """Print the layers of `opts.image`, the lowest first, or with --whatrequires what stands on its highest."""
    store = settings.store()
    image = need_image(store.db, opts.image)
    branch = branch_of(layer_tree(store), image)
    lines = [
        f"Image ID: {short(image.id)}",
        f"Tags:     [{' '.join(image.names)}]",
        f"Size:     {_size(image.size)}",
        "Image Layers",
    ]
    if opts.whatrequires:
        lines += _requiring(branch)
    else:
        lines += [_branch(node is branch[-1]) + _describe(node) for node in branch]
    write("\n".join(lines) + "\n\n")
    return 0


def _requiring(branch: list[Node]) -> list[str]:
    """The highest layer with what stands on it; what stands on a lowest layer stands beside it, as Podman has it."""
    if not branch:
        return []
    top = branch[-1]
    if len(branch) > 1:
        return _below([top], "")
    children = list(top.children.values())
    return [_branch(not children) + _describe(top), *_below(children, "")]


def _below(nodes: list[Node], indent: str) -> list[str]:
    lines = []
    waiting = [(node, indent, node is nodes[-1]) for node in reversed(nodes)]
    while waiting:
        node, before, last = waiting.pop()
        lines.append(before + _branch(last) + _describe(node))
        children = list(node.children.values())
        deeper = before + ("    " if last else "│   ")
        waiting += [(child, deeper, child is children[-1]) for child in reversed(children)]
    return lines


def _branch(last: bool) -> str:
    return "└── " if last else "├── "


def _describe(node: Node) -> str:
    line = f"ID: {short(node.diff_id)} Size: {_size(node.size)}"
    return line + (f" Top Layer of: [{' '.join(node.tags)}]" if node.tags else "")


def _size(size: int) -> str:
    return human_size(size, _DIGITS).replace(" ", "")
