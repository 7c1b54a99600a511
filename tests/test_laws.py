"""Laws of apv.md section 10 that hold for every definition, on generated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings

from statekeep_cli.core.alphabet import Alphabet
from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.configuration import configuration_of, is_legal
from statekeep_cli.core.migration import migration_of
from statekeep_cli.core.model import Definition, build
from statekeep_cli.core.outcomes import initial_outcomes, outcomes
from statekeep_cli.core.router import Router
from tests import strategies
from tests.support import actor_of


def law(test: Callable[..., None]) -> Any:
    quiet = settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    return quiet(given(strategies.cases())(test))


def types_of(record: dict[str, Any]) -> list[str] | None:
    """The event types of a complete trace without markers; None for any other."""
    if record.get("history") is None or "origin" in record:
        return None
    types = [i if isinstance(i, str) else i.get("type") for i in record["history"]]
    return types if all(t not in (None, "manual", "migrated") for t in types) else None


@law
def test_every_placement_is_legal(case: dict[str, Any]) -> None:
    """Law 4."""
    target = build(case["target"])
    router = Router(Deployment([build(s) for s in case["sources"]], target))
    routed = router.route([actor_of(a) for a in case["actors"]])
    for i in range(len(case["actors"])):
        if routed[i].outcome == "migrate":
            place = routed[i].target
            assert place is not None
            configuration = configuration_of(target, place.value)
            assert configuration is not None
            assert is_legal(target, configuration)


def may_reach(target: Definition, alphabet: Alphabet, types: list[str]) -> set[int]:
    """Where an actor of the target may be that is fed these events from the start."""
    states = {o.state for o in initial_outcomes(target)[0]}
    for event in types:
        translated = alphabet.translate(event)
        after = {o.state for s in states for o in outcomes(target, s, translated)[0]}
        # Retired events are dropped: nobody in the target knows them.
        states = states | after if alphabet.is_retired(translated) else after
    return {s.configuration for s in states}


@law
def test_replay_is_sound(case: dict[str, Any]) -> None:
    """Law 3: an actor of the target that is fed the path's events ends where the actor was placed."""
    sources, target = [build(s) for s in case["sources"]], build(case["target"])
    router = Router(Deployment(sources, target))
    if router.erase:
        return
    for record in case["actors"]:
        types, decision = types_of(record), router.route_one(actor_of(record))
        if types is None or decision.rule != "replay" or decision.outcome != "migrate":
            continue
        assert decision.source is not None
        assert decision.target is not None
        source = next(s for s in sources if s.version == decision.source.version)
        alphabet = Alphabet(source, target, migration_of(target, source))
        assert configuration_of(target, decision.target.value) in may_reach(target, alphabet, types)


@law
def test_a_definition_against_itself(case: dict[str, Any]) -> None:
    """Law 7."""
    left_out = ("migration", "stateMapping", "contextSchema")
    config = {k: v for k, v in case["sources"][0].items() if k not in left_out}
    router = Router(Deployment([build(config)], build({**config, "version": "next"})))
    for record in case["actors"]:
        if types_of(record) is None:
            continue
        own = {**record, "definition": config["id"], "version": config["version"]}
        decision = router.route_one(actor_of(own))
        if decision.outcome == "strand":
            assert decision.reason in (
                "history_inconsistent",
                "snapshot_invalid",
                "child_lost",
                "history_value_lost",
            )
        elif decision.outcome == "migrate":
            assert decision.source is not None
            assert decision.target is not None
            assert decision.target.value == decision.source.value
