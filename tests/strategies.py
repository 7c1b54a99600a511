"""Hypothesis strategies: pairs of definitions, migrations and traces, as plain JSON-able values.

`cases()` is the door. A case is `{"sources": [config, …], "target": config, "actors": [record, …]}`,
as a person would write them: the target is mostly the source after a few edits, the migration block
mostly speaks of states and events that exist, and traces mostly come from walking the source, so that
they are consistent. Machines stay small (at most a dozen nodes) and always settle: `always` and
`onDone` only lead to later siblings. Machines that never settle have hand-written cases.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from statekeep_cli.core import configuration as conf
from statekeep_cli.core import outcomes as stepping
from statekeep_cli.core import semantics
from statekeep_cli.core.model import Definition, build, join_path
from statekeep_cli.core.semantics import State

EVENTS = ["A", "B", "C", "D.x", "D.y"]
NEW_EVENTS = ["N", "D.z", "M"]
WILDCARDS = ["*", "D.*"]
GUARDS: list[Any] = ["g", "h", {"type": "g", "params": {"n": 1}}]
MAX_NODES = 12

Config = dict[str, Any]
Path = tuple[str, ...]


class Chooser:
    """A hypothesis `draw` with short words; every choice shrinks towards the first option."""

    def __init__(self, draw: Callable[[Any], Any]):
        self._draw = draw

    def pick(self, options: Any) -> Any:
        options = list(options)
        return options[self.number(0, len(options) - 1)]

    def number(self, low: int, high: int) -> int:
        value: int = self._draw(st.integers(low, high)) if low < high else low
        return value

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent

    def some(self, options: Any, most: int) -> list[Any]:
        options, found = list(options), []
        for _ in range(min(self.number(0, most), len(options))):
            found.append(options.pop(self.number(0, len(options) - 1)))
        return found


# --- trees of states -----------------------------------------------------------------------------


def walk(config: Config, path: Path = ()) -> Iterator[tuple[Path, Config]]:
    """All states of a config in document order, the machine itself first."""
    yield path, config
    for key, child in config.get("states", {}).items():
        yield from walk(child, (*path, key))


def at(config: Config, path: Path) -> Config:
    for key in path:
        config = config["states"][key]
    return config


def exists(config: Config, path: Path) -> bool:
    for key in path:
        if key not in config.get("states", {}):
            return False
        config = config["states"][key]
    return True


def is_state(node: Config) -> bool:
    return node.get("type") != "history"


def reference(config: Config, path: Path) -> str:
    return f"#{config['id']}." + join_path(path)


def referred(config: Config, target: str) -> Path:
    return tuple(target[len(config["id"]) + 2 :].split("."))


def children(c: Chooser, depth: int, budget: list[int]) -> Config:
    """The inside of a compound state: `initial` and `states`."""
    states: Config = {}
    count = c.number(2, 4 if depth == 0 else 2)
    for i in range(count):
        if budget[0] <= 0 and i >= 2:
            break
        budget[0] -= 1
        key = "abcde"[i]
        if i == count - 1 and i > 0 and c.chance(35):
            states[key] = {"type": "final"}
        else:
            states[key] = inside(c, depth + 1, budget)
    result: Config = {
        "initial": next(k for k in states if states[k].get("type") != "final"),
        "states": states,
    }
    if depth > 0 and c.chance(30):
        states["hist"] = {"type": "history", "history": c.pick(["shallow", "deep"])}
        budget[0] -= 1
    return result


def inside(c: Chooser, depth: int, budget: list[int]) -> Config:
    if depth <= 2 and budget[0] >= 3 and c.chance(30):
        return children(c, depth, budget)
    if depth <= 1 and budget[0] >= 5 and c.chance(25):
        return parallel(c, depth, budget)
    return {}


def parallel(c: Chooser, depth: int, budget: list[int]) -> Config:
    regions: Config = {}
    for key in ["p", "q"]:
        budget[0] -= 1
        regions[key] = {} if c.chance(15) else children(c, depth + 1, budget)
    if depth > 0 and c.chance(20):
        regions["hist"] = {"type": "history", "history": "deep"}
    return {"type": "parallel", "states": regions}


# --- transitions ---------------------------------------------------------------------------------


def transition(c: Chooser, config: Config, path: Path) -> Any:
    """A transition out of the state at `path`: mostly to a sibling, sometimes anywhere or nowhere."""
    siblings = [(*path[:-1], k) for k in at(config, path[:-1])["states"]] if path else []
    everything = [p for p, _ in walk(config) if p]
    kind = c.number(0, 99)
    if kind < 62 and siblings:
        made: Config = {"target": reference(config, c.pick(siblings))}
    elif kind < 88:
        made = {"target": reference(config, c.pick(everything))}
    elif kind < 95:
        made = {"actions": "act"}
    else:
        return {}  # forbidden
    if c.chance(22):
        made["guard"] = c.pick(GUARDS)
    if c.chance(6):
        made["reenter"] = True
    return made


def listen(c: Chooser, config: Config, path: Path, event: str) -> None:
    """Add a transition for an event; two candidates where the first one is guarded."""
    node = at(config, path)
    made = transition(c, config, path)
    node.setdefault("on", {})[event] = made
    if "guard" in made and c.chance(50):
        node["on"][event] = [made, transition(c, config, path)]


def later_siblings(config: Config, path: Path) -> list[Path]:
    keys = [k for k, n in at(config, path[:-1])["states"].items() if is_state(n)]
    if at(config, path[:-1]).get("type") == "parallel":
        return []
    return [(*path[:-1], k) for k in keys[keys.index(path[-1]) + 1 :]]


def wired(c: Chooser, config: Config) -> Config:
    """Give every state of a tree something to do."""
    for path, node in list(walk(config)):
        if node.get("type") in ("history", "final"):
            continue
        wanted = c.number(0, 2) if path else int(c.chance(15))
        for event in c.some(EVENTS, wanted):
            listen(c, config, path, event)
        if c.chance(8):
            listen(c, config, path, c.pick(WILDCARDS))
        if not path:
            continue
        later = later_siblings(config, path)
        if later and c.chance(10):
            one: Config = {"target": reference(config, c.pick(later))}
            if c.chance(80):
                one["guard"] = c.pick(GUARDS)
            node["always"] = [one]
        if "states" in node and later and c.chance(50):
            node["onDone"] = {"target": reference(config, c.pick(later))}
        if c.chance(8):
            node["after"] = {
                d: transition(c, config, path) for d in c.pick([["100"], ["200"], ["100", "200"]])
            }
        if c.chance(10):
            node["invoke"] = invocation(c, config, path)
        if c.chance(10):
            node["entry"] = "enter"
    return config


def invocation(c: Chooser, config: Config, path: Path) -> Config:
    made: Config = {"src": c.pick(["fetch", "send"])}
    if c.chance(50):
        made["id"] = c.pick(["job", "task"])
    for key in ("onDone", "onError"):
        if c.chance(60):
            made[key] = transition(c, config, path)
    return made


def mended(config: Config) -> Config:
    """Drop what edits have broken: dangling targets, missing initial states, steps that may not settle.

    `*` hears `xstate.done.state.*` too: where it leads somewhere, nothing may complete on the way.
    """

    def keeps(t: Any, path: Path, ordered: bool) -> bool:
        if "target" not in t:
            return not ordered
        to = referred(config, t["target"])
        return exists(config, to) and (not ordered or to in later_siblings(config, path))

    def kept(value: Any, path: Path, ordered: bool = False) -> Any:
        if isinstance(value, list):
            return [t for t in value if keeps(t, path, ordered)]
        return value if keeps(value, path, ordered) else []

    for path, node in walk(config):
        if "states" in node and not [k for k, n in node["states"].items() if is_state(n)]:
            del node["states"]
            node.pop("initial", None)
            node.pop("type", None)
        states = node.get("states", {})
        if "states" in node and node.get("type") != "parallel" and node.get("initial") not in states:
            first = [k for k, n in states.items() if is_state(n)]
            node["initial"] = next((k for k in first if states[k].get("type") != "final"), first[0])
        if "states" not in node:
            node.pop("initial", None)
            node.pop("onDone", None)
        for group in ("on", "after"):
            for key in list(node.get(group, {})):
                left = kept(node[group][key], path)
                if left == [] or left is None:
                    del node[group][key]
                else:
                    node[group][key] = left
        for key in ("always", "onDone"):
            if key in node:
                left = kept(node[key], path, ordered=True) if path else []
                if left:
                    node[key] = left
                else:
                    del node[key]
        for key in ("onDone", "onError"):
            invoke = node.get("invoke", {})
            if key in invoke and kept(invoke[key], path) == []:
                del invoke[key]
    if any(set(t) & {"target"} for _, n in walk(config) for t in candidates(n, "*")):
        for _, node in walk(config):
            node.pop("always", None)
            if "*" in node.get("on", {}) and not all(is_plain(config, t) for t in candidates(node, "*")):
                node["on"]["*"] = {"actions": "act"}
    return config


def candidates(node: Config, event: str) -> list[Config]:
    group = node.get("on", {}).get(event, [])
    return group if isinstance(group, list) else [group]


def is_plain(config: Config, t: Config) -> bool:
    """Does a transition lead nowhere, or to an atomic state?"""
    return "target" not in t or not (set(at(config, referred(config, t["target"]))) & {"type", "states"})


def machine(c: Chooser, machine_id: str, version: int) -> Config:
    budget = [MAX_NODES - 3]
    tree = parallel(c, 0, budget) if c.chance(8) else children(c, 0, budget)
    return mended(wired(c, {"id": machine_id, "version": version, **tree}))


# --- edits: what a new version does to an old one ------------------------------------------------


def renamed_id(config: Config, machine_id: str, version: int) -> Config:
    """The same machine under another id; every target reference follows."""
    old = f"#{config['id']}."

    def rewrite(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: rewrite(v) for k, v in value.items()}
        if isinstance(value, list):
            return [rewrite(v) for v in value]
        return (
            f"#{machine_id}." + value[len(old) :]
            if isinstance(value, str) and value.startswith(old)
            else value
        )

    return {**rewrite(copy.deepcopy(config)), "id": machine_id, "version": version}


def all_transitions(config: Config) -> list[tuple[Path, Config]]:
    found = []
    for path, node in walk(config):
        groups = [*node.get("on", {}).values(), *node.get("after", {}).values()]
        for group in groups:
            found += [(path, t) for t in (group if isinstance(group, list) else [group])]
    return found


class Edits:
    """One edit per method; `notes` remembers renames, so that a migration may declare them."""

    def __init__(self, c: Chooser, config: Config):
        self.c, self.config = c, config
        self.states: dict[str, str] = {}
        self.events: dict[str, str] = {}
        self.guards: dict[str, str] = {}

    def apply(self) -> None:
        edit = self.c.pick(
            [
                self.retarget, self.insert_gate, self.remove_state, self.rename_state, self.add_region,
                self.open_state, self.rename_event, self.change_guard, self.drop_event, self.add_listener,
                self.close_state, self.change_delay, self.change_invoke, self.add_state, self.swap,
            ]
        )  # fmt: skip
        edit()
        mended(self.config)

    def paths(self, where: Callable[[Path, Config], bool] = lambda p, n: True) -> list[Path]:
        return [p for p, n in walk(self.config) if p and is_state(n) and where(p, n)]

    def room(self) -> bool:
        return sum(1 for _ in walk(self.config)) < MAX_NODES

    def retarget(self) -> None:
        found = [t for _, t in all_transitions(self.config) if "target" in t]
        if found:
            self.c.pick(found)["target"] = reference(self.config, self.c.pick(self.paths()))

    def insert_gate(self) -> None:
        found = [t for _, t in all_transitions(self.config) if "target" in t]
        if not found or not self.room():
            return
        gated = self.c.pick(found)
        path = referred(self.config, gated["target"])
        parent = at(self.config, path[:-1])
        if parent.get("type") == "parallel" or "gate" in parent["states"]:
            return
        event = self.c.pick(["N", "M", "B"])
        parent["states"]["gate"] = {"on": {event: {"target": gated["target"]}}}
        everyone = self.c.chance(60)
        for _, t in all_transitions(self.config):
            if t is not gated and everyone and t.get("target") == gated["target"] and event not in str(t):
                t["target"] = reference(self.config, (*path[:-1], "gate"))
        gated["target"] = reference(self.config, (*path[:-1], "gate"))
        parent["states"]["gate"]["on"][event]["target"] = reference(self.config, path)

    def add_state(self) -> None:
        homes = [p for p, n in walk(self.config) if "states" in n and n.get("type") != "parallel"]
        if homes and self.room():
            home = self.c.pick(homes)
            at(self.config, home)["states"].setdefault("new", {})
            listen(self.c, self.config, (*home, "new"), self.c.pick(EVENTS))
            self.retarget()

    def remove_state(self) -> None:
        found = self.paths(lambda p, n: len(at(self.config, p[:-1])["states"]) > 1)
        if found:
            path = self.c.pick(found)
            del at(self.config, path[:-1])["states"][path[-1]]

    def rename_state(self) -> None:
        path = self.c.pick(self.paths())
        parent, new = at(self.config, path[:-1]), path[-1] + "2"
        if new in parent["states"]:
            return
        parent["states"] = {new if k == path[-1] else k: n for k, n in parent["states"].items()}
        if parent.get("initial") == path[-1]:
            parent["initial"] = new
        old, renamed = reference(self.config, path), reference(self.config, (*path[:-1], new))

        def follow(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: follow(v) for k, v in value.items()}
            if isinstance(value, list):
                return [follow(v) for v in value]
            return renamed + value[len(old) :] if value == old or str(value).startswith(old + ".") else value

        fresh = follow(self.config)
        self.config.clear()
        self.config.update(fresh)
        self.states[join_path(path)] = join_path((*path[:-1], new))

    def add_region(self) -> None:
        found = [p for p, n in walk(self.config) if n.get("type") == "parallel"]
        if found and self.room():
            path = self.c.pick(found)
            at(self.config, path)["states"]["r"] = self.c.pick(
                [{}, {"initial": "a", "states": {"a": {"on": {"N": {"actions": "act"}}}, "b": {}}}]
            )

    def open_state(self) -> None:
        found = self.paths(lambda p, n: "states" not in n and n.get("type") != "final")
        if found and self.room():
            node = at(self.config, self.c.pick(found))
            if self.c.chance(50):
                node.update({"initial": "a", "states": {"a": {}, "b": {}}})
            else:
                node.update({"type": "parallel", "states": {"p": {}, "q": {}}})

    def close_state(self) -> None:
        found = self.paths(lambda p, n: "states" in n)
        if found:
            node = at(self.config, self.c.pick(found))
            for key in ("states", "initial", "type"):
                node.pop(key, None)

    def rename_event(self) -> None:
        names = sorted({e for _, n in walk(self.config) for e in n.get("on", {}) if "*" not in e})
        if not names:
            return
        old, new = self.c.pick(names), self.c.pick(NEW_EVENTS)
        for _, node in walk(self.config):
            on = node.get("on", {})
            if old in on and new not in on:
                node["on"] = {new if e == old else e: t for e, t in on.items()}
        self.events[old] = new

    def drop_event(self) -> None:
        names = sorted({e for _, n in walk(self.config) for e in n.get("on", {})})
        if names:
            gone = self.c.pick(names)
            for _, node in walk(self.config):
                node.get("on", {}).pop(gone, None)

    def change_guard(self) -> None:
        found = [t for _, t in all_transitions(self.config) if "target" in t]
        if not found:
            return
        one = self.c.pick(found)
        if "guard" not in one or self.c.chance(40):
            one["guard"] = self.c.pick(GUARDS)
        elif self.c.chance(50):
            del one["guard"]
        else:
            for _, t in all_transitions(self.config):
                if t.get("guard") == "g":
                    t["guard"] = "g2"
            self.guards["g"] = "g2"

    def add_listener(self) -> None:
        found = self.paths(lambda p, n: n.get("type") != "final")
        if found:
            listen(self.c, self.config, self.c.pick(found), self.c.pick([*EVENTS, *NEW_EVENTS, *WILDCARDS]))

    def change_delay(self) -> None:
        for _, node in walk(self.config):
            if "after" in node:
                node["after"] = {("300" if d == "100" else d): t for d, t in node["after"].items()}

    def change_invoke(self) -> None:
        found = [n for _, n in walk(self.config) if "invoke" in n]
        if found:
            invoke = self.c.pick(found)["invoke"]
            if self.c.chance(50):
                invoke["src"] = "send"
            elif "id" in invoke:
                del invoke["id"]
            else:
                invoke["id"] = "job"

    def swap(self) -> None:
        found = [t for _, t in all_transitions(self.config) if "target" in t]
        if len(found) > 1:
            one, other = self.c.pick(found), self.c.pick(found)
            one["target"], other["target"] = other["target"], one["target"]


def edited(c: Chooser, config: Config, machine_id: str, version: int, most: int) -> tuple[Config, Edits]:
    edits = Edits(c, renamed_id(config, machine_id, version))
    for _ in range(c.number(0, most)):
        edits.apply()
    return edits.config, edits


# --- traces --------------------------------------------------------------------------------------


def listened(d: Definition) -> list[str]:
    """Events worth sending: those some state knows by name, and one for each wildcard."""
    names = {e for e in d.descriptors() if not e.startswith("xstate.done.state.")}
    return sorted({"D.x" if e == "D.*" else "Z" if e == "*" else e for e in names}) or ["A"]


def stepped(c: Chooser, d: Definition, state: State, picky: bool) -> tuple[str, State]:
    """One random event and one random outcome; mostly an event that does something."""
    events = listened(d)
    if picky:
        active = [
            e
            for e in events
            if any(True for n in d.nodes_in(state.configuration) for _ in semantics.candidates(n, e))
        ]
        events = active or events
    event = c.pick(events)
    outcomes = stepping.outcomes(d, state, event)[0]
    return event, (c.pick(outcomes).state if outcomes else state)


def recorded(c: Chooser, d: Definition, configuration: int) -> Any:
    """A state value; now and then a single leaf as a dotted path."""
    leaves = conf.leaves(d, configuration)
    if len(leaves) == 1 and c.chance(10):
        return leaves[0].name
    return conf.state_value(d, configuration)


def some_configuration(c: Chooser, d: Definition) -> int:
    found = [n for n in d.nodes if n.index and n.kind != "history"]
    return semantics.enter_by_default(d, c.pick(found))


def counterpart(old: Definition, new: Definition, configuration: int) -> int | None:
    """The same paths in another version, where they make a legal configuration."""
    nodes = [new.by_path.get(n.path) for n in old.nodes_in(configuration)]
    if None in nodes:
        return None
    found = sum(1 << n for n in nodes if n is not None)
    return found if conf.is_legal(new, found) else None


def trace(c: Chooser, sources: list[Definition]) -> tuple[list[Any], list[tuple[int, Definition, State]]]:
    """Items, and after each of them (and before the first) where the source really was."""
    d = sources[0] if len(sources) > 1 and c.chance(40) else c.pick(sources)
    starts = stepping.initial_outcomes(d)[0]
    state = c.pick(starts).state
    mode = c.pick(["none", "none", "none", "all", "some", "states", "mixed"])
    items: list[Any] = []
    stations = [(0, d, state)]
    jump_at = c.number(0, 7) if d is sources[0] and len(sources) > 1 and c.chance(60) else -1
    for i in range(c.number(0, 7)):
        if i == jump_at:
            new = sources[1]
            there = counterpart(d, new, state.configuration) or some_configuration(c, new)
            items.append(
                {
                    "type": "migrated",
                    "from": {"version": d.version, "state": conf.state_value(d, state.configuration)},
                    "to": {"version": new.version, "state": conf.state_value(new, there)},
                }
            )
            d, state = new, State(there)
        elif c.chance(4):
            there = some_configuration(c, d)
            items.append({"type": "manual", "to": conf.state_value(d, there)})
            state = State(there, state.history)
        else:
            event, after = stepped(c, d, state, picky=c.chance(88))
            if conf.is_done(d, after.configuration) and c.chance(85):
                continue  # a finished actor has little to tell
            state = after
            value = recorded(c, d, state.configuration)
            if mode == "states" or (mode == "mixed" and c.chance(30)):
                items.append({"state": value})
            elif mode == "all" or (mode in ("some", "mixed") and c.chance(50)):
                items.append({"type": event, "state": value})
            else:
                items.append(event if c.chance(50) else {"type": event})
        stations.append((len(items), d, state))
    return items, stations


def actor(c: Chooser, sources: list[Definition], number: int) -> Config:
    """An actor record, mostly what really happened; sometimes pruned, without history, or with noise."""
    items, stations = trace(c, sources)
    _, d, state = stations[-1]
    record: Config = {"id": f"a{number}", "definition": d.id, "version": d.version}
    if len(sources) == 1 and c.chance(30):
        del record["definition"], record["version"]
    value = recorded(c, d, state.configuration)
    kind = c.number(0, 99)
    if kind < 62:
        record["history"] = items
    elif kind < 76:
        pass  # no history at all
    elif kind < 86:
        start, old, before = c.pick(stations)
        record["origin"] = {"version": old.version, "state": conf.state_value(old, before.configuration)}
        record["history"] = items[start:]
    else:
        record["history"] = noisy(c, items, listened(d))
        if c.chance(40):
            value = conf.state_value(d, some_configuration(c, d))
    context = c.pick(
        [None, {}, {"amount": 1}, {"amount": 9}, {"amount": 9, "old": {"path": 1}}, {"kept": True}]
    )
    status = c.pick(["active"] * 8 + ["needs_rescue", "done"])
    if c.chance(25):
        record["snapshot"] = {
            "status": "active", "value": value, "context": context or {},
            "historyValue": {
                d.nodes[h].id: [{"id": n.id} for n in d.nodes_in(nodes)] for h, nodes in state.history
            },
            "children": {
                i.id: {"src": i.src}
                for n in d.nodes_in(state.configuration) for i in n.invokes if c.chance(80)
            },
        }  # fmt: skip
        return record
    record["state"] = value
    if context is not None:
        record["context"] = context
    if status != "active" or c.chance(30):
        record["status"] = status
    return record


def noisy(c: Chooser, items: list[Any], events: list[str]) -> list[Any]:
    items = list(items)
    what = c.number(0, 2)
    if what == 0 or not items:
        items.insert(c.number(0, len(items)), c.pick([*events, *EVENTS, "Z"]))
    elif what == 1:
        del items[c.number(0, len(items) - 1)]
    else:
        i, j = c.number(0, len(items) - 1), c.number(0, len(items) - 1)
        items[i], items[j] = items[j], items[i]
    return items


# --- migration blocks ----------------------------------------------------------------------------


class Migration:
    """A `migration:` block about these sources and this target; `logs` are the actors' event lists."""

    def __init__(
        self,
        c: Chooser,
        sources: list[Definition],
        target: Definition,
        edits: list[Edits],
        logs: list[list[str]],
    ):
        self.c, self.target, self.edits, self.logs = c, target, edits, logs
        self.sources = sources
        self.events = sorted({e for d in sources for e in listened(d)})
        self.states = sorted({n.name for d in sources for n in d.nodes if n.index and n.kind != "history"})
        self.places = [n for n in target.nodes if n.index and n.kind != "history"]
        self.names: list[str] = []

    def block(self) -> Config:
        c = self.c
        block: Config = {}
        block["anchors"] = self.anchors()
        if c.chance(22):
            block["routes"] = [self.route() for _ in range(c.number(1, 2))]
        mapping = self.mapping()
        block["stateMapping"] = mapping
        block["rename"] = self.renames()
        if c.chance(10):
            block["changed"] = {"guards": [c.pick(["g", "h", "g2"])]}
        if c.chance(15) and self.names:
            block["obligations"] = {c.pick(self.places).name: c.some(self.names, 2) or [self.names[0]]}
        if c.chance(9) and self.names:
            block["eligible"] = self.predicate()
        if c.chance(12):
            block["context"] = self.context_edits()
        policy = {
            "diverged": "follow", "history": "trust", "entry": "initial", "loops": "erase",
        }  # fmt: skip
        block["policy"] = {k: v for k, v in policy.items() if c.chance(30)}
        if c.chance(10):
            d = c.pick(self.sources)
            block["from"] = [c.pick([d.version, d.id])]
        return {k: v for k, v in block.items() if v not in ({}, [])}

    def anchors(self) -> Config:
        found: Config = {}
        for i in range(self.c.pick([0, 0, 1, 2, 3])):
            pattern = self.pattern()
            if self.c.chance(30):
                pattern["resume"] = self.c.pick(self.places).name
            found[f"x{i}"] = pattern
            self.names.append(f"x{i}")
        return found

    def primitive(self) -> Config:
        c = self.c
        kind = c.number(0, 2)
        if kind == 0:
            return {
                "event": c.pick(self.events) if c.chance(75) else c.some(self.events, 2) or [self.events[0]]
            }
        if kind == 1:
            return {"state": c.pick(self.states)}
        step = {"from": c.pick(self.states), "event": c.pick(self.events), "to": c.pick(self.states)}
        keys = c.some(list(step), 3) or ["event"]
        return {"transition": {k: step[k] for k in keys}}

    def sequential(self) -> Config:
        if self.c.chance(60):
            return self.primitive()
        elements = [self.primitive() for _ in range(self.c.number(1, 3))]
        if self.c.chance(15):
            elements.append({"sequence": [self.primitive(), self.primitive()]})
        return {"sequence": elements}

    def pattern(self) -> Config:
        c = self.c
        kind = c.number(0, 9)
        if kind <= 3:
            return self.sequential()
        if kind == 4:
            return {"sequence": [self.primitive() for _ in range(c.number(2, 3))]}
        if kind == 5:
            count: Config = {"of": self.sequential()}
            if c.chance(70):
                count["atLeast"] = c.number(1, 3)
            if "atLeast" not in count or c.chance(30):
                count["atMost"] = c.number(count.get("atLeast", 0), 3)
            return {"count": count}
        if kind == 6:
            return {"since": {"of": self.sequential(), "reset": self.sequential()}}
        if kind == 7:
            log = c.pick(self.logs) if self.logs else []
            key = c.pick(["startsWith", "path"])
            whole = log if key == "path" and c.chance(70) else log[: c.number(1, 3)]
            return {key: whole or [c.pick(self.events)]}
        parts: list[Any] = [self.primitive() for _ in range(c.number(1, 2))]
        if self.names and c.chance(60):
            parts.append(c.pick(self.names))
        return {c.pick(["all", "any", "none"]): parts}

    def predicate(self) -> Config:
        c = self.c
        found: Config = {}
        if self.names:
            for key in c.some(["all", "any", "none"], 2):
                found[key] = [c.pick(self.names) for _ in range(c.number(1, 2))]
        if not found or c.chance(25):
            found["context"] = self.schema()
        return found

    def schema(self) -> Any:
        return self.c.pick(
            [
                {"required": ["amount"], "properties": {"amount": {"minimum": 5}}},
                {"properties": {"amount": {"maximum": 5}}},
                {"type": "object"},
                False,
            ]
        )

    def value(self) -> Any:
        """Where a mapping or route leads: a path, or a whole state value."""
        node = self.c.pick(self.places)
        if self.c.chance(15):
            return conf.state_value(self.target, semantics.enter_by_default(self.target, node))
        return node.name

    def mapping(self) -> Config:
        found: Config = {}
        for edits in self.edits:
            for old, new in edits.states.items():
                if self.c.chance(60) and self.target.node(new) is not None and old in self.states:
                    found[old] = new
        if self.c.chance(30):
            for _ in range(self.c.number(1, 2)):
                key = self.c.pick(self.states)
                keep = self.c.chance(30) and self.target.node(key) is not None
                found[key] = key if keep else self.value()
        return {k: v for k, v in found.items() if not isinstance(v, str) or self.is_place(v)}

    def is_place(self, path: str) -> bool:
        node = self.target.node(path)
        return node is not None and node.kind != "history"

    def route(self) -> Config:
        c = self.c
        made: Config = {"from": c.pick(self.states)}
        if c.chance(75) and (self.names or c.chance(50)):
            made["when"] = self.predicate()
        kind = c.number(0, 9)
        made.update(
            {"to": self.value()} if kind < 7 else {"stay": True} if kind == 7 else {"strand": "by hand"}
        )
        return made

    def renames(self) -> Config:
        found: Config = {}
        for edits in self.edits:
            if edits.events and self.c.chance(70):
                found.setdefault("events", {}).update(edits.events)
            if edits.guards and self.c.chance(70):
                found.setdefault("guards", {}).update(edits.guards)
        return found

    def context_edits(self) -> Config:
        return {
            k: v
            for k, v in {
                "rename": {"old.path": "fresh.place"},
                "remove": ["kept"],
                "defaults": {"amount": 7},
            }.items()
            if self.c.chance(50)
        }


