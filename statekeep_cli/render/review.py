"""What a change does to all definitions of a repository, as the one comment of a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from statekeep_cli.render.markdown import LIMIT, code

# Found again by whoever updates the comment in place; readers do not see it.
MARKER = "<!-- statekeep ci -->"
QUIET = "This change no longer touches a workflow definition with live actors."
_PLAIN = re.compile(r"[A-Za-z0-9 ,;:%'-]*")  # text that means nothing to Markdown or to the host
NAMED = 50  # definitions listed in a line each


@dataclass(frozen=True, slots=True)
class Section:
    """One definition: the page of its preview ("" where there is none), and what else there is to say."""

    path: str
    said: str
    page: str = ""
    failed: bool = False
    counts: str = ""


def comment(sections: Sequence[Section], base: str, link: str = "", limit: int = LIMIT) -> str:
    """The comment's body: whole pages while there is room, a line for each of the others."""
    if not sections:
        return f"{MARKER}\n{QUIET}\n"
    more = f"[Full reports]({link})" if link.startswith(("https://", "http://")) else "The full reports"
    foot = f"\n<sub>Against {code(base)}. {more} are among the job's artifacts.</sub>\n"
    room = limit - len(MARKER) - len(foot) - 2
    lines = [_line(s) for s in sections]
    # Those past the gate first: where not all pages fit, theirs are the ones to read.
    order = sorted(range(len(sections)), key=lambda i: not sections[i].failed)
    blocks: dict[int, str] = {}
    room -= sum(len(line) + 1 for line in lines[:NAMED]) + 100
    for i in order:
        page = sections[i].page
        if page and len(page) + 2 <= room:
            blocks[i] = page.strip("\n")
            room -= len(page) + 2
    parts = [MARKER]
    if len(sections) > 1 or not blocks or sections[0].said:
        parts.append("\n".join(lines[:NAMED]))
        if lines[NAMED:]:
            parts.append(f"and {len(lines) - NAMED:,} more definitions")
    parts += [blocks[i] for i in order if i in blocks]
    return "\n\n".join(parts) + "\n" + foot


def _line(section: Section) -> str:
    if section.said.startswith(section.path):
        return f"- {code(section.said, 600)}"
    said = section.said if _PLAIN.fullmatch(section.said) else code(section.said, 600)
    more = "; ".join(x for x in (section.counts, said) if x)
    return f"- {code(section.path)}: {more}" if more else f"- {code(section.path)}"
