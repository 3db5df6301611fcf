"""The layers of all images as a tree: images that share their lowest layers share a branch."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.lookup import Image
from storage.store import Store


@dataclass(slots=True)
class Node:
    """A layer over the same layers below it. `diff_id` in hex, `size` in bytes extracted, `tags`: names of the images
    whose highest layer it is."""

    diff_id: str
    size: int
    tags: list[str] = field(default_factory=list)
    children: dict[str, Node] = field(default_factory=dict)


def layer_tree(store: Store) -> Node:
    """The tree of all images, below a node that stands for nothing; branches in the order in which they came in."""
    db = store.db
    sizes = dict(db.execute("SELECT diff_id, size FROM layers").fetchall())
    stacks: dict[str, list[str]] = {}
    for image_id, diff_id in db.execute("SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position"):
        stacks.setdefault(image_id, []).append(diff_id)
    names: dict[str, list[str]] = {}
    for name, image_id in db.execute("SELECT name, image_id FROM image_names ORDER BY name"):
        names.setdefault(image_id, []).append(name)
    root = Node("", 0)
    for (image_id,) in db.execute("SELECT id FROM images ORDER BY added, id"):
        node = root
        for diff_id in stacks.get(image_id, ()):
            node = node.children.setdefault(diff_id, Node(diff_id, sizes.get(diff_id, 0)))
        node.tags += names.get(image_id, []) if node is not root else []
    return root


def branch_of(root: Node, image: Image) -> list[Node]:
    """The nodes of an image's layers, the lowest first; none where it has been removed meanwhile."""
    branch: list[Node] = []
    node = root
    for diff_id in image.diff_ids:
        found = node.children.get(diff_id)
        if found is None:
            return []
        branch.append(found)
        node = found
    return branch
