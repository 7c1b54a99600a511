"""Meaning, part one: the statechart itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.check_finding import Finding, Pointer, closest, did_you_mean, listed
from statekeep_cli.core.model import Builder, DefinitionError, as_list, join_path, kind_of, split_path

_OWN = {"on", "after", "always", "invoke", "entry", "exit", "onDone", "initial", "states"}
_MOVES = ("on", "after", "always", "invoke", "onDone")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One written transition and where it stands; `bare`: just a target, without a mapping."""

    pointer: Pointer
    config: Mapping[str, Any]
    bare: bool

    def targets(self) -> Iterator[tuple[Pointer, str]]:
        """The targets written, each with its own place."""
        target = self.config.get("target")
        if self.bare:
            yield self.pointer, str(target)
        elif isinstance(target, list):
            yield from (((*self.pointer, "target", i), str(t)) for i, t in enumerate(target))
        elif target is not None:
            yield (*self.pointer, "target"), str(target)

    @property
    def guard(self) -> str | None:
        """Its guard's name."""
        raw = self.config.get("guard", self.config.get("cond"))
        return raw.get("type") if isinstance(raw, Mapping) else raw


def check_statechart(builder: Builder, cut: frozenset[Pointer]) -> Iterator[Finding]:
    """Kinds, initial states, ids, targets, descriptors and guards of a config of the right shape."""
    guards: dict[str, Pointer] = {}
    for error in builder.duplicates:
        hint = "ids are unique; without one, a state's id is its path after the machine's"
        yield Finding("SK023", error.pointer, error.message, hint)
    for index, raw in enumerate(builder.raw):
        yield from _node(builder, index, cut)
        for candidates in transitions_of(raw, builder.pointers[index]):
            yield from _candidates(builder, index, candidates)
            for candidate in candidates:
                if candidate.guard is not None:
                    guards.setdefault(
                        candidate.guard,
                        (*candidate.pointer, "guard" if "guard" in candidate.config else "cond"),
                    )
    if guards:
        one = len(guards) == 1
        said = "the body of 1 guard is" if one else f"the bodies of {len(guards)} guards are"
        yield Finding(
            "SK032",
            next(iter(guards.values())),
            f"{said} code and {'stays' if one else 'stay'} invisible: {listed(guards)}",
            "name every guard: one written inline is lost by JSON.stringify without a trace",
        )


def transitions_of(raw: Mapping[str, Any], pointer: Pointer) -> Iterator[list[Candidate]]:
    """Every list of candidates that a state node holds, in the order in which they are tried."""
    for key in ("on", "after"):
        for name, value in (raw.get(key) or {}).items():
            yield _list(value, (*pointer, key, name))
    for key in ("always", "onDone"):
        if raw.get(key) is not None:
            yield _list(raw[key], (*pointer, key))
    many = isinstance(raw.get("invoke"), list)
    for i, invoke in enumerate(as_list(raw.get("invoke"))):
        where: Pointer = (*pointer, "invoke", i) if many else (*pointer, "invoke")
        for key in ("onDone", "onError", "onSnapshot"):
            if invoke.get(key) is not None:
                yield _list(invoke[key], (*where, key))


def _list(value: Any, pointer: Pointer) -> list[Candidate]:
    many = isinstance(value, list)
    found = []
    for i, item in enumerate(value if many else [value]):
        at: Pointer = (*pointer, i) if many else pointer
        if isinstance(item, str):
            found.append(Candidate(at, {"target": item}, True))
        elif item is not None or not many:
            found.append(Candidate(at, item or {}, False))
    return found


# --- nodes -------------------------------------------------------------------------------------------


def _node(builder: Builder, index: int, cut: frozenset[Pointer]) -> Iterator[Finding]:
    raw, pointer = builder.raw[index], builder.pointers[index]
    kind, inside = kind_of(raw), bool(raw.get("states"))
    name = f"'{join_path(builder.paths[index])}'" if index else "the machine"
    if (*pointer, "type") in cut:
        return
    if index == 0 and kind in ("final", "history"):
        yield Finding(
            "SK025", (*pointer, "type"), f"the machine itself cannot be a {kind} state", "remove the type"
        )
        return
    if kind in ("atomic", "final") and inside:
        yield Finding(
            "SK025",
            (*pointer, "states"),
            f"{name} is {kind} and has states",
            "remove the states or the type",
            "key",
        )
    if kind in ("compound", "parallel") and not inside and (*pointer, "states") not in cut:
        yield Finding(
            "SK025",
            (*pointer, "type"),
            f"{name} is {kind} and has no states",
            "add states or remove the type",
        )
    yield from _history(builder, index, kind, name)
    if kind == "compound" and inside:
        yield from _initial(builder, index, name, cut)
    if kind == "final":
        for key in _MOVES:
            if raw.get(key):
                yield Finding(
                    "SK030",
                    (*pointer, key),
                    f"{name} is final and has '{key}'",
                    "a final state is an end; remove it, or the type",
                    "key",
                )
    for descriptor in raw.get("on") or {}:
        yield from _descriptor(descriptor, (*pointer, "on", descriptor))


