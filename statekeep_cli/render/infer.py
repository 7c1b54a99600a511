"""An inferred machine as a YAML definition with counts, and the summary beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from statekeep_cli.core.inferred import Candidate, Inferred, Listed, Node, target_text, walk
from statekeep_cli.core.report import yaml_scalar

# YAML wants a key that stands before a `:` on one line within 1024 characters.
LONGEST_KEY = 900
# Other first states that are listed.
SAMPLE = 5


def yaml(found: Inferred, source: str, thresholds: str = "") -> str:
    """The definition, with comments. `source` names where the histories came from, `thresholds` the options
    by which rare transitions were left out."""
    lines = [
        *(f"# {line}" for line in (*_head(), _counted(found, source), *_start(found), *_notes(found))),
        *([f"# {_left_out(found, thresholds)}"] if found.left_out else []),
        f"id: {scalar(found.id)}",
        "version: 1",
        *_inside(found.root, found, ""),
    ]
    return "\n".join(lines) + "\n"


def summary(found: Inferred, source: str, thresholds: str, next_command: str) -> str:
    """What was found, for standard error; ends with the next command to run, if there is one."""
    lines = [_counted(found, source), *_start(found), *_notes(found)]
    if found.left_out:
        lines.append(_left_out(found, thresholds))
    return "\n".join([*lines, *(["", f"next: {next_command}"] if next_command else [])]) + "\n"


# --- sentences ---------------------------------------------------------------------------------------


def _head() -> tuple[str, str]:
    return (
        "Inferred from histories, which show steps and not reasons. Not in here: what guards ask, timers,",
        "invoked actors, actions, parallel states that were recorded as one, and steps that nobody took yet.",
    )


def _counted(found: Inferred, source: str) -> str:
    t = found.totals
    return (
        f"{_text(source)}: {_n(t.actors, 'actor')}, {_n(t.events, 'event')}; "
        f"{_n(found.states, 'state')}, {_n(found.transitions, 'transition')}"
    )


def _start(found: Inferred) -> Iterator[str]:
    start = found.start
    name = _text(start.name)
    others = sum(n for _, n in start.others)
    if start.why == "given":
        yield f"starts in {name}, as was asked for" + (
            "" if start.actors else "; no history records that state"
        )
    elif start.why == "empty":
        yield f"starts in {name}, where {_n(start.actors, 'actor')} with an empty history {_be(start.actors)}"
    else:
        total = start.actors + others
        yield f"starts in {name}, the state after the first item of {start.actors:,} of {total:,} histories"
        yield "if that item is an event of an earlier state, name the state with --initial"
    if start.others and start.why == "first":
        listed = ", ".join(f"{_text(name)} ({n:,})" for name, n in start.others[:SAMPLE])
        more = f" and {len(start.others) - SAMPLE} more" if len(start.others) > SAMPLE else ""
        yield f"other first states: {listed}{more}; a transition from {name} stands for what came before"


def _notes(found: Inferred) -> Iterator[str]:
    t = found.totals
    if t.without_history:
        yield f"{_n(t.without_history, 'actor')} without a history: only the state was counted"
    if t.worked_out:
        yield (
            f"{_n(t.worked_out, 'event')} without a recorded state: where they led was worked out from the "
            "other histories"
        )
    if t.unplaced:
        yield (f"{_n(t.unplaced, 'event')} could not be placed, since no state was recorded: left out")
    if t.jumps:
        yield f"{_n(t.jumps, 'marker')} (manual, migrated) moved actors without an event: left out"
    if t.elsewhere:
        yield f"{_n(t.elsewhere, 'actor')} {_be(t.elsewhere)} not in the last state their history records"
    if found.unlisted:
        yield f"{_n(found.unlisted, 'event')} changed nothing in a parallel state: not listed"
    if any(c.targets == (n.path,) for n in walk(found.root) for e in n.events for c in e.candidates):
        yield "stays: an event that changed nothing; its state as its own target leaves and enters nothing"
    invented = {e.event for n in walk(found.root) for e in n.events if e.invented}
    if invented:
        yield f"{_n(len(invented), 'event')} named TO_<STATE>: the log has no type for them; rename freely"
    guards = sum(bool(c.guard) for n in walk(found.root) for e in n.events for c in e.candidates)
    if guards:
        yield f"{_n(guards, 'placeholder guard')} (..._leads_to_...) where one event led to several places"


def _left_out(found: Inferred, thresholds: str) -> str:
    return (
        f"{_n(found.left_out, 'transition')} left out by {thresholds}, seen "
        f"{_n(found.left_out_times, 'time')} in all; histories with them are not explained by this machine"
    )


def _n(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _be(n: int) -> str:
    return "is" if n == 1 else "are"


def _text(name: str) -> str:
    """A name within a comment or a sentence: on one line, whatever it holds."""
    return name if name.isprintable() and name.strip() == name and name else scalar(name)


# --- YAML --------------------------------------------------------------------------------------------


def scalar(text: str) -> str:
    """A string as a YAML scalar on one line; what cannot be seen is escaped."""
    plain = yaml_scalar(text)
    if not plain.startswith('"'):
        return plain
    return "".join(c if c.isprintable() else _escape(c) for c in plain)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"


def _key(text: str, indent: str) -> str:
    key = scalar(text)
    return f"{indent}{key}:" if len(key.encode()) <= LONGEST_KEY else f"{indent}? {key}\n{indent}:"


def _inside(node: Node, found: Inferred, indent: str) -> Iterator[str]:
    """The lines of a node's body."""
    if node.kind in ("parallel", "final"):
        yield f"{indent}type: {node.kind}"
    if node.initial:
        yield f"{indent}initial: {scalar(node.initial)}"
    if node.events:
        yield f"{indent}on:"
        for event in node.events:
            yield from _event(event, node, found, indent + "  ")
    if node.children:
        yield f"{indent}states:"
        for child in node.children:
            said = _said(child)
            if said:
                yield f"{indent}  # {said}"
            body = list(_inside(child, found, indent + "    "))
            yield _key(child.path[-1], indent + "  ") + ("" if body else " {}")
            yield from body


