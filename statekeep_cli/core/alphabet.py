"""What an event of the source is called in the target (apv.md section 5).

Ordinary events keep their name unless `rename.events` gives them another. Event types that XState
derives embed machine ids and paths; they are compared by what they stand for: a timer by its node, an
invoked actor by its own id or else by its node and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from statekeep_cli.core.migration import Migration
from statekeep_cli.core.model import Definition, Path, StateNode, as_list
from statekeep_cli.core.placement import carry
from statekeep_cli.core.semantics import matches

# Part of a macrostep, never trace items of their own.
INTERNAL = ("xstate.init", "xstate.done.state.")
# Stands for any event that only a bare wildcard could match; `a.*` stands for its own kind likewise.
ANY = "*"


def is_internal(event: str) -> bool:
    return event == INTERNAL[0] or event.startswith(INTERNAL[1])


class Alphabet:
    """Event types of one source, as the target calls them."""

    def __init__(self, source: Definition, target: Definition, m: Migration):
        self.renamed = m.rename_events
        self.listened = {
            d for n in target.nodes for d, ts in n.transitions.items() if not all(t.forbidden for t in ts)
        }
        self.partial = tuple(d for d in self.listened if d.endswith(".*"))
        self.derived: dict[str, str] = {}
        self._carried: dict[int, list[Path]] = {}
        for node in source.nodes:
            there = carry(target, m.mapping, node.path) if node.path else target.root
            same = target.node(node.path)
            for found in {x.index for x in (there, same) if x is not None and node.kind != "history"}:
                self._carried.setdefault(found, []).append(node.path)
            if node.timers or node.invokes:
                to = carry(target, m.mapping, node.path) if node.path else target.root
                self._timers(node, to)
                self._invokes(node, to)

    def _timers(self, node: StateNode, to: StateNode | None) -> None:
        there = [t.delay for t in to.timers] if to is not None else []
        here = [t.delay for t in node.timers]
        pairs = {delay: delay for delay in here if delay in there}
        rest = [delay for delay in there if delay not in pairs]
        pairs.update(zip([delay for delay in here if delay not in pairs], rest, strict=False))
        for delay in here:
            name = f"xstate.after.{delay}.{node.id}"
            if to is not None and delay in pairs:
                self.derived[name] = f"xstate.after.{pairs[delay]}.{to.id}"
            else:
                self.derived[name] = self._gone(name)

    def _invokes(self, node: StateNode, to: StateNode | None) -> None:
        for invoke in node.invokes:
            if invoke.own_id:
                continue
            there = to.invokes[invoke.position : invoke.position + 1] if to is not None else ()
            for prefix in ("xstate.done.actor.", "xstate.error.actor.", "xstate.snapshot."):
                name = prefix + invoke.id
                self.derived[name] = prefix + there[0].id if there else self._gone(name)

    def carried_to(self, target_node: int) -> list[Path]:
        """The source states that identity or a mapping carries to this node."""
        return self._carried.get(target_node, [])

    def _gone(self, name: str) -> str:
        # The target may derive the same text for something else; then it must not be heard there.
        return f"{name} (of the source)" if name in self.listened else name

    def translate(self, event: str) -> str:
        """The target's name of a source event."""
        return self.derived.get(event) or self.renamed.get(event, event)

    def is_retired(self, event: str) -> bool:
        """Does no transition of the target listen to this (translated) event? Bare `*` and forbidden
        transitions do not count."""
        if event == ANY:
            return True
        return event not in self.listened and not any(matches(d, event) for d in self.partial)


def named_in(pattern: Any) -> Iterator[str]:
    """Every event type an anchor pattern names."""
    if isinstance(pattern, list):
        for inner in pattern:
            yield from named_in(inner)
    elif isinstance(pattern, Mapping):
        for key, value in pattern.items():
            if key in ("event", "startsWith", "path"):
                yield from as_list(value)
            else:
                yield from named_in(value)


def events_of(source: Definition, target: Definition, m: Migration) -> tuple[str, ...]:
    """Every event the source listens to, wildcards made concrete: names that the target, the source
    or an anchor spells out, and the wildcard itself for all others."""
    descriptors = {d for d in source.descriptors() if not is_internal(d)}
    exact = {d for d in descriptors if not d.endswith("*")}
    wild = descriptors - exact
    if not wild:
        return tuple(sorted(exact))
    # Derived event types of the target are none that the source could have seen.
    ordinary = {d for d in target.descriptors() if not d.startswith("xstate.")}
    known = {d for d in ordinary if not d.endswith("*")} | set(m.rename_events)
    known |= {e for pattern in m.anchors.values() for e in named_in(pattern)}
    for d in wild:
        exact.add(d)
        exact |= {e for e in known if matches(d, e)}
    # A partial wildcard of the target tells apart events that the source's wildcard does not.
    exact |= {e for e in ordinary if e.endswith(".*") and any(matches(d, e) for d in wild)}
    return tuple(sorted(exact))
