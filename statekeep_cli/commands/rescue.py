"""`statekeep rescue`: operational work on actors that a migration could not place."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from statekeep_cli.commands.options import Config, Database, DefinitionFiles, same_database
from statekeep_cli.commands.rescue_placing import resolve, retry
from statekeep_cli.errors import StateKeepError, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.mapping import Mapping
    from statekeep_cli.rescuing import Shown

rescue = typer.Typer(
    name="rescue",
    help="List, look at and resolve the actors that need rescue.",
    rich_markup_mode=None,
)

PageFormats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="FMT[=PATH]", help="text (default) or json; repeatable."),
]


class _Fields(TyperCommand):
    """`--json` without fields asks which there are, as with gh."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        for i, word in enumerate(given):
            if word == "--":
                break
            if word == "--json" and (i + 1 == len(given) or given[i + 1].startswith("-")):
                given[i] = "--json="
        return list(super().parse_args(ctx, given))


def _pages(formats: Sequence[str] | None) -> Pages:
    from statekeep_cli.commands.output import Pages

    return Pages.parse(formats, ("text", "json"))


@rescue.callback(invoke_without_command=True)
def opened(
    ctx: typer.Context,
    definitions: DefinitionFiles = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """List, look at and resolve the actors that need rescue; without a command, on a screen.

    The screen needs a terminal. It shows every action as a command line that does the same.

    Example: statekeep rescue --db "$DATABASE_URL"
    """
    from statekeep_cli.render.terminal import inert, is_interactive

    if ctx.invoked_subcommand is not None:
        if definitions or database or config:
            name = ctx.invoked_subcommand
            raise UsageMistake(f"options stand behind the command: statekeep rescue {name} --db URL")
        return
    if not (is_interactive(sys.stdin) and is_interactive(sys.stdout)):
        sys.stderr.write(ctx.get_help() + "\n")
        raise typer.Exit(2)
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.screen.app import run
    from statekeep_cli.screen.desk import Desk
    from statekeep_cli.screen.twins import Twins

    desk = Desk(database, read_config(config).mapping, definitions or ())
    desk.groups()  # what is wrong with the database is said before anything opens
    desk.close()
    twins = Twins(tuple(same_database(database, config)), tuple(definitions or ()))
    for command, number in run(desk, twins):
        print(f"run {number}: {inert(command)}")


@rescue.command("list", cls=_Fields)
def list_(
    database: Database = None,
    config: Config = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Only in this state (a path, or JSON).")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="REASON", help="Only for this reason.")
    ] = None,
    run: Annotated[int | None, typer.Option("--run", metavar="N", help="Only those run N stranded.")] = None,
    actors: Annotated[
        bool, typer.Option("--actors", help="One line per actor, in pages by id, instead of groups.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="With --actors: per page.")
    ] = 100,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="With --actors: those after this id.")
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="FIELDS", help="These fields as JSON, comma separated; without any: which."
        ),
    ] = None,
    formats: PageFormats = None,
) -> None:
    """List the actors that need rescue, grouped by state value and reason; or one by one.

    Example: statekeep rescue list --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render import rescue as render
    from statekeep_cli.stores import installing
    from statekeep_cli.stores import rescue as stored
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.scope import scope

    if after is not None and not actors:
        raise UsageMistake("--after goes with --actors: groups have no pages")
    wanted = _wanted(fields, render.ACTOR_FIELDS if actors else render.GROUP_FIELDS)
    if wanted is not None and formats:
        raise UsageMistake("--json and --format exclude each other")
    pages = _pages(formats)
    which = stored.Filter(state, reason, run)
    again = same_database(database, config)
    mapping = read_config(config).mapping or OWN
    with closing(connect(database, read_only=True)) as store:
        installing.require(store)
        about = scope(store, mapping).actors(store)
        place = f"{store.address}, {mapping.name}"
        more, objects = "", list[dict[str, Any]]()
        found: list[Any]
        if actors:
            found = [*stored.page(about, which, after, limit)]
            objects = [render.actor_json(x) for x in found]
            if len(found) == limit:
                given = (("--state", state), ("--reason", reason), ("--run", run))
                filters = [word for option, x in given if x is not None for word in (option, str(x))]
                paged = [*filters, "--limit", str(limit), "--after", found[-1].id]
                more = shlex.join(["statekeep", "rescue", "list", "--actors", *paged, *again])
        else:
            found = [*stored.groups(about, which)]
            objects = [render.group_json(g) for g in found]
    if wanted is not None:
        sys.stdout.write(render.lines_of([{key: x[key] for key in wanted} for x in objects]))
        return
    first = (found[0].id if actors else found[0].sample) if found else ""
    following = shlex.join(["statekeep", "rescue", "show", first, *again]) if found else ""
    text = render.page_text if actors else render.groups_text
    pages.write(
        {
            "text": lambda width, color: text(found, more if actors else place, following, width, color),
            "json": lambda width, color: render.whole("actors" if actors else "groups", objects),
        }
    )


def _wanted(fields: str | None, known: Sequence[str]) -> list[str] | None:
    """The fields of `--json`; None without the option."""
    from statekeep_cli.core.check_finding import did_you_mean

    if fields is None:
        return None
    there = ", ".join(known)
    names = [name.strip() for name in fields.split(",") if name.strip()]
    if not names:
        raise StateKeepError(f"--json needs fields, comma separated; there are: {there}")
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"there are: {there}")
            raise StateKeepError(f"--json: there is no field '{name}'; {hint}")
    return names


@rescue.command()
def show(
    actor: Annotated[str, typer.Argument(metavar="ID", help="The actor.")],
    definitions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]... [TARGET]",
            help="Definition files, where they are not stored; the last is the target.",
        ),
    ] = None,
    database: Database = None,
    config: Config = None,
    formats: PageFormats = None,
) -> None:
    """Show one actor: why it needs rescue, its history step by step, and what would resolve it.

    The recorded evidence comes first; then the decision as it would be now, on the same history.

    Example: statekeep rescue show pr-17 --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.core.report import FORMAT_VERSION
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render import explain as render_explain
    from statekeep_cli.render import rescue as render
    from statekeep_cli.rescuing import show as look
    from statekeep_cli.stores import installing
    from statekeep_cli.stores.connect import connect

    pages = _pages(formats)
    mapping = read_config(config).mapping
    with closing(connect(database, read_only=True)) as store:
        installing.require(store)
        known = look(store, mapping, actor, definitions or ())
    following = _following(known, definitions or [], mapping, same_database(database, config))
    explanation, about = known.explanation, known.about
    frame = None if about is None else render_explain.Frame(about.references)

    def text(width: int, color: bool) -> str:
        parts = [render.head_text(known.row.id, known.row, known.rescued, width, color)]
        if explanation is not None and frame is not None:
            parts.append(render_explain.text(explanation, frame, width, color))
        if known.missing:
            parts.append(render.missing_text(known.missing, width))
        last = render.next_text(following, width, color)
        return "\n".join([*parts, *([last] if last else [])])

    def as_json(width: int, color: bool) -> str:
        value = {
            "formatVersion": FORMAT_VERSION,
            "id": known.row.id,
            "status": known.row.status,
            "recorded": None if known.rescued is None else render.actor_json(known.rescued),
            "missing": known.missing or None,
            "now": None
            if explanation is None or frame is None
            else render_explain.as_json(explanation, frame),
        }
        return json.dumps(value, indent=1) + "\n"

    pages.write({"text": text, "json": as_json})


def _following(known: Shown, files: Sequence[str], mapping: Mapping | None, again: list[str]) -> list[str]:
    """The commands that may come next."""
    from statekeep_cli.core.report import single_path

    if known.rescued is None:
        return []
    given = list(files)
    retry = ["statekeep", "rescue", "retry", *given]
    decision = None if known.explanation is None else known.explanation.decision
    if decision is not None and decision.outcome == "migrate":
        return [shlex.join([*retry, *again])]
    landings = known.rescued.evidence.decision.landings if known.rescued.evidence else ()
    free = [x for x in landings if not x.stuck]
    to = (single_path(free[0].value) or free[0].state) if len(free) == 1 else "STATE"
    resolve = ["statekeep", "rescue", "resolve", known.row.id, "--to", to, "--reason", "TEXT"]
    for path in given:
        resolve += ["--definition", path]
    return [shlex.join([*retry, "--mapping", "FILE", *again]), shlex.join([*resolve, *again])]


rescue.command()(resolve)
rescue.command()(retry)
