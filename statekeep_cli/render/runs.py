"""Runs as they stand, what a revert did, and what was ever decided about one actor: text and JSON."""

from __future__ import annotations

import json as _json
from collections.abc import Mapping, Sequence
from typing import Any

from statekeep_cli.core.standing import Entry, Moved, Standing, Undone, Who
from statekeep_cli.render.tables import Table
from statekeep_cli.render.terminal import Paint, inert, shown, wrap
from statekeep_cli.render.words import state_text

FORMAT_VERSION = 1
GONE = "its process is gone"
_TONES = {"done": "green", "running": "cyan", "paused": "yellow", "stopped": "yellow", "failed": "red"}


# --- text: runs --------------------------------------------------------------------------------------


def runs_text(
    found: Sequence[Standing], address: str, width: int = 80, color: bool = False, again: str = ""
) -> str:
    """A list of runs, the newest first. `again` are the options that name the same database."""
    if not found:
        return "\n".join(wrap(f"no runs in {shown(address)} yet", width)) + "\n"
    paint = Paint(color)
    rows = [("run", "what", "status", "actors", "rate", "started")]
    rows += [
        (str(r.run), f"{r.kind} {shown(r.label, 60)}", _status(r), _short(r), _rate(r), time(r.started_at))
        for r in found
    ]
    table = Table.fit(rows, width)
    lines: list[str] = []
    for i, row in enumerate(rows):
        laid = table.lines(row)
        if i and (tone := _TONES.get(found[i - 1].status)):
            laid = [line.replace(row[2], paint(row[2], tone), 1) for line in laid]
        lines += [paint(line, "bold") for line in laid] if not i else laid
    gone = next((r for r in found if r.gone), None)
    if gone is not None:
        lines += ["", *wrap(_gone(gone), width)]
    lines += ["", f"next: statekeep status {(gone or found[0]).run}{again}"]
    return "\n".join(lines) + "\n"


def run_text(r: Standing, width: int = 80, color: bool = False, again: str = "") -> str:
    """One run, a fact per line, and what it decided."""
    paint = Paint(color)
    head = f"run {r.run}: {r.kind} {shown(r.label)} on {shown(r.table)}"
    lines = [paint(line, "bold") for line in wrap(head, width)]
    status = _status(r)
    if r.status == "running" and r.alive and r.control != "go":
        status += f" (asked to {r.control})"
    facts = [("status", status), ("actors", _share(r) + (f", {r.skipped:,} skipped" if r.skipped else ""))]
    if r.rate is not None:
        facts.append(("rate", _rate(r)))
    if r.eta is not None:
        facts.append(("left", f"about {duration(r.eta)}"))
    facts += [("started", time(r.started_at))]
    if r.stopped_at is not None:
        facts.append((r.status if r.status in ("done", "cancelled") else "stopped", time(r.stopped_at)))
    facts += _who(r.who)
    if r.plan is not None:
        facts.append(("plan", shown(r.plan)))
    if r.why:
        facts.append(("why", shown(r.why, 2_000)))
    if r.reverted_by is not None:
        facts.append(("reverted", f"by run {r.reverted_by}"))
    size = max(len(name) for name, _ in facts)
    for name, said in facts:
        lines += wrap(said, width, f"  {name:<{size}}  ")
    if r.groups:
        rows = [("actors", "outcome", "from", "to", "reason")]
        rows += [
            (f"{g.count:,}", g.outcome, _place(g.source), _place(g.target), shown(g.reason) or "-")
            for g in r.groups
        ]
        table = Table.fit(rows, width)
        lines.append("")
        for i, row in enumerate(rows):
            lines += [paint(line, "bold") if not i else line for line in table.lines(row)]
    hint = _next(r)
    if r.gone:
        lines += ["", *wrap(_gone(r), width)]
    elif hint:
        lines += ["", f"next: {hint}{again if hint.startswith('statekeep ') else ''}"]
    return "\n".join(lines) + "\n"


def _next(r: Standing) -> str:
    if r.status == "running":
        return f"statekeep watch {r.run}"
    if r.status == "paused" or (r.status == "stopped" and r.control == "pause"):
        return f"statekeep resume {r.run}"
    if r.status == "stopped":
        return _again(r)
    if any(g.outcome == "strand" for g in r.groups):
        return "statekeep rescue list"
    return ""


