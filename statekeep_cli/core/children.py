"""Which invokes of a target the persisted children of an actor are (apv.md section 7, `child_lost`).

XState finds a running child by the id of its invoke. An id that the author gave is compared as it is; one
that XState derived (`<position>.<node id>`) stands for the invoke at that position of a node, and is another
one where the node has been carried elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from statekeep_cli.core.model import Definition, Invoke, Path, StateNode
from statekeep_cli.core.placement import carry


def is_child(
    source: Definition,
    target: Definition,
    mapping: Mapping[Path, Any],
    node: StateNode,
    invoke: Invoke,
    child: str,
    src: str,
) -> bool:
    """Is a persisted child (its id and src) what this invoke of a target node stands for?

    `mapping` is the one that the actor is placed by, a route included.
    """
    if src and invoke.src != src:
        return False
    for was in source.nodes:
        for i in was.invokes:
            if i.id == child and not i.own_id:
                same = was.path == node.path or (was.path and carry(target, mapping, was.path) is node)
                return bool(same) and i.position == invoke.position
    return invoke.id == child


def carry_children(
    source: Definition,
    target: Definition,
    mapping: Mapping[Path, Any],
    placed: int,
    children: Iterable[tuple[str, str]],
) -> tuple[dict[str, str], str]:
    """The invoke that each child, as (id, src), goes on as in a placed configuration: its id by the child's.

    An invoke takes one child only. The second value is the first child that no invoke takes, "" if all go on.
    """
    free = [(node, invoke) for node in target.nodes_in(placed) for invoke in node.invokes]
    carried: dict[str, str] = {}
    for child, src in children:
        for i, (node, invoke) in enumerate(free):
            if is_child(source, target, mapping, node, invoke, child, src):
                carried[child] = invoke.id
                del free[i]
                break
        else:
            return carried, child
    return carried, ""
