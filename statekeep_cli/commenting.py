"""Puts the comment that `statekeep ci` wrote on the pull request, or updates the one that is there.

    python -P -m statekeep_cli.commenting DIR

Its own program, so that no command of StateKeep talks to a code host. It uses the standard library alone, and
what the host's own CI sets: GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_EVENT_PATH and GITHUB_TOKEN, or
CI_API_V4_URL, CI_PROJECT_ID, CI_MERGE_REQUEST_IID and STATEKEEP_GITLAB_TOKEN. Where nothing changed and there
is no comment, none is made. A token that may not write (a fork's pull request) is no failure: the report is
in the job's summary and artifacts.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MARKER = "<!-- statekeep ci -->"  # as in render/review.py
SECONDS = 30
PAGE = 100
PAGES = 50  # comments of a pull request that are looked at, in hundreds


class Refused(Exception):
    """The host does not let this token do that."""


class Failed(Exception):
    """Anything else that went wrong, in a sentence."""


@dataclass(frozen=True, slots=True)
class Host:
    """One pull request's comments. `found` is their list, `one` a comment's own address, with {id}."""

    found: str
    one: str
    change: str  # the method that changes a comment
    headers: Mapping[str, str]
    bots_only: bool

    def call(self, method: str, url: str, body: str | None = None) -> Any:
        data = None if body is None else json.dumps({"body": body}).encode()
        headers = {**self.headers, "Accept": "application/json", "User-Agent": "statekeep"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                raise Refused(f"{method} {url}: {error.code}") from None
            raise Failed(f"{method} {url} was answered with {error.code} {error.reason}") from None
        except (OSError, ValueError) as error:
            raise Failed(f"{method} {url}: {error}") from None

    def comments(self) -> Iterator[dict[str, Any]]:
        for page in range(1, PAGES + 1):
            some = self.call("GET", f"{self.found}?per_page={PAGE}&page={page}")
            yield from some
            if len(some) < PAGE:
                return

    def ours(self) -> dict[str, Any] | None:
        """The comment with the marker. On GitHub a person may have copied it: a bot's is ours."""
        for comment in self.comments():
            bot = (comment.get("user") or {}).get("type") == "Bot"
            if str(comment.get("body") or "").startswith(MARKER) and (bot or not self.bots_only):
                return comment
        return None


def host(env: Mapping[str, str]) -> Host | None:
    """The host and pull request of this job; None where it is not about one."""
    if env.get("GITLAB_CI"):
        number, token = env.get("CI_MERGE_REQUEST_IID", ""), env.get("STATEKEEP_GITLAB_TOKEN", "")
        if not number:
            return None
        project = f"{env['CI_API_V4_URL']}/projects/{env['CI_PROJECT_ID']}"
        notes = f"{project}/merge_requests/{number}/notes"
        return Host(notes, notes + "/{id}", "PUT", {"PRIVATE-TOKEN": token}, False)
    number = _pull_request(env)
    if not number:
        return None
    repository = f"{env.get('GITHUB_API_URL', 'https://api.github.com')}/repos/{env['GITHUB_REPOSITORY']}"
    headers = {"Authorization": f"Bearer {env.get('GITHUB_TOKEN', '')}", "X-GitHub-Api-Version": "2022-11-28"}
    found = f"{repository}/issues/{number}/comments"
    anyone = env.get("STATEKEEP_COMMENT_AS", "") == "user"
    return Host(found, f"{repository}/issues/comments/{{id}}", "PATCH", headers, not anyone)


def _pull_request(env: Mapping[str, str]) -> str:
    path = env.get("GITHUB_EVENT_PATH", "")
    if not path:
        return ""
    with open(path, encoding="utf-8") as file:
        event = json.load(file)
    number = (event.get("pull_request") or {}).get("number") or event.get("number")
    return str(number) if type(number) is int else ""


def comment(folder: str, env: Mapping[str, str] = os.environ) -> str:
    """Does it, and says in a sentence what was done."""
    with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
        wanted = bool(json.load(file)["comment"])
    with open(os.path.join(folder, "comment.md"), encoding="utf-8") as file:
        body = file.read()
    where = host(env)
    if where is None:
        return "no pull request here, so there is nothing to comment on"
    ours = where.ours()
    if ours is None:
        if not wanted:
            return "nothing changed: no comment"
        where.call("POST", where.found, body)
        return "comment written"
    if str(ours.get("body") or "").replace("\r\n", "\n").strip() == body.strip():
        return "the comment says this already"
    where.call(where.change, where.one.format(id=int(ours["id"])), body)
    return "comment updated"


def main(arguments: list[str]) -> int:
    """One folder of `statekeep ci`; 0 also where the token may not write."""
    if len(arguments) != 1:
        print("usage: python -m statekeep_cli.commenting DIR", file=sys.stderr)
        return 2
    try:
        print(comment(arguments[0]))
    except Refused as error:
        print(
            f"no comment: the token may not ({error}); see the job's summary and artifacts", file=sys.stderr
        )
    except (Failed, OSError, KeyError, ValueError) as error:
        print(f"error: no comment: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
