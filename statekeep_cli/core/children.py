"""Which invokes of a target the persisted children of an actor are (apv.md section 7, `child_lost`).

XState finds a running child by the id of its invoke. An id that the author gave is compared as it is; one
that XState derived (`<position>.<node id>`) stands for the invoke at that position of a node, and is another
one where the node has been carried elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from statekeep_cli.core.alphabet import Alphabet
from statekeep_cli.core.model import Definition, Invoke


def is_child(source: Definition, alphabet: Alphabet, node: int, invoke: Invoke, child: str, src: str) -> bool:
    """Is a persisted child (its id and src) what this invoke of a target node stands for?"""
    if src and invoke.src != src:
        return False
    for was in source.nodes:
        for i in was.invokes:
            if i.id == child and not i.own_id:
                return was.path in alphabet.carried_to(node) and i.position == invoke.position
    return invoke.id == child


def carry_children(
    source: Definition,
    target: Definition,
    alphabet: Alphabet,
    placed: int,
    children: Iterable[tuple[str, str]],
) -> tuple[dict[str, str], str]:
    """The invoke that each child, as (id, src), goes on as in a placed configuration: its id by the child's.

    An invoke takes one child only. The second value is the first child that no invoke takes, "" if all go on.
    """
    free = [(node.index, invoke) for node in target.nodes_in(placed) for invoke in node.invokes]
    carried: dict[str, str] = {}
    for child, src in children:
        for place in free:
            if is_child(source, alphabet, *place, child, src):
                carried[child] = place[1].id
                free.remove(place)
                break
        else:
            return carried, child
    return carried, ""
