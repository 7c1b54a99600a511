"""State values as trees: their leaves, what changed between two, and the shape that all of them share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from statekeep_cli.core.model import Path, join_path

# States inside states.
MAX_DEPTH = 50

# A state value as a tree: `{"a": "b"}` and `{"a": {"b": {}}}` are the same one.
Tree = dict[str, "Tree"]


class NotInferable(ValueError):
    """What was observed is no statechart; the message says what stands in the way, and the next step."""


def tree_of(value: Any, depth: int = 0) -> Tree:
    """A state value as a tree. Raises `NotInferable` for what is none."""
    if depth > MAX_DEPTH:
        raise NotInferable(f"a state is nested more than {MAX_DEPTH} deep; no statechart is made of that")
    if isinstance(value, str) and value:
        return {value: {}}
    if isinstance(value, dict) and value and all(value):
        return {key: {} if inner == {} else tree_of(inner, depth + 1) for key, inner in value.items()}
    text = json.dumps(value, ensure_ascii=False)
    raise NotInferable(f"{text[:80]} is no state; a state is a name, or an object of states that are active")


def text_of(tree: Tree) -> str:
    """A state as one line of text: its leaves' paths."""
    return " + ".join(join_path(p) for p in leaves_of(tree))


def is_flat(tree: Tree) -> bool:
    """A single state with nothing inside."""
    return len(tree) == 1 and not next(iter(tree.values()))


def leaves_of(tree: Tree, at: Path = ()) -> list[Path]:
    """The innermost states of a tree."""
    found: list[Path] = []
    for key, inner in tree.items():
        found += leaves_of(inner, (*at, key)) if inner else [(*at, key)]
    return found


def nodes_of(tree: Tree, at: Path = ()) -> list[Path]:
    """Every state of a tree, outer ones first."""
    found: list[Path] = []
    for key, inner in tree.items():
        found.append((*at, key))
        found += nodes_of(inner, (*at, key))
    return found


def moves_of(before: Tree, after: Tree, at: Path = ()) -> list[tuple[Path, tuple[Path, ...]]]:
    """What changed between two trees of one shape: (state that is left, leaves that are entered)."""
    if before == after:
        return []
    if before.keys() == after.keys():
        return [move for key in before for move in moves_of(before[key], after[key], (*at, key))]
    (key,) = before  # only a compound state changes its child
    owner, inner = (*at, key), before[key]
    while len(inner) == 1:
        key, inner = next(iter(inner.items()))
        owner = (*owner, key)
    return [(owner, tuple(leaves_of(after, at)))]


def shape_of(trees: Iterable[Tree]) -> dict[Path, tuple[str, ...]]:
    """The parallel places of all trees with their regions. Raises `NotInferable` where trees contradict each
    other."""
    shapes: dict[Path, frozenset[str]] = {}  # what a place had the first time
    order: dict[Path, tuple[str, ...]] = {}
    inside: dict[Path, bool] = {}

    def look(tree: Tree, at: Path) -> None:
        keys = frozenset(tree)
        known = shapes.setdefault(at, keys)
        name = f"'{join_path(at)}'" if at else "the machine"
        if len(known) > 1 or len(keys) > 1:
            if known != keys:
                one, other = (", ".join(sorted(k)) for k in (known, keys))
                raise NotInferable(
                    f"{name} is recorded with ({one}) and with ({other}) active inside; a parallel state has "
                    "all its regions active, always: mend the recorded states, or record one region only"
                )
            order.setdefault(at, tuple(tree))
        for key, inner in tree.items():
            path = (*at, key)
            if inside.setdefault(path, bool(inner)) != bool(inner):
                raise NotInferable(
                    f"the state '{join_path(path)}' is recorded with states inside it and without; "
                    "mend the recorded states so that it has them always or never"
                )
            if inner:
                look(inner, path)

    for tree in trees:
        look(tree, ())
    return order
