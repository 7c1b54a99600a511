"""What a command on a database is about: the definitions, and whose actors they are.

In StateKeep's own tables the source definitions are stored beside the actors; a table of the team's own
has them in files, named on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.check_finding import listed
from statekeep_cli.core.mapping import OWN, Mapping
from statekeep_cli.core.migration import same_version
from statekeep_cli.core.model import Definition, build, split_path
from statekeep_cli.core.report import DefinitionRef
from statekeep_cli.errors import StateKeepError, UsageMistake
from statekeep_cli.readers.definitions import Loaded, read_definition, read_stored
from statekeep_cli.stores import definitions as stored
from statekeep_cli.stores import installing
from statekeep_cli.stores.definitions import machine_digest
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.schema import VERSION
from statekeep_cli.stores.scope import Scope, scope
from statekeep_cli.version import version


@dataclass(frozen=True, slots=True)
class Subject:
    """Definitions and scope of one command. `files` are those that were read from files."""

    scope: Scope
    sources: tuple[Definition, ...]
    target: Definition
    files: tuple[Loaded, ...]
    references: tuple[DefinitionRef, ...]

    @property
    def digests(self) -> dict[str, Any]:
        """What a plan or an unfinished run must agree on."""
        return {
            "sources": sorted(d.digest for d in self.sources),
            "target": self.target.digest,
            "mapping": self.scope.mapping.digest,
            "where": self.scope.where,
            "engine": version(),
            "schema": VERSION,
        }


def subject(
    store: Store,
    mapping: Mapping | None,
    paths: Sequence[str],
    *,
    migration: str | None = None,
    where: str = "",
    rescued: bool = False,
    writing: bool = False,
) -> Subject:
    """Reads the definitions of a command line, `[SOURCE…] TARGET`, and joins what is stored.

    With own tables the target may be a stored definition, named `ID@VERSION`.

    Raises `DefinitionInvalid` and the like for files, `UsageMistake` where no source is known, and
    `StateKeepError` where a file and what is stored differ under one version.
    """
    if not paths:
        raise UsageMistake("a target definition is needed; give its file")
    mapping = mapping or OWN
    if mapping.own:
        installing.require(store)
    files = [read_definition(path) for path in paths[:-1]]
    target_alone = _target(store, paths[-1], migration) if mapping.own else None
    there = _stored(store, target_alone, files) if target_alone is not None else []
    sources = [*(f.definition for f in files), *there]
    if mapping.own:
        target = _target(store, paths[-1], migration, sources)
    else:
        target = read_definition(paths[-1], migration, sources)
    if not sources:
        if mapping.own:
            label = target.definition.label
            raise UsageMistake(
                f"no earlier version of {label} is stored in {store.address}; import one with"
                " statekeep db import, or give it as a file"
            )
        raise UsageMistake("a source definition is needed; give the old file first, then the new one")
    definition = target.definition
    _context_fits(mapping, definition)
    ids = tuple(sorted({definition.id, *(d.id for d in sources)}))
    found = scope(
        store,
        mapping,
        ids if mapping.own else (),
        (definition.id, str(definition.version)),
        where,
        rescued=rescued,
        writing=writing,
    )
    paths_of = {f.definition.digest: f.path for f in files}
    references = [
        DefinitionRef("source", d.id, d.version, d.digest, paths_of.get(d.digest, store.address))
        for d in sources
    ]
    references.append(
        DefinitionRef("target", definition.id, definition.version, definition.digest, target.path)
    )
    return Subject(found, tuple(sources), definition, (*files, target), tuple(references))


def _context_fits(mapping: Mapping, target: Definition) -> None:
    """Raises `StateKeepError` where a migration writes what none of the context's columns would keep."""
    if not mapping.context_columns:
        return
    edits = target.migration.get("context") or {}
    new = [*(edits.get("defaults") or {}), *(edits.get("rename") or {}).values()]
    known = {key for key, _ in mapping.context_columns}
    lost = [f"'{key}'" for key in dict.fromkeys(split_path(path)[0] for path in new) if key not in known]
    if lost:
        raise StateKeepError(
            f"{target.label} gives contexts {listed(lost)}, and no column of {mapping.name} keeps it; map one"
            " under actors.context"
        )


def _target(store: Store, path: str, migration: str | None, sources: Sequence[Definition] = ()) -> Loaded:
    """The target in a file, or a stored one by its name, `ID@VERSION`."""
    if "@" not in path or "@{" in path or os.path.exists(path):  # HEAD@{1}:path is git's
        return read_definition(path, migration, sources)
    labels = {}
    for config in stored.stored_configs(store):
        labels[build(config).label] = config
    if path not in labels:
        there = f"there are {listed(labels)}" if labels else "there is none"
        raise StateKeepError(
            f"{store.address} has no definition {path} stored; {there}, and statekeep db import adds others"
        )
    return read_stored(labels[path], path, migration, sources)


def _stored(store: Store, target: Loaded, files: Sequence[Loaded]) -> list[Definition]:
    """The stored definitions that the target may replace, without those that were given as files."""
    named = target.definition.migration.get("from") or []
    named = named if isinstance(named, list) else [named]
    ids = {target.definition.id, *(str(x) for x in named), *(f.definition.id for f in files)}
    found = []
    for config in stored.stored_configs(store):
        definition = build(config)
        if definition.id not in ids:
            continue
        given = next((f for f in (*files, target) if _same(f.definition, definition)), None)
        if given is None:
            found.append(definition)
        elif machine_digest(given.config) != machine_digest(config):
            raise StateKeepError(
                f"{given.path}: {definition.label} is stored in {store.address} as another machine (two"
                " definitions with one version but different digests); give the changed one a new version"
            )
    return found


def _same(one: Definition, other: Definition) -> bool:
    return one.id == other.id and same_version(one.version, other.version)
