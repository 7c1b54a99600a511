"""Configurations: sets of active nodes, and the state values that stand for them.

A configuration is an int, bit *i* for `definition.nodes[i]` (see `model.py`).
"""

from __future__ import annotations

from typing import Any

from statekeep_cli.core.model import Definition, StateNode, StateValue


def is_descendant(d: Definition, node: int, of: int) -> bool:
    """Proper descendant; everything descends from -1, the place outside the machine."""
    return of < 0 or bool(d.nodes[of].descendants >> node & 1)


def is_in_final_state(d: Definition, node: StateNode, configuration: int) -> bool:
    """SCXML isInFinalState: a final child is active, or every region is in its own."""
    if node.kind == "compound":
        return any(d.nodes[c].kind == "final" and configuration >> c & 1 for c in node.children)
    if node.kind == "parallel":
        return all(is_in_final_state(d, d.nodes[c], configuration) for c in node.children)
    return node.kind == "final"


def is_done(d: Definition, configuration: int) -> bool:
    """Has the machine itself reached a final state?"""
    return is_in_final_state(d, d.root, configuration)


def is_legal(d: Definition, configuration: int) -> bool:
    """SCXML legal configuration: the root, one child per compound state, all of a parallel one."""
    allowed = 1
    for node in d.nodes_in(configuration):
        active = configuration & node.inside
        if node.kind == "compound" and (not active or active & (active - 1)):
            return False
        if node.kind == "parallel" and active != node.inside:
            return False
        allowed |= active
    return configuration == allowed


def leaves(d: Definition, configuration: int) -> list[StateNode]:
    return [n for n in d.nodes_in(configuration) if n.is_leaf]


def state_value(d: Definition, configuration: int) -> StateValue:
    """XState's nested encoding of a configuration."""

    def value(node: StateNode) -> Any:
        active = [d.nodes[c] for c in node.children if configuration >> c & 1]
        if node.kind == "compound" and len(active) == 1 and active[0].is_leaf:
            return active[0].path[-1]
        return {child.path[-1]: value(child) for child in active}

    result: StateValue = value(d.root)
    return result


def configuration_of(d: Definition, value: Any) -> int | None:
    """The configuration a state value stands for; None unless it is complete and legal.

    A dotted path to a leaf (`"review.pending"`) is accepted where all its ancestors are compound.
    """
    if isinstance(value, str):
        node = d.node((value,)) or d.node(value)
        if node is None or node.kind == "history":
            return None
        configuration = node.ancestors | 1 << node.index
        return configuration if is_legal(d, configuration) else None
    if not isinstance(value, dict):
        return None
    configuration, pending = 1, [(d.root, value)]
    while pending:
        node, inner = pending.pop()
        if isinstance(inner, str):
            inner = {inner: {}}
        if not isinstance(inner, dict):
            return None
        for key, below in inner.items():
            child = d.by_path.get((*node.path, key))
            if child is None:
                return None
            configuration |= 1 << child
            pending.append((d.nodes[child], below))
    return configuration if is_legal(d, configuration) else None