def _again(r: Standing) -> str:
    if r.kind == "revert":
        return f"statekeep revert {r.reverts}"
    rescue = r.kind in ("retry", "resolve")
    return f"statekeep rescue {r.kind}" if rescue else f"run the same {r.kind} again, to go on"


def _gone(r: Standing) -> str:
    if r.kind == "revert":
        again = f"statekeep revert {r.reverts} again"
    else:
        rescue = r.kind in ("retry", "resolve")
        again = f"statekeep rescue {r.kind} again" if rescue else f"the {r.kind} again"
    return f"run {r.run} is running, but {GONE}; run {again}"


def _status(r: Standing) -> str:
    return f"running, but {GONE}" if r.gone else r.status


def _share(r: Standing) -> str:
    if r.total is None:
        return f"{r.decided:,}"
    return f"{r.decided:,} of {r.total:,}" + ("" if r.percent is None else f" ({r.percent}%)")


def _short(r: Standing) -> str:
    """For a table: what is complete need not say its number twice."""
    return f"{r.total:,} (100%)" if r.total and r.decided == r.total else _share(r)


def _rate(r: Standing) -> str:
    return "-" if r.rate is None else f"{r.rate:,.0f}/s" if r.rate >= 10 else f"{r.rate:.1f}/s"


def _who(who: Who) -> list[tuple[str, str]]:
    facts = [("by", _person(who))]
    if who.commit:
        facts.append(("commit", shown(who.commit)))
    if who.ci_url:
        facts.append(("job", shown(who.ci_url, 2_000)))
    return facts


def _person(who: Who) -> str:
    said = f"{shown(who.os_user or 'somebody')} on {shown(who.host or 'an unknown host')}"
    said += f", process {who.pid}" if who.pid is not None else ""
    return said + (f", database user {shown(who.database_user)}" if who.database_user else "")


def _place(place: Mapping[str, Any] | None) -> str:
    if place is None:
        return "-"
    return f"{shown(str(place.get('version')))} {_state(place['state'])}"


def _state(value: Any) -> str:
    return shown(state_text(_json.dumps(value, ensure_ascii=False)), 2_000)


def time(at: str) -> str:
    """`2026-11-22 12:26:37 UTC`; what is no such time, as it is."""
    if len(at) < 20 or at[10] != "T" or not at.endswith("Z"):
        return shown(at)
    return f"{at[:10]} {at[11:19]} UTC"