def _said(node: Node) -> str:
    """What is worth saying about a state that nothing leads out of."""
    if node.children or node.left:
        return ""
    if node.kind == "final":
        return "final: the status of " + (
            "the one actor here is done" if node.here == 1 else f"all {node.here:,} actors here is done"
        )
    if not node.here:
        return "nothing leads on from here, and no actor is here now"
    done = f", {node.done:,} of them done" if node.done else ""
    if node.here == 1:
        return f"1 actor is here{done} and has not left; add type: final if it is an end"
    return f"{node.here:,} actors are here{done} and none has left; add type: final if it is an end"


def _event(event: Listed, node: Node, found: Inferred, indent: str) -> Iterator[str]:
    key = _key(event.event, indent)
    if len(event.candidates) == 1 and not event.candidates[0].guard:
        (one,) = event.candidates
        if len(one.targets) == 1:
            yield f"{key} {_target(one, node, found)}  # {_seen(one, node, found)}"
            return
    yield key
    many = len(event.candidates) > 1
    for c in event.candidates:
        dash = "  - " if many else "  "
        yield f"{indent}{dash}target: {_target(c, node, found)}  # {_seen(c, node, found)}"
        if c.guard:
            yield f"{indent}{' ' * len(dash)}guard: {scalar(c.guard)}"


def _target(c: Candidate, node: Node, found: Inferred) -> str:
    targets: Sequence[str] = [scalar(target_text(node.path, t, found.id)) for t in c.targets]
    return targets[0] if len(targets) == 1 else f"[{', '.join(targets)}]"


def _seen(c: Candidate, node: Node, found: Inferred) -> str:
    said = f"{_n(c.times, 'time')}, {'at most ' * c.most}{_n(c.actors, 'actor')}"
    if c.targets == (node.path,):
        said += "; stays"
    # Where the start is known, its first items are like all others.
    if c.first and found.start.why == "first":
        said += "; " + ("always a first item" if c.first == c.times else f"{c.first:,} of them first items")
    return said
