"""User text inside HTML: escaped, inert, and cut to what a picture has room for."""

from __future__ import annotations

import html
from collections.abc import Iterable

from statekeep_cli.render.terminal import cells, inert, shown
from statekeep_cli.render.words import state_text


def esc(text: str, limit: int = 1000) -> str:
    """User text for an element or a quoted attribute; control and direction characters are made visible."""
    return html.escape(shown(text, limit))


def block(text: str) -> str:
    """Lines of user text, for a `<pre>`."""
    return "\n".join(html.escape(inert(line)) for line in text.strip("\n").split("\n"))


def fitted(text: str, width: float, per_cell: float) -> str:
    """As much of a text as `width` pixels hold, escaped, with an ellipsis where some is left out."""
    safe = inert(text[:400])
    room = max(int(width / per_cell), 2)
    if cells(safe) <= room:
        return html.escape(safe)
    while safe and cells(safe) > room - 1:
        safe = safe[:-1]
    return html.escape(safe) + "…"


def compact(state: str) -> str:
    """A state value (as JSON) for where there is little room: what all its leaves share is said once, as in
    `granting: approved.done + registered.open`."""
    said = state_text(state)
    leaves = [leaf.split(".") for leaf in said.split(" + ")]
    shared = 0
    while len(leaves) > 1 and all(len(x) > shared + 1 and x[shared] == leaves[0][shared] for x in leaves):
        shared += 1
    if not shared:
        return said
    return ".".join(leaves[0][:shared]) + ": " + " + ".join(".".join(x[shared:]) for x in leaves)


def code(text: str, limit: int = 200) -> str:
    return f"<code>{esc(text, limit)}</code>"


def sentence(text: str) -> str:
    """Words of our own that may stand alone."""
    said = esc(text)
    return f"{said[:1].upper()}{said[1:]}{'' if said.endswith('.') else '.'}"


def table(caption: str, head: Iterable[str], rows: str, css: str) -> str:
    """A table that scrolls within itself where it is too wide; `rows` is HTML."""
    heads = "".join(f'<th scope="col">{esc(h)}</th>' for h in head)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(caption)}">'
        f'<table class="{css}">'
        f"<caption>{esc(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"
        "</table></div>"
    )


def paste(text: str, name: str, what: str) -> str:
    """Lines with a button that copies them; `name` is their id, `what` the word for them."""
    return (
        f'<div class="paste">'
        f'<pre id="{name}" tabindex="0" role="region" aria-label="{what.title()} to copy">'
        f"{block(text)}</pre>"
        f'<button type="button" data-copy="{name}" data-what="{what}">Copy {what}</button></div>'
    )