def duration(seconds: float) -> str:
    """`42 s`, `7 min`, `3 h 20 min`."""
    whole = int(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    minutes = (whole + 30) // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# --- text: a revert ----------------------------------------------------------------------------------


def undone_text(u: Undone, width: int = 80, color: bool = False) -> str:
    """What a revert did or would do, and the first actors that it leaves alone."""
    begin = f"run {u.run}: " if u.run is not None else ""
    verb = ("would be put back" if u.dry_run else "put back") + f" as before run {u.reverts}"
    said = f"{begin}{_n(u.put_back)} {verb}"
    if u.run is None and not u.dry_run:
        said = f"nothing to put back of run {u.reverts}"
    if u.earlier:
        said += f", {u.earlier:,} had been put back before"
    if u.moved:
        one = u.moved == 1
        said += f", {u.moved:,} {'has' if one else 'have'} moved since and "
        said += "stays as it is" if one else "stay as they are"
    lines = wrap(said, width)
    for moved in u.listed:
        lines += wrap(f"{shown(moved.actor)}  {_now(moved)}", width, "  ", "    ")
    if u.moved > len(u.listed):
        lines += wrap(f"and {u.moved - len(u.listed):,} more; --format json lists all", width, "  ")
    if u.listed:
        lines.append(f"next: statekeep log {_quoted(u.listed[0].actor)}")  # not wrapped: to be copied
    return "\n".join(lines) + "\n"


def _now(moved: Moved) -> str:
    if moved.now is None:
        return "is gone"
    return f"is in {_place(moved.now)}, {shown(str(moved.now['status']))}"


def _n(actors: int) -> str:
    return f"{actors:,} actor" + ("" if actors == 1 else "s")


def _quoted(actor: str) -> str:
    import shlex

    return shlex.quote(inert(actor))


# --- text: one actor ---------------------------------------------------------------------------------


def log_text(actor: str, found: Sequence[Entry], table: str, width: int = 80, color: bool = False) -> str:
    """Every decision about an actor, the oldest first."""
    paint = Paint(color)
    if not found:
        return "\n".join(wrap(f"{shown(actor)} of {shown(table)}: nothing was ever decided", width)) + "\n"
    lines = wrap(f"{shown(actor)} of {shown(table)}: {len(found)} decision{'s' * (len(found) > 1)}", width)
    for e in found:
        head = f"run {e.run}  {time(e.at)}  {e.kind}" + (f" of run {e.reverts}" if e.reverts else "")
        lines += ["", *(paint(line, "bold") for line in wrap(head, width, "", "  "))]
        move = f"{e.outcome}: {_full(e.source)}" + (f" to {_full(e.target)}" if e.target else " stays")
        facts = [move, *(x for x in (_because(e), e.why and f"why: {shown(e.why, 2_000)}") if x)]
        facts.append(f"by {_person(e.who)}")
        facts += [f"{name} {said}" for name, said in _who(e.who)[1:]]
        if e.reverted_by is not None:
            facts.append(f"reverted by run {e.reverted_by}")
        for said in facts:
            lines += wrap(said, width, "  ", "    ")
    return "\n".join(lines) + "\n"


def _full(place: Mapping[str, Any] | None) -> str:
    if place is None:
        return "a state that could not be read"
    return f"{shown(str(place.get('definition')))}@{_place(place)}"


def _because(e: Entry) -> str:
    parts = [shown(x) for x in (e.reason, e.rule) if x]
    said = ", ".join(parts) + f" after {e.events} event{'' if e.events == 1 else 's'}" if parts else ""
    if e.detail:
        said = f"{said}: {shown(e.detail, 2_000)}" if said else shown(e.detail, 2_000)
    return said


# --- JSON --------------------------------------------------------------------------------------------


def runs_json(found: Sequence[Standing]) -> str:
    return _page({"formatVersion": FORMAT_VERSION, "runs": [_run(r) for r in found]})


def run_json(r: Standing) -> str:
    groups = [
        {"outcome": g.outcome, "reason": g.reason, "from": g.source, "to": g.target, "count": g.count}
        for g in r.groups
    ]
    return _page({"formatVersion": FORMAT_VERSION, **_run(r), "groups": groups})


def _run(r: Standing) -> dict[str, Any]:
    return {
        "run": r.run,
        "kind": r.kind,
        "table": r.table,
        "target": {"definition": r.definition, "version": r.version},
        "status": r.status,
        "alive": r.alive,
        "control": r.control,
        "decided": r.decided,
        "total": r.total,
        "skipped": r.skipped,
        "percent": r.percent,
        "rate": None if r.rate is None else round(r.rate, 3),
        "etaSeconds": None if r.eta is None else round(r.eta, 1),
        "startedAt": r.started_at,
        "stoppedAt": r.stopped_at,
        "who": who_json(r.who),
        "plan": r.plan,
        "why": r.why,
        "reverts": r.reverts,
        "revertedBy": r.reverted_by,
    }


def who_json(who: Who) -> dict[str, Any]:
    return {
        "osUser": who.os_user,
        "host": who.host,
        "pid": who.pid,
        "databaseUser": who.database_user,
        "commit": who.commit,
        "ciUrl": who.ci_url,
    }


def undone_json(u: Undone) -> str:
    return _page(
        {
            "formatVersion": FORMAT_VERSION,
            "run": u.run,
            "reverts": u.reverts,
            "what": u.label,
            "table": u.table,
            "dryRun": u.dry_run,
            "putBack": u.put_back,
            "putBackBefore": u.earlier,
            "moved": u.moved,
            "movedActors": [{"actor": m.actor, "now": m.now} for m in u.listed],
        }
    )


def log_json(actor: str, found: Sequence[Entry], table: str) -> str:
    decisions = [
        {
            "run": e.run,
            "kind": e.kind,
            "at": e.at,
            "who": who_json(e.who),
            "outcome": e.outcome,
            "reason": e.reason,
            "rule": e.rule,
            "detail": e.detail,
            "from": e.source,
            "to": e.target,
            "events": e.events,
            "why": e.why,
            "reverts": e.reverts,
            "revertedBy": e.reverted_by,
        }
        for e in found
    ]
    return _page({"formatVersion": FORMAT_VERSION, "actor": actor, "table": table, "decisions": decisions})


def _page(value: Mapping[str, Any]) -> str:
    return _json.dumps(value, indent=1) + "\n"