def _initial(builder: Builder, index: int, name: str, cut: frozenset[Pointer]) -> Iterator[Finding]:
    raw, at = builder.raw[index], (*builder.pointers[index], "initial")
    children = [str(k) for k, v in raw["states"].items() if kind_of(v or {}) != "history"]
    key = raw.get("initial")
    if key is None:
        if at not in cut:
            first = children[0] if children else next(iter(raw["states"]))
            hint = f"add one, for example initial: {first}"
            yield Finding("SK021", at, f"{name} has states and no initial one", hint, "key")
        return
    at = (*at, "target") if isinstance(key, dict) else at
    text = str(key["target"] if isinstance(key, dict) else key)
    if (*builder.paths[index], *split_path(text)) not in builder.by_path:
        hint = did_you_mean(text, children, f"its states are {listed(children)}")
        yield Finding("SK022", at, f"{name} has no state '{text}' to start in", hint)


def _history(builder: Builder, index: int, kind: str, name: str) -> Iterator[Finding]:
    raw, pointer = builder.raw[index], builder.pointers[index]
    if kind != "history":
        if raw.get("history"):
            yield Finding(
                "SK024",
                (*pointer, "history"),
                f"{name} is {kind} and has 'history'",
                "write type: history",
                "key",
            )
        if raw.get("target") is not None:
            yield Finding(
                "SK024",
                (*pointer, "target"),
                f"{name} is no history node and has 'target'",
                "write a transition under 'always', or type: history",
                "key",
            )
        return
    for key in sorted(_OWN & raw.keys()):
        if raw[key]:
            yield Finding(
                "SK024",
                (*pointer, key),
                f"{name} is a history node and has '{key}'",
                "it is never active",
                "key",
            )
    parent = builder.parents[index]
    targets = list(Candidate(pointer, raw, False).targets())
    for at, target in targets:
        try:
            found = builder.resolve(index, target, at)
        except DefinitionError:
            yield Finding(
                "SK020", at, f"no state is called '{target}' from here", _meant(builder, index, target)
            )
            continue
        if not _inside(builder, found, parent) or kind_of(builder.raw[found]) == "history":
            yield Finding(
                "SK024",
                at,
                f"{name} enters '{target}' outside the state it remembers",
                "name a state beside it",
            )
    siblings = [v for k, v in builder.raw[parent]["states"].items() if kind_of(v or {}) != "history"]
    if not siblings:
        yield Finding(
            "SK024", pointer, f"{name} has nothing to remember", "put it beside the states it remembers"
        )


def _inside(builder: Builder, node: int, of: int) -> bool:
    return len(builder.paths[node]) > len(builder.paths[of]) and (
        builder.paths[node][: len(builder.paths[of])] == builder.paths[of]
    )


def _descriptor(descriptor: str, pointer: Pointer) -> Iterator[Finding]:
    if descriptor == "":
        yield Finding("SK027", pointer, "an event without a name", "write it under 'always'", "key")
    elif (
        "*" in descriptor and descriptor != "*" and ("*" in descriptor[:-1] or not descriptor.endswith(".*"))
    ):
        yield Finding(
            "SK026",
            pointer,
            f"'{descriptor}' never matches as a wildcard",
            "a wildcard is '*' or ends with '.*'",
            "key",
        )


# --- transitions -------------------------------------------------------------------------------------


def _candidates(builder: Builder, index: int, candidates: list[Candidate]) -> Iterator[Finding]:
    for i, candidate in enumerate(candidates):
        resolved = []
        for at, target in candidate.targets():
            try:
                resolved.append(builder.resolve(index, target, at))
            except DefinitionError as error:
                yield Finding("SK020", at, error.message, _meant(builder, index, target))
        yield from _together(builder, candidate, resolved)
        if i + 1 < len(candidates) and candidate.guard is None:
            yield Finding(
                "SK028",
                candidates[i + 1].pointer,
                "never tried: the candidate before it has no guard",
                "move the one without a guard to the end; a guard written inline is lost by JSON.stringify",
            )
            break


def _together(builder: Builder, candidate: Candidate, targets: list[int]) -> Iterator[Finding]:
    for i, a in enumerate(targets):
        for b in targets[:i]:
            if a == b or _inside(builder, a, b) or _inside(builder, b, a):
                continue
            pa, pb = builder.paths[a], builder.paths[b]
            shared = 0
            while pa[shared] == pb[shared]:
                shared += 1
            above = builder.by_path[pa[:shared]]
            if kind_of(builder.raw[above]) != "parallel":
                yield Finding(
                    "SK033",
                    (*candidate.pointer, "target"),
                    f"'{join_path(pa)}' and '{join_path(pb)}' cannot be active together",
                    "several targets belong in different regions of a parallel state",
                )
                return


def _meant(builder: Builder, index: int, target: str) -> str:
    """A hint for a target that does not resolve."""
    if len(builder.raw) > 1_000:
        return "name a sibling, .child or #id"  # looking for near names takes too long
    if target.startswith("#"):
        return did_you_mean(target, [f"#{i}" for i in builder.by_id], "'#' names a state's id")
    base = builder.paths[index] if target.startswith(".") or index == 0 else builder.paths[index][:-1]
    wanted = target.removeprefix(".")
    dot = "." if target.startswith(".") or index == 0 else ""
    here = [join_path(p[len(base) :]) for p in builder.by_path if p[: len(base)] == base and p != base]
    if dot and wanted in here:
        return f"did you mean '.{wanted}'?"
    near = closest(wanted, here)
    if near:
        return f"did you mean '{dot}{near}'?"
    last = split_path(wanted)[-1]
    for path, found in builder.by_path.items():
        if path and path[-1] == last:
            return f"'{join_path(path)}' is elsewhere; write '#{builder.ids[found]}'"
    keys = [k for k in here if "." not in k]
    return f"from here there are {listed(keys)}" if keys else "name a sibling, .child or #id"
