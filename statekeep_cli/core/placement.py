"""Placement by name: identity, mappings, and what they carry along (apv.md section 6).

A placement is a legal configuration of the target together with where its nodes came from: a node's
*counterpart* is the source node that identity or a mapping carried to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statekeep_cli.core.configuration import configuration_of, is_legal, leaves
from statekeep_cli.core.migration import Migration
from statekeep_cli.core.model import Definition, Path, StateNode, join_path
from statekeep_cli.core.semantics import HistoryValue, default_entry


@dataclass(frozen=True, slots=True)
class Placed:
    """A legal target configuration. `counterparts` maps target to source node indexes, `defaulted`
    is the set of nodes that were entered by default, `keys` the mapping keys used."""

    configuration: int
    counterparts: Mapping[int, int] = field(default_factory=dict, compare=False)
    defaulted: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """No placement: a reason code and the state it is about."""

    reason: str
    state: str


def target_nodes(target: Definition, value: Any) -> tuple[StateNode | None, int]:
    """What a mapping value names: (its node if it is a path, the nodes it makes active).

    A path is entered by default; a nested state value is literal. (None, 0) if it is neither.
    """
    if isinstance(value, str):
        node = target.node(value) or target.node((value,))
        if node is None or node.kind == "history":
            return None, 0
        return node, node.ancestors | default_entry(target, node)
    configuration = configuration_of(target, value)
    return None, configuration or 0


def _single_node(target: Definition, value: Any) -> StateNode | None:
    """The one node a mapping value stands for: its path, or the only leaf of a nested value."""
    node, nodes = target_nodes(target, value)
    if node is None and nodes:
        active = leaves(target, nodes)
        return active[0] if len(active) == 1 else None
    return node


def longest_key(mapping: Mapping[Path, Any], path: Path) -> Path | None:
    """The longest mapping key that is this path or an ancestor of it (a route may be from the root)."""
    for length in range(len(path), -1, -1):
        if path[:length] in mapping:
            return path[:length]
    return None


def carry(target: Definition, mapping: Mapping[Path, Any], path: Path) -> StateNode | None:
    """The target node that a source path is carried to: by the mapping, else by its own name."""
    key = longest_key(mapping, path)
    if key is None:
        return target.node(path)
    value = _single_node(target, mapping[key])
    if value is None or key == path or value.is_leaf:  # the inside collapses into a leaf
        return value
    return target.node((*value.path, *path[len(key) :]))


# --- identity ----------------------------------------------------------------------------------------


def identity(source: Definition, target: Definition, configuration: int, m: Migration) -> Placed | Refused:
    """The same paths with the same kinds; `policy.entry: initial` enters what is new inside."""
    nodes = defaulted = 0
    counterparts: dict[int, int] = {}
    for node in source.nodes_in(configuration):
        found = target.node(node.path)
        if found is None or found.kind == "history":
            return _missing(source, target, node)
        if found.kind != node.kind:
            inside = node.kind == "atomic" and found.kind in ("compound", "parallel")
            if not (inside and m.entry_initial):
                return Refused("kind_changed", node.name)
            inner = default_entry(target, found)
            nodes |= inner
            defaulted |= inner & ~(1 << found.index)
        nodes |= 1 << found.index
        counterparts[found.index] = node.index
    return _complete(target, nodes, counterparts, defaulted, (), m)


def _missing(source: Definition, target: Definition, node: StateNode) -> Refused:
    """Why a node has no place: it is gone, as a region of a parallel state or as any other."""
    parent = target.node(source.nodes[node.parent].path) if node.parent >= 0 else None
    was_region = node.parent >= 0 and source.nodes[node.parent].kind == "parallel"
    region = was_region and parent is not None and parent.kind == "parallel"
    return Refused("region_removed" if region else "state_removed", node.name)


def _complete(
    target: Definition,
    nodes: int,
    counterparts: dict[int, int],
    defaulted: int,
    keys: tuple[str, ...],
    m: Migration,
) -> Placed | Refused:
    """Regions nobody claimed are entered by default where that is consented to."""
    for node in target.nodes_in(nodes):
        if node.kind == "compound" and sum(nodes >> c & 1 for c in node.children) > 1:
            return Refused("region_conflict", node.name or target.id)
    for node in target.nodes_in(nodes):
        for child in node.children if node.kind == "parallel" else ():
            if nodes >> child & 1:
                continue
            if not m.entry_initial:
                return Refused("region_added", target.nodes[child].name)
            inner = default_entry(target, target.nodes[child])
            nodes |= inner
            defaulted |= inner
    if not is_legal(target, nodes):
        return Refused("region_conflict", target.id)
    return Placed(nodes, counterparts, defaulted, keys)


# --- mappings ----------------------------------------------------------------------------------------


def with_route(mapping: Mapping[Path, Any], route: tuple[Path, Any]) -> dict[Path, Any]:
    """The mapping with a route's `from -> to` as a key that beats the rest."""
    path, value = route
    return {**{k: v for k, v in mapping.items() if k[: len(path)] != path}, path: value}


def mapping_of(m: Migration, rule: str) -> Mapping[Path, Any]:
    """The mapping that a decision with this rule carries everything by: a route's own, or the block's."""
    if not rule.startswith("route "):
        return m.mapping
    route = m.routes[int(rule.removeprefix("route ")) - 1]
    return with_route(m.mapping, (route.source, route.to))


