"""Definitions as frozen values: state nodes, transitions, and the routing metadata beside them.

A definition is an XState v5 machine config (v4 spellings `cond` and `internal` accepted) plus
`version` and `migration` (apv.md section 2). `build` turns a plain, already checked config into a
`Definition`; it resolves every name to a node once, so nothing below it looks anything up by text.

Sets of state nodes are ints: bit *i* stands for `definition.nodes[i]`, and nodes are numbered in
document order, so iterating a set from its lowest bit is document order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["atomic", "compound", "parallel", "final", "history"]
Path = tuple[str, ...]
StateValue = str | dict[str, Any]
Version = str | int


class DefinitionError(ValueError):
    """A config that cannot be built; `pointer` is where, as keys and indexes from the top."""

    def __init__(self, pointer: tuple[str | int, ...], message: str):
        super().__init__(message)
        self.pointer = pointer
        self.message = message


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard's name and its parameters as canonical JSON ("" without any); its body is invisible."""

    name: str
    params: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """One candidate: `targets` are node indexes, or None for a targetless transition.

    `descriptor` is the event descriptor it is listed under ("" for `always`).
    """

    source: int
    descriptor: str
    targets: tuple[int, ...] | None
    guard: Guard | None = None
    actions: bool = False
    reenter: bool = False

    @property
    def forbidden(self) -> bool:
        """`EVENT: {}`: takes the event, does nothing (XState's forbidden transition)."""
        return self.targets is None and not self.actions


@dataclass(frozen=True, slots=True)
class Invoke:
    """An invoked actor. `id` is the author's, or XState's `<position>.<node id>`."""

    id: str
    src: str
    position: int
    own_id: bool
    targeted: bool  # some onDone or onError has a target


@dataclass(frozen=True, slots=True)
class Timer:
    """A delayed transition group of one node; `delay` as written (milliseconds or a name)."""

    delay: str
    targeted: bool


@dataclass(frozen=True, slots=True)
class StateNode:
    """One state node. `path` is its keys from the root (empty for the root)."""

    index: int
    path: Path
    id: str
    kind: Kind
    parent: int  # -1 for the root
    children: tuple[int, ...] = ()  # document order, history nodes left out
    history_children: tuple[int, ...] = ()
    initial: int = -1
    deep: bool = False  # history nodes: deep or shallow
    default: tuple[int, ...] = ()  # history nodes: what an empty history enters
    transitions: Mapping[str, tuple[Transition, ...]] = field(default_factory=dict)
    always: tuple[Transition, ...] = ()
    invokes: tuple[Invoke, ...] = ()
    timers: tuple[Timer, ...] = ()
    entry: bool = False
    wildcards: tuple[str, ...] = ()  # descriptors that end in `*`, the longest first
    inside: int = 0  # `children` as a set
    ancestors: int = 0  # proper ancestors, as a set
    descendants: int = 0  # proper descendants, as a set

    @property
    def name(self) -> str:
        """The path as people write it: `review.pending` (keys' own dots escaped, as in XState)."""
        return join_path(self.path)

    @property
    def is_leaf(self) -> bool:
        return self.kind in ("atomic", "final")


@dataclass(frozen=True, slots=True)
class Definition:
    """A statechart and its routing metadata. Equality is identity of content (`digest`)."""

    id: str
    version: Version
    nodes: tuple[StateNode, ...] = field(compare=False, repr=False)
    by_path: Mapping[Path, int] = field(compare=False, repr=False)
    by_id: Mapping[str, int] = field(compare=False, repr=False)
    migration: Mapping[str, Any] = field(compare=False, repr=False)
    context_schema: Any = field(compare=False, repr=False)
    digest: str = ""
    eventless: int = field(default=0, compare=False, repr=False)  # the nodes with `always`
    listening: dict[str, int] = field(
        default_factory=dict, compare=False, repr=False
    )  # event -> nodes, as asked

    @property
    def root(self) -> StateNode:
        return self.nodes[0]

    def node(self, path: str | Path) -> StateNode | None:
        """The node at a path (`"a.b"` or `("a", "b")`), or None."""
        index = self.by_path.get(split_path(path) if isinstance(path, str) else path)
        return None if index is None else self.nodes[index]

    def nodes_in(self, nodes: int) -> Iterator[StateNode]:
        """The nodes of a set, in document order."""
        while nodes:
            low = nodes & -nodes
            yield self.nodes[low.bit_length() - 1]
            nodes ^= low

    @property
    def label(self) -> str:
        return f"{self.id}@{self.version}"

    def descriptors(self) -> set[str]:
        """Every event descriptor some state listens to, wildcards and forbidden ones included."""
        return {d for n in self.nodes for d in n.transitions}


def split_path(text: str) -> Path:
    r"""`"a.b"` -> `("a", "b")`; a backslash escapes a dot inside a key (XState's toStatePath)."""
    parts, segment, escaped = [], "", False
    for char in text:
        if escaped:
            segment, escaped = segment + char, False
        elif char == "\\":
            escaped = True
        elif char == ".":
            parts.append(segment)
            segment = ""
        else:
            segment += char
    return (*parts, segment)


