"""An inferred machine as values, and as the plain config that a file of it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from statekeep_cli.core.infer import Totals
from statekeep_cli.core.model import Path, join_path


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way an event led: the leaves entered, a placeholder guard or "", how often, by how many actors
    (with `most`: at most), and in how many first items."""

    targets: tuple[Path, ...]
    guard: str
    times: int
    actors: int
    most: bool
    first: int


@dataclass(frozen=True, slots=True)
class Listed:
    """An event of a state; `invented` where the log had no type for it."""

    event: str
    invented: bool
    candidates: tuple[Candidate, ...]

    @property
    def times(self) -> int:
        return sum(c.times for c in self.candidates)


@dataclass(frozen=True, slots=True)
class Node:
    """A state node. `here` actors are in it now and `done` of them are done; `left`: something leads on."""

    path: Path
    kind: Literal["atomic", "compound", "parallel", "final"]
    initial: str
    children: tuple[Node, ...]
    events: tuple[Listed, ...]
    here: int
    done: int
    left: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Why the machine starts where it does: `given` by the caller (`actors` is 0 if nobody was ever seen
    there), in the state of `actors` with an `empty` history, or in the most frequent `first` state, of
    `actors`. `others` are other first states, as their
    name and number of actors: the most frequent first."""

    why: Literal["given", "empty", "first"]
    name: str
    actors: int
    others: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Inferred:
    """A first definition, and what is known of how it came about.

    `left_out` are transitions below the thresholds, `left_out_times` how often they were seen, and
    `unlisted` events that changed nothing while several regions were active.
    """

    id: str
    root: Node
    start: Start
    totals: Totals
    states: int
    transitions: int
    left_out: int = 0
    left_out_times: int = 0
    unlisted: int = 0

    def config(self) -> dict[str, Any]:
        """The definition as a plain config, as a file of it is read."""
        return {"id": self.id, "version": 1, **node_config(self.root, self.id)}


def node_config(node: Node, machine_id: str) -> dict[str, Any]:
    """A node as a plain config."""
    config: dict[str, Any] = {}
    if node.kind in ("parallel", "final"):
        config["type"] = node.kind
    if node.initial:
        config["initial"] = node.initial
    if node.events:
        config["on"] = {
            e.event: [candidate_config(c, node.path, machine_id) for c in e.candidates]
            if len(e.candidates) > 1
            else _short(candidate_config(e.candidates[0], node.path, machine_id))
            for e in node.events
        }
    if node.children:
        config["states"] = {c.path[-1]: node_config(c, machine_id) for c in node.children}
    return config


def candidate_config(c: Candidate, at: Path, machine_id: str) -> dict[str, Any]:
    """A candidate as it is written in a list."""
    targets = [target_text(at, t, machine_id) for t in c.targets]
    target = targets[0] if len(targets) == 1 else targets
    return {"target": target, **({"guard": c.guard} if c.guard else {})}


def _short(config: dict[str, Any]) -> Any:
    """A single candidate: the bare target where that says everything."""
    target = config["target"]
    return target if len(config) == 1 and isinstance(target, str) else config


def target_text(at: Path, target: Path, machine_id: str) -> str:
    """How a state is named in a transition of another: its key beside it, else its path after the id."""
    if at and at[:-1] == target[:-1]:
        return _escaped(target[-1])
    return "#" + join_path((machine_id, *target))


def _escaped(key: str) -> str:
    # A leading `#` would name an id, and no key holds a dot that is not escaped.
    return ("\\" if key.startswith("#") else "") + join_path((key,))


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, in document order."""
    yield node
    for child in node.children:
        yield from walk(child)