def mapped(
    source: Definition, target: Definition, configuration: int, mapping: Mapping[Path, Any], m: Migration
) -> Placed | Refused:
    """Every active leaf by its longest key; leaves without one keep their names."""
    nodes = 1
    defaulted = 0
    counterparts: dict[int, int] = {0: 0}
    keys: dict[str, None] = {}
    for leaf in leaves(source, configuration):
        key = longest_key(mapping, leaf.path)
        if key is None:
            alone = _keep_name(source, target, leaf, m)
            if isinstance(alone, Refused):
                return alone
            nodes |= alone.configuration
            defaulted |= alone.defaulted
            counterparts.update(alone.counterparts)
            continue
        value = mapping[key]
        keys[join_path(key)] = None
        claim = _claim(source, target, leaf, key, value)
        if isinstance(claim, Refused):
            return claim
        nodes |= claim.configuration
        defaulted |= claim.defaulted
        counterparts.update(claim.counterparts)
    # What stays active under its own name is the same node still, whatever else was carried to it.
    for node in target.nodes_in(nodes):
        same = source.by_path.get(node.path)
        if defaulted >> node.index & 1:
            counterparts.pop(node.index, None)
        elif same is not None and configuration >> same & 1:
            counterparts[node.index] = same
    return _complete(target, nodes, counterparts, defaulted, tuple(keys), m)


def _keep_name(source: Definition, target: Definition, leaf: StateNode, m: Migration) -> Placed | Refused:
    """A leaf without a key keeps its own path, under identity's rules for the nodes on its way."""
    nodes = defaulted = 0
    counterparts: dict[int, int] = {}
    for node in source.nodes_in(leaf.ancestors | 1 << leaf.index):
        found = target.node(node.path)
        if found is None or found.kind == "history":
            return _missing(source, target, node)
        nodes |= 1 << found.index
        counterparts[found.index] = node.index
        if found.kind != node.kind:
            inside = node.kind == "atomic" and found.kind in ("compound", "parallel")
            if not (inside and m.entry_initial):
                return Refused("kind_changed", node.name)
            inner = default_entry(target, found)
            nodes |= inner
            defaulted |= inner & ~(1 << found.index)
    return Placed(nodes, counterparts, defaulted)


def _claim(
    source: Definition, target: Definition, leaf: StateNode, key: Path, value: Any
) -> Placed | Refused:
    """What one leaf claims in the target through one key."""
    key_index = source.by_path[key] if key else 0
    node, nodes = target_nodes(target, value)
    if not nodes:
        return Refused("state_removed", value if isinstance(value, str) else join_path(key))
    if leaf.path == key:
        if node is None:
            single = _single_node(target, value)
            return Placed(nodes, {single.index: key_index} if single is not None else {})
        inside = nodes & node.descendants
        return Placed(nodes, {node.index: key_index}, inside)
    if node is None:
        node = _single_node(target, value)
        if node is None:
            return Refused("substate_unmapped", leaf.name)
    if node.kind in ("atomic", "final"):  # the inside collapses into it
        return Placed(node.ancestors | 1 << node.index, {node.index: key_index})
    nodes = node.ancestors | 1 << node.index
    counterparts = {node.index: key_index}
    for length in range(len(key) + 1, len(leaf.path) + 1):
        inner = source.by_path[leaf.path[:length]]
        found = target.node((*node.path, *leaf.path[len(key) : length]))
        if found is None or found.kind != source.nodes[inner].kind:
            return Refused("substate_unmapped", leaf.name)
        nodes |= 1 << found.index
        counterparts[found.index] = inner
    return Placed(nodes, counterparts)


def covering_keys(source: Definition, configuration: int, mapping: Mapping[Path, Any]) -> bool:
    """Does a mapping key cover an active leaf?"""
    return any(longest_key(mapping, leaf.path) is not None for leaf in leaves(source, configuration))


# --- what a snapshot remembers -------------------------------------------------------------------------


def carry_history(
    source: Definition, target: Definition, history: HistoryValue, mapping: Mapping[Path, Any]
) -> HistoryValue | None:
    """Remembered history values under the target's names; None when one of them is lost."""
    carried: dict[int, int] = {}
    for index, remembered in history:
        found = carry_remembered(source, target, index, remembered, mapping)
        if found is None:
            return None
        nodes = sum(1 << i for i in set(found[1].values()))
        if carried.setdefault(found[0], nodes) != nodes:  # one history node cannot remember both
            return None
    return tuple(sorted(carried.items()))


def carry_remembered(
    source: Definition, target: Definition, index: int, remembered: int, mapping: Mapping[Path, Any]
) -> tuple[int, dict[int, int]] | None:
    """One remembered history value: the target's history node, and where each remembered node went.

    A node keeps its kind unless a key names that very node, and stays inside the history's parent.
    """
    found = carry(target, mapping, source.nodes[index].path)
    if found is None or found.kind != "history":
        return None
    parent, nodes = target.nodes[found.parent], {}
    for inner in source.nodes_in(remembered):
        to = carry(target, mapping, inner.path)
        if to is None or not parent.descendants >> to.index & 1:
            return None
        if to.kind != inner.kind and longest_key(mapping, inner.path) != inner.path:
            return None
        if not found.deep and to.parent != parent.index:
            return None
        nodes[inner.index] = to.index
    return found.index, nodes