def join_path(path: Path) -> str:
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces; equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def value_text(value: StateValue) -> str:
    """A state value as JSON, its regions in document order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    # Key order is document order in a statechart and decides between regions: it is kept.
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- building ----------------------------------------------------------------------------------


def as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def kind_of(config: Mapping[str, Any]) -> Kind:
    if "type" in config:
        kind: Kind = config["type"]
        return kind
    if config.get("states"):
        return "compound"
    return "history" if config.get("history") else "atomic"


def guard_of(config: Mapping[str, Any]) -> Guard | None:
    raw = config.get("guard", config.get("cond"))
    if raw is None:
        return None
    if isinstance(raw, str):
        return Guard(raw)
    params = raw.get("params")
    return Guard(str(raw["type"]), "" if params is None else canonical(params))


class Builder:
    """Two passes, as in XState: first the tree and its ids, then the transitions between them."""

    def __init__(self, config: Mapping[str, Any]):
        self.machine_id = str(config.get("id", "(machine)"))
        self.raw: list[Mapping[str, Any]] = []
        self.pointers: list[tuple[str | int, ...]] = []
        self.paths: list[Path] = []
        self.parents: list[int] = []
        self.ids: list[str] = []
        self.by_path: dict[Path, int] = {}
        self.by_id: dict[str, int] = {}
        self.duplicates: list[DefinitionError] = []  # ids used twice; the first keeps its id
        self._number(config, (), -1, ())

    def _number(
        self,
        config: Mapping[str, Any],
        path: Path,
        parent: int,
        pointer: tuple[str | int, ...],
    ) -> None:
        # An explicit stack: a deeply nested definition must not exhaust Python's own.
        stack = [(config, path, parent, pointer)]
        while stack:
            config, path, parent, pointer = stack.pop()
            index = len(self.raw)
            node_id = self.machine_id if not path else str(config.get("id") or self._default_id(path))
            if node_id in self.by_id:
                message = f"the id '{node_id}' is used twice"
                self.duplicates.append(DefinitionError((*pointer, "id"), message))
            self.raw.append(config)
            self.pointers.append(pointer)
            self.paths.append(path)
            self.parents.append(parent)
            self.ids.append(node_id)
            self.by_path[path] = index
            self.by_id.setdefault(node_id, index)
            for key, child in reversed((config.get("states") or {}).items()):
                stack.append((child or {}, (*path, key), index, (*pointer, "states", key)))

    def _default_id(self, path: Path) -> str:
        return ".".join((self.machine_id, *path))

    def resolve(self, index: int, target: str, pointer: tuple[str | int, ...]) -> int:
        """A transition target, with XState's rules: `#id`, `.child`, sibling, dotted paths."""
        if target.startswith("#"):
            if target[1:] in self.by_id:  # ids may hold dots of their own
                return self.by_id[target[1:]]
            head, *rest = split_path(target[1:])
            start = self.by_id.get(head)
            found = None if start is None else self.by_path.get((*self.paths[start], *rest))
        elif target.startswith("."):
            found = self.by_path.get((*self.paths[index], *split_path(target[1:])))
        elif index == 0:
            found = None
        else:
            parent = self.parents[index]
            found = self.by_path.get((*self.paths[parent], *split_path(target)))
        if found is None:
            hint = f" (from the machine itself it is '.{target}')" if index == 0 else ""
            raise DefinitionError(pointer, f"no state is called '{target}' from here{hint}")
        return found

    def transitions(
        self, index: int, descriptor: str, raw: Any, pointer: tuple[str | int, ...]
    ) -> tuple[Transition, ...]:
        found = []
        many = isinstance(raw, list)
        for i, item in enumerate(raw if many else [raw]):
            at = (*pointer, i) if many else pointer
            config: Mapping[str, Any] = (
                {"target": item} if isinstance(item, str) else item if item is not None else {}
            )
            target = config.get("target")
            targets = None
            if target is not None and target != "":
                at_target = at if isinstance(item, str) else (*at, "target")
                targets = tuple(
                    self.resolve(index, t, (*at_target, j) if isinstance(target, list) else at_target)
                    for j, t in enumerate(as_list(target))
                )
            internal = config.get("internal")
            found.append(
                Transition(
                    source=index,
                    descriptor=descriptor,
                    targets=targets,
                    guard=guard_of(config),
                    actions=bool(as_list(config.get("actions"))),
                    reenter=bool(config.get("reenter", internal is False)),
                )
            )
        return tuple(found)

    def invokes(self, index: int) -> tuple[Invoke, ...]:
        found = []
        for i, raw in enumerate(as_list(self.raw[index].get("invoke"))):
            src = raw.get("src")
            src_name = src if isinstance(src, str) else canonical(src) if src is not None else ""
            outcomes = [
                t
                for key in ("onDone", "onError")
                for t in as_list(raw.get(key))
                if isinstance(t, str) or (isinstance(t, dict) and t.get("target"))
            ]
            own = raw.get("id")
            found.append(
                Invoke(
                    id=str(own) if own is not None else f"{i}.{self.ids[index]}",
                    src=src_name,
                    position=i,
                    own_id=own is not None,
                    targeted=bool(outcomes),
                )
            )
        return tuple(found)

    def node(self, index: int, children: list[int]) -> StateNode:
        raw, pointer, path = self.raw[index], self.pointers[index], self.paths[index]
        kind = kind_of(raw)
        listed: dict[str, tuple[Transition, ...]] = {}

        def add(descriptor: str, value: Any, *where: str | int) -> None:
            more = self.transitions(index, descriptor, value, (*pointer, *where))
            listed[descriptor] = listed.get(descriptor, ()) + more

        for descriptor, value in (raw.get("on") or {}).items():
            add(descriptor, value, "on", descriptor)
        if raw.get("onDone") is not None:
            add(f"xstate.done.state.{self.ids[index]}", raw["onDone"], "onDone")
        invokes = self.invokes(index)
        many = isinstance(raw.get("invoke"), list)
        for invoke, config in zip(invokes, as_list(raw.get("invoke")), strict=True):
            where: tuple[str | int, ...] = ("invoke", invoke.position) if many else ("invoke",)
            for on, prefix in (
                ("onDone", "done.actor"),
                ("onError", "error.actor"),
                ("onSnapshot", "snapshot"),
            ):
                if config.get(on) is not None:
                    add(f"xstate.{prefix}.{invoke.id}", config[on], *where, on)
        timers = []
        for delay, value in (raw.get("after") or {}).items():
            name = f"xstate.after.{delay}.{self.ids[index]}"
            add(name, value, "after", delay)
            targeted = any(t.targets is not None for t in listed[name])
            timers.append(Timer(str(delay), targeted))

        initial = -1
        default: tuple[int, ...] = ()
        if kind == "compound":
            key: Any = raw.get("initial")
            key = key.get("target") if isinstance(key, dict) else key
            if not isinstance(key, str) or (*path, *split_path(key)) not in self.by_path:
                what = "has no initial state" if key is None else f"has no state '{key}' to start in"
                at = (*pointer, "initial") if key is not None else pointer
                raise DefinitionError(at, f"'{join_path(path) or self.machine_id}' {what}")
            initial = self.by_path[(*path, *split_path(key))]
        elif kind == "history":
            target = raw.get("target")
            parent = self.parents[index]
            if target is not None:
                default = tuple(self.resolve(index, t, (*pointer, "target")) for t in as_list(target))
            elif kind_of(self.raw[parent]) == "parallel":
                default = (parent,)
        ancestors, up = 0, self.parents[index]
        while up >= 0:
            ancestors |= 1 << up
            up = self.parents[up]
        kinds = {c: kind_of(self.raw[c]) for c in children}
        return StateNode(
            index=index,
            path=path,
            id=self.ids[index],
            kind=kind,
            parent=self.parents[index],
            children=tuple(c for c in children if kinds[c] != "history"),
            history_children=tuple(c for c in children if kinds[c] == "history"),
            inside=sum(1 << c for c in children if kinds[c] != "history"),
            wildcards=tuple(sorted((x for x in listed if x.endswith("*")), key=len, reverse=True)),
            initial=initial,
            deep=raw.get("history") == "deep",
            default=default,
            transitions=listed,
            always=(
                self.transitions(index, "", raw["always"], (*pointer, "always"))
                if raw.get("always") is not None
                else ()
            ),
            invokes=invokes,
            timers=tuple(timers),
            entry=bool(as_list(raw.get("entry"))),
            ancestors=ancestors,
        )


