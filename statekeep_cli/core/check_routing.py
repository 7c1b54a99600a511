"""Meaning, part three: the routing metadata (apv.md sections 2 and 4) against both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from statekeep_cli.core.check_finding import Finding, Pointer, did_you_mean, listed
from statekeep_cli.core.check_places import Places
from statekeep_cli.core.check_schemas import check_schema
from statekeep_cli.core.check_statechart import transitions_of
from statekeep_cli.core.model import (
    Builder,
    Definition,
    Path,
    StateNode,
    Transition,
    as_list,
    split_path,
)
from statekeep_cli.core.semantics import matches

_LISTS = ("all", "any", "none")
_AT: Pointer = ("migration",)


def check_routing(
    config: Mapping[str, Any],
    builder: Builder,
    definition: Definition | None,
    sources: Sequence[Definition],
    cut: frozenset[Pointer] = frozenset(),
) -> Iterator[Finding]:
    """Findings about `stateMapping` and `migration` of a config of the right shape.

    Without sources, what names one of them is left alone. Without a `definition` (its statechart has
    errors), state values are checked for their keys only.
    """
    return _Routing(config, builder, definition, sources, cut).findings()


class _Routing:
    def __init__(
        self,
        config: Mapping[str, Any],
        builder: Builder,
        definition: Definition | None,
        sources: Sequence[Definition],
        cut: frozenset[Pointer],
    ):
        self.config = config
        self.block: Mapping[str, Any] = config.get("migration") or {}
        self.builder = builder
        self.cut = cut
        named = {str(x) for x in as_list(self.block.get("from"))}
        self.spoken = [s for s in sources if not named or named & {str(s.version), s.id}] or list(sources)
        self.sources = sources
        self.places = Places(builder, definition, self.spoken)
        self.anchors: Mapping[str, Any] = self.block.get("anchors") or {}

    def findings(self) -> Iterator[Finding]:
        yield from self.versions()
        yield from self.mapping()
        yield from self.patterns()
        yield from self.circles()
        yield from self.routes()
        if "eligible" in self.block:
            yield from self.predicate(self.block["eligible"], (*_AT, "eligible"))
        for path, names in (self.block.get("obligations") or {}).items():
            at: Pointer = (*_AT, "obligations", path)
            yield from self.places.target(path, at, "key")
            for i, name in enumerate(names):
                yield from self.anchor(name, (*at, i))
        for i, entry in enumerate(self.block.get("accept") or []):
            if entry and entry["state"] != "":
                yield from self.places.target(entry["state"], (*_AT, "accept", i, "state"))
        yield from self.renames()
        if "contextSchema" in self.config:
            yield from check_schema(self.config["contextSchema"], ("contextSchema",))

    # --- versions

    def versions(self) -> Iterator[Finding]:
        listed_as = self.block.get("from")
        if not self.sources or listed_as is None:
            return
        known = {n for s in self.sources for n in (str(s.version), s.id)}
        entries = as_list(listed_as)
        # 1.0 is no version at all, which is said elsewhere
        missing = [i for i, x in enumerate(entries) if str(x) not in known and not isinstance(x, float)]
        labels = listed([s.label for s in self.sources])
        for i in missing:
            at: Pointer = (*_AT, "from", i) if isinstance(listed_as, list) else (*_AT, "from")
            if len(missing) == len(entries):
                hint = did_you_mean(str(entries[i]), known, f"the sources are {labels}")
                yield Finding("SK046", at, f"no source has the version {entries[i]}", hint)
            else:
                message = f"version {entries[i]} is not among the sources given ({labels})"
                yield Finding("SK047", at, message, "nothing to do if its actors are elsewhere")

    # --- mapping and routes

    def mapping(self) -> Iterator[Finding]:
        short = self.config.get("stateMapping") or {}
        long = self.block.get("stateMapping") or {}
        for mapping, at in ((short, ("stateMapping",)), (long, (*_AT, "stateMapping"))):
            for key, value in mapping.items():
                yield from self.places.source(key, (*at, key), "key")
                yield from self.places.place(value, (*at, key))
        for key in short:
            if key in long:
                yield Finding(
                    "SK006",
                    ("stateMapping", key),
                    f"'{key}' is mapped in 'stateMapping' and in 'migration.stateMapping'",
                    "keep one of them",
                    "key",
                )

    def routes(self) -> Iterator[Finding]:
        covered: list[tuple[int, Path]] = []
        for i, route in enumerate(self.block.get("routes") or []):
            if not route:
                continue
            at: Pointer = (*_AT, "routes", i)
            path = split_path(route["from"]) if "from" in route else ()
            if path:
                yield from self.places.source(route["from"], (*at, "from"))
            if "to" in route:
                yield from self.places.place(route["to"], (*at, "to"))
            yield from self.predicate(route.get("when") or {}, (*at, "when"))
            if any(p[:3] == at and p[3:4] in (("from",), ("when",)) for p in self.cut):
                continue  # whom it takes is not known
            earlier = next((n for n, p in covered if path[: len(p)] == p), None)
            if earlier is not None:
                yield Finding(
                    "SK045",
                    at,
                    f"route {i + 1} is never reached: route {earlier} takes the same actors unconditionally",
                    "put it before that route, or remove it",
                    "key",
                )
            elif _unconditional(route.get("when") or {}):
                covered.append((i + 1, path))

    def predicate(self, predicate: Mapping[str, Any], at: Pointer) -> Iterator[Finding]:
        for key in _LISTS:
            for i, name in enumerate(predicate.get(key) or []):
                if name is not None:
                    yield from self.anchor(name, (*at, key, i))
        if "context" in predicate:
            yield from check_schema(predicate["context"], (*at, "context"))

    # --- anchors

    def anchor(self, name: str, at: Pointer) -> Iterator[Finding]:
        if name not in self.anchors:
            known = (
                f"the anchors are {listed(self.anchors)}"
                if self.anchors
                else "declare it under migration.anchors"
            )
            yield Finding(
                "SK043", at, f"there is no anchor '{name}'", did_you_mean(name, self.anchors, known)
            )

    def patterns(self) -> Iterator[Finding]:
        for name, pattern in self.anchors.items():
            at: Pointer = (*_AT, "anchors", name)
            if "resume" in pattern:
                yield from self.places.target(pattern["resume"], (*at, "resume"))
            yield from self.pattern(pattern, at)

    def pattern(self, pattern: Any, at: Pointer) -> Iterator[Finding]:
        """One pattern and those inside it; None is a hole that its structure's finding made."""
        if isinstance(pattern, str):
            yield from self.anchor(pattern, at)
        if not isinstance(pattern, dict):
            return
        for key in ("event", "startsWith", "path"):
            many = isinstance(pattern.get(key), list)
            for i, event in enumerate(as_list(pattern.get(key))):
                yield from self.event(event, (*at, key, i) if many else (*at, key))
        if "state" in pattern:
            yield from self.places.source(pattern["state"], (*at, "state"))
        step = pattern.get("transition") or {}
        for key in ("from", "to"):
            if key in step:
                yield from self.places.source(step[key], (*at, "transition", key))
        if "event" in step:
            yield from self.event(step["event"], (*at, "transition", "event"))
        for key in ("sequence", *_LISTS):
            for i, inner in enumerate(pattern.get(key) or []):
                yield from self.pattern(inner, (*at, key, i))
        for key in ("count", "since"):
            for name in ("of", "reset"):
                yield from self.pattern((pattern.get(key) or {}).get(name), (*at, key, name))
        bounds = pattern.get("count") or {}
        if bounds.get("atMost", float("inf")) < bounds.get("atLeast", 0):
            yield Finding("SK050", (*at, "count"), "atMost is less than atLeast", "exchange them", "key")

    def event(self, event: str, at: Pointer) -> Iterator[Finding]:
        known = {d for s in self.spoken for d in s.descriptors()}
        if self.spoken and not _listens(known, event):
            where = listed([s.label for s in self.spoken], "or")
            yield Finding(
                "SK048",
                at,
                f"nothing in {where} listens to '{event}'",
                did_you_mean(event, known, "an event that is not handled is never seen by an anchor"),
            )

    def circles(self) -> Iterator[Finding]:
        """Anchors whose definition comes back to themselves; each circle once."""
        uses = {name: set(_names(pattern)) & self.anchors.keys() for name, pattern in self.anchors.items()}
        done: set[str] = set()
        for start in self.anchors:
            trail: list[str] = []
            stack = [(start, False)]
            while stack:
                name, leaving = stack.pop()
                if leaving:
                    trail.pop()
                    done.add(name)
                elif name in trail:
                    circle = [*trail[trail.index(name) :], name]
                    message = f"anchors refer to each other in a circle: {' -> '.join(circle)}"
                    yield Finding("SK044", (*_AT, "anchors", name), message, "break the circle", "key")
                elif name not in done:
                    trail.append(name)
                    stack.append((name, True))
                    stack.extend((n, False) for n in sorted(uses[name]))

    # --- names of events and guards

    def renames(self) -> Iterator[Finding]:
        rename = self.block.get("rename") or {}
        here = {d for raw in self.builder.raw for d in raw.get("on") or {}}
        there = {d for s in self.spoken for d in s.descriptors()}
        for old, new in (rename.get("events") or {}).items():
            at: Pointer = (*_AT, "rename", "events", old)
            if self.spoken and not _listens(there, old):
                yield Finding("SK048", at, f"no source listens to '{old}'", did_you_mean(old, there), "key")
            if not _listens(here, new):
                yield Finding("SK048", at, f"nothing here listens to '{new}'", did_you_mean(new, here))
        guards = set(_guards(self.builder))
        used = {t.guard.name for s in self.spoken for n in s.nodes for t in _all(n) if t.guard}
        for old, new in (rename.get("guards") or {}).items():
            at = (*_AT, "rename", "guards", old)
            if self.spoken and old not in used:
                yield Finding("SK049", at, f"no source has a guard '{old}'", did_you_mean(old, used), "key")
            if new not in guards:
                yield Finding("SK049", at, f"this definition has no guard '{new}'", did_you_mean(new, guards))
        for i, name in enumerate((self.block.get("changed") or {}).get("guards") or []):
            if name not in guards | used:
                at = (*_AT, "changed", "guards", i)
                yield Finding(
                    "SK049", at, f"neither side has a guard '{name}'", did_you_mean(name, guards | used)
                )


def _unconditional(when: Mapping[str, Any]) -> bool:
    return not any(when.get(k) for k in _LISTS) and when.get("context", True) in (True, {})


def _listens(descriptors: Iterable[str], event: str) -> bool:
    return event.startswith("xstate.") or any(d == event or matches(d, event) for d in descriptors)


def _names(pattern: Any) -> Iterator[str]:
    for key in _LISTS:
        for inner in (pattern.get(key) or []) if isinstance(pattern, dict) else []:
            if isinstance(inner, str):
                yield inner
            else:
                yield from _names(inner)


def _guards(builder: Builder) -> Iterator[str]:
    for raw, pointer in zip(builder.raw, builder.pointers, strict=True):
        for candidates in transitions_of(raw, pointer):
            for candidate in candidates:
                if candidate.guard:
                    yield candidate.guard


def _all(node: StateNode) -> Iterator[Transition]:
    for candidates in (*node.transitions.values(), node.always):
        yield from candidates
