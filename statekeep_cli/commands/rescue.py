"""`statekeep rescue`: operational work on actors that a migration could not place."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from statekeep_cli.commands.options import Config, Database, Quiet
from statekeep_cli.errors import StateKeepError, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.mapping import Mapping
    from statekeep_cli.rescuing import Shown
    from statekeep_cli.stores.interface import Store

rescue = typer.Typer(
    name="rescue",
    help="List, look at and resolve the actors that need rescue.",
    no_args_is_help=True,
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


def _again(database: str | None, config: str | None) -> list[str]:
    """The options that name the same database; a URL may hold a password and is not repeated."""
    url = ["--db", database if "@" not in database else "URL"] if database else []
    return [*url, *(["--config", config] if config else [])]


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
    again = _again(database, config)
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
    following = _following(known, definitions or [], mapping, _again(database, config))
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


@rescue.command()
def resolve(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The actors; - reads ids from stdin, one per line.")
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="STATE", help="A state of the target (a path, or a JSON state value)."),
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")
    ],
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="V",
            help="The version to go to (default: that of the run that stranded them).",
        ),
    ] = None,
    definitions: Annotated[
        list[str] | None,
        typer.Option(
            "--definition",
            metavar="FILE",
            help="Repeatable, for your tables: the definitions, the target last.",
        ),
    ] = None,
    database: Database = None,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Put actors that need rescue into a state by hand: all of them or none.

    Checked are legality, obligations, history values, children and the context, as for every migration.
    Who did it and why is recorded, and their histories get a `manual` item.

    Example: statekeep rescue resolve pr-17 --to security_review --reason "seen by Ana" --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.confirm import confirm
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render import rescue as render
    from statekeep_cli.render.terminal import Progress, wants_color, width_of
    from statekeep_cli.rescuing import Resolving
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.runs import Lease

    wanted = _ids(ids)
    if not reason.strip():
        raise UsageMistake("--reason is empty; say why, for whoever reads the log")
    if version is not None and definitions:
        raise UsageMistake(
            "--version names a stored definition; with --definition the last file is the target"
        )
    mapping = read_config(config).mapping
    with closing(connect(database)) as store:
        about = _subject(store, mapping, definitions or (), wanted, version)
        resolving = Resolving(store, about, _state(to), reason)
        scope = about.scope
        assert scope.population is not None
        lease = Lease(store, scope.population, scope.mapping.name)
        lease.keep()
        try:
            run = resolving.continued()
            checked = resolving.check(wanted, run)
            print(
                f"{store.address}, {scope.mapping.name}: by hand into {about.target.label}", file=sys.stderr
            )
            if run is not None:
                print(f"going on with run {run.run} ({run.status})", file=sys.stderr)
            rows = [(x.id, x.source, x.decision.hazards) for x in checked]
            if rows:
                page = render.resolve_text(
                    rows, resolving.to, reason, width_of(sys.stdout), wants_color(sys.stdout)
                )
                sys.stdout.write(page)
                n = "1 actor" if len(rows) == 1 else f"{len(rows):,} actors"
                confirm(f"Set {n} of {scope.mapping.name} in {store.address} by hand?", yes)
            with Progress("writing", len(checked), "actors", quiet=quiet) as progress:
                run = resolving.write(checked, lease, run, lambda done: progress.update(done, ""))
        finally:
            lease.rest()
            lease.release()
    again = _again(database, config)
    print(f"run {run.run}: {len(checked):,} resolved")
    print(f"next: {shlex.join(['statekeep', 'rescue', 'list', *again])}")


def _ids(given: Sequence[str]) -> list[str]:
    """The ids of a command line, in their order, each once; `-` stands for those on standard input."""
    found: list[str] = []
    for id in given:
        found += [line.strip() for line in sys.stdin] if id == "-" else [id]
    named = [id for id in dict.fromkeys(found) if id]
    if not named:
        raise UsageMistake("no ids are given; name actors, or pipe ids in, one per line, with -")
    return named


def _state(text: str) -> Any:
    """A path, or a state value as JSON."""
    if not text.startswith(("{", '"')):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise UsageMistake(f"--to {text} is no JSON; give a path, or a state value as JSON") from None


def _subject(
    store: Store, mapping: Mapping | None, paths: Sequence[str], ids: Sequence[str], version: str | None
) -> Any:
    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.rescuing import subject_of, target_name
    from statekeep_cli.stores import rescue as stored
    from statekeep_cli.stores.scope import scope

    def name() -> str:
        actors = scope(store, mapping or OWN).actors(store)
        some = stored.of(actors, ids)
        # Who is not among them is refused by name later; the others say where to.
        return target_name(actors, list(some.values()) or None, version)

    return subject_of(store, mapping, paths, name, writing=True)


@rescue.command()
def retry(
    definitions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]... [TARGET]",
            help="The corrected target, a file or a stored ID@VERSION (default: the one that stranded them).",
        ),
    ] = None,
    database: Database = None,
    config: Config = None,
    migration: Annotated[
        str | None,
        typer.Option(
            "--mapping", "--migration", metavar="FILE", help="Corrected routing metadata in a side file."
        ),
    ] = None,
    where: Annotated[
        str, typer.Option("--where", metavar="SQL", help="Only actors that meet this condition.")
    ] = "",
    max_strand: Annotated[
        str,
        typer.Option("--max-strand", metavar="N|N%|all", help="Strands that are no finding (default: all)."),
    ] = "all",
    allow_hazards: Annotated[
        bool, typer.Option("--allow-hazards", help="Accept all hazards for this run.")
    ] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="FMT[=PATH]", help="text (default), json, jsonl or markdown; repeatable."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Connections that work.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and report, and write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Route the actors that need rescue once more, and nobody else, against a corrected definition.

    Whoever strands again is left as it was, so the gate lets strands pass; hazards still are findings. What
    --mapping says of a stored definition replaces what was stored, part by part, and is stored.

    Example: statekeep rescue retry --mapping fix.yaml --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.apply_database import Wishes, apply_database
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.rescuing import target_name
    from statekeep_cli.stores import installing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.scope import scope

    try:
        gate = Gate.parse(max_strand, allow_hazards)
    except ValueError as error:
        raise UsageMistake(f"--max-strand: {error}") from None
    outputs = Outputs.parse(formats)
    given = list(definitions or ())
    if not given:
        mapping = read_config(config).mapping
        if mapping is not None:
            raise UsageMistake(
                f"the definitions of {mapping.name} are not stored in the database; give their files,"
                " sources first"
            )
        with closing(connect(database, read_only=True)) as store:
            installing.require(store)
            given = [target_name(scope(store, OWN).actors(store))]
    wishes = Wishes(yes=yes, dry_run=dry_run, jobs=jobs, quiet=quiet, rescued=True, kind="retry")
    apply_database(given, database, config, migration, where, gate, outputs, wishes)
