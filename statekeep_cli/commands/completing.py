"""What a shell offers while a command line is typed: definition files, states and runs.

Only words that a shell takes as they are: state names come out of files that a stranger may have written,
and reach the shell unquoted. Quick, and silent where anything fails: nobody has asked for an error yet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

from click import Context, Group
from click.shell_completion import CompletionItem

SUFFIXES = (".yaml", ".yml", ".json")
SAFE = re.compile(r"[\w./@+,=-]+")  # words of letters in any script, and what shells do not read
LARGEST = 1 << 20  # bytes of a definition that is read for its states
MOST = 200  # words offered
SECONDS = 2  # for a database to answer

Items = list[CompletionItem[str]]


def teach(command: Any) -> None:
    """Give every parameter of the commands below this one the words that its metavar stands for."""
    for each in command.commands.values() if isinstance(command, Group) else ():
        teach(each)
    for parameter in command.params:
        kind = next((k for k in KINDS if k in (parameter.metavar or "")), None)
        if parameter.name in NAMES:
            kind = NAMES[parameter.name]
        if kind is not None:
            parameter._custom_shell_complete = _quietly(KINDS[kind])


def _quietly(words: Callable[[Context, str], Items]) -> Callable[[Context, Any, str], Items]:
    def found(ctx: Context, parameter: Any, incomplete: str) -> Items:
        with suppress(Exception):
            return words(ctx, incomplete)
        return []

    return found


def _offered(words: Sequence[str], incomplete: str) -> Items:
    """Those that continue what is typed, and are safe in any shell."""
    fitting = [w for w in dict.fromkeys(words) if w.startswith(incomplete) and SAFE.fullmatch(w)]
    return [CompletionItem(w) for w in fitting[:MOST]]


def _any_file(ctx: Context, incomplete: str) -> Items:
    """The shell knows best how to offer files."""
    return [CompletionItem(incomplete, type="file")]


def _definitions(ctx: Context, incomplete: str) -> Items:
    """Definition files, and folders on the way to some; a folder that is alone is opened."""
    found = _offered(list(_files(incomplete)), incomplete)
    while len(found) == 1 and found[0].value.endswith("/"):
        inside = _offered(list(_files(found[0].value)), incomplete)
        if not inside:
            break
        found = inside
    return found


def _target_states(ctx: Context, incomplete: str) -> Items:
    return _states(ctx, incomplete, slice(-1, None))


def _states(ctx: Context, incomplete: str, which: slice = slice(None)) -> Items:
    """The states of the definitions that the command line names, else of those that the database has."""
    given = (ctx.params.get("definitions") or [])[which]
    found = [name for path in given for name in _states_of(path)]
    if not found:
        from statekeep_cli.stores.definitions import stored_configs

        with closing(_database(ctx)) as store:
            found = [name for config in stored_configs(store) for name in _names(config)]
    return _offered(found, incomplete)


def _runs(ctx: Context, incomplete: str) -> Items:
    """The numbers of the latest runs, with what they were."""
    with closing(_database(ctx)) as store:
        rows = store.rows(
            "SELECT run, kind, definition, version, status FROM {runs} ORDER BY run DESC LIMIT %s", (MOST,)
        )
    found = []
    for run, kind, definition, version, status in rows:
        about = f"{definition}@{version}"
        about = f" of {about}" if SAFE.fullmatch(about) else ""
        if str(run).startswith(incomplete):
            found.append(CompletionItem(str(run), help=f"{kind}{about}, {status}"))
    return found


def _shells(ctx: Context, incomplete: str) -> Items:
    return _offered(["bash", "zsh", "fish"], incomplete)


# By what stands in a metavar; the first that does.
KINDS: dict[str, Callable[[Context, str], Items]] = {
    "TARGET": _definitions,
    "SOURCE": _definitions,
    "DEFINITION": _definitions,
    "FILE": _any_file,
    "RUN": _runs,
    "STATE": _states,
    "TO": _target_states,
    "SHELL": _shells,
}
NAMES = {"run": "RUN", "to": "TO"}


def _files(incomplete: str) -> Iterator[str]:
    folder, name = os.path.split(incomplete)
    with suppress(OSError), os.scandir(folder or ".") as entries:
        there = sorted(entries, key=lambda e: e.name)[: 20 * MOST]
        for entry in there:
            if entry.name.startswith(".") and not name.startswith("."):
                continue
            path = os.path.join(folder, entry.name)
            if entry.is_dir():
                yield f"{path}/"
            elif entry.name.endswith(SUFFIXES):
                yield path


def _states_of(path: str) -> Iterator[str]:
    """The states of a definition file; it may be half written, and need not be right."""
    from statekeep_cli.readers.definitions import read_definition

    if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
        return
    with suppress(Exception):
        yield from _names(read_definition(path).config)


def _names(config: Any) -> Iterator[str]:
    """The paths of all states, in the order of the document."""
    from statekeep_cli.core.model import build

    for node in build(config).nodes:
        if node.path and node.kind != "history":
            yield node.name


def _database(ctx: Context) -> Any:
    """The database that the command line or the environment names."""
    from statekeep_cli.stores.connect import connect

    os.environ.setdefault("PGCONNECT_TIMEOUT", str(SECONDS))
    return connect(ctx.params.get("database"), read_only=True)