def build(config: Mapping[str, Any], migration: Mapping[str, Any] | None = None) -> Definition:
    """A `Definition` from a plain config, with the routing metadata inline or given separately.

    Raises `DefinitionError`, with a pointer, for what cannot be resolved: an unknown target, a
    compound state without its initial one, an id used twice.
    """
    builder = Builder(config)
    if builder.duplicates:
        raise builder.duplicates[0]
    count = len(builder.raw)
    children: list[list[int]] = [[] for _ in range(count)]
    for index in range(1, count):
        children[builder.parents[index]].append(index)
    nodes = [builder.node(i, children[i]) for i in range(count)]
    descendants = [0] * count
    for index in range(count - 1, 0, -1):
        descendants[builder.parents[index]] |= descendants[index] | 1 << index
    for index in range(count):
        object.__setattr__(nodes[index], "descendants", descendants[index])
        if nodes[index].kind == "history" and not nodes[index].default:
            parent = nodes[nodes[index].parent]
            object.__setattr__(nodes[index], "default", (parent.initial,))
    block = dict(config.get("migration") or {})
    if migration:
        block.update(migration)
    if config.get("stateMapping"):
        block["stateMapping"] = {**config["stateMapping"], **block.get("stateMapping", {})}
    return Definition(
        id=str(config.get("id", "(machine)")),
        version=config.get("version", ""),
        nodes=tuple(nodes),
        by_path=builder.by_path,
        by_id=builder.by_id,
        migration=block,
        context_schema=config.get("contextSchema"),
        digest=digest([config, migration]),
        eventless=sum(1 << n.index for n in nodes if n.always),
    )