# --- whole cases ---------------------------------------------------------------------------------


def sample(c: Chooser) -> dict[str, Any]:
    """One case, from a chooser."""
    one_id = c.chance(80)
    configs = [machine(c, "m", 1)]
    history: list[Edits] = []
    if c.chance(25):
        second, edits = edited(c, configs[0], "m" if one_id else "m-two", 2, most=1)
        configs.append(second)
        history.append(edits)
    target_id = "m" if one_id else "m-new"
    if c.chance(88):
        target, edits = edited(c, configs[-1], target_id, 3, most=3)
        history.append(edits)
    else:
        target = machine(c, target_id, 3)
    sources = [build(x) for x in configs]
    actors = [actor(c, sources, i) for i in range(c.number(1, 4))]
    logs = [
        [x if isinstance(x, str) else x["type"] for x in a["history"] if isinstance(x, str) or "type" in x]
        for a in actors
        if a.get("history")
    ]
    target["migration"] = Migration(c, sources, build(target), history, logs).block()
    if c.chance(12):
        target["contextSchema"] = {"required": ["amount"], "properties": {"amount": {"maximum": 8}}}
    return {"sources": configs, "target": target, "actors": actors}


@st.composite
def cases(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """`{"sources": [config], "target": config, "actors": [record]}`; everything builds."""
    return sample(Chooser(draw))
