"""Files as they are at a revision: `REV:path`, read through the git binary.

As `git show` takes it: a path counts from the top of the repository, one that begins with ./ or ../ from the
working directory. A file whose name has a colon in it wins over a revision. Nothing is fetched or written.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.document import MAX_BYTES, UNREADABLE

SECONDS = 60  # for one call of git: a large repository on a slow disk
MAX_LISTING = 64 << 20  # bytes of a list of names


@dataclass(frozen=True, slots=True)
class AtRevision:
    """`REV:path` in its two parts."""

    revision: str
    path: str

    @property
    def label(self) -> str:
        return f"{self.revision}:{self.path}"


def at_revision(name: str) -> AtRevision | None:
    """What a name means as `REV:path`; None where it is a file's (or standard input's)."""
    revision, colon, path = name.partition(":")
    if not colon or not revision or not path or "://" in name or os.path.lexists(name):
        return None
    # A message may be searched for, as in HEAD^{/fix: that}; the path is behind the last colon then.
    if "{" in revision and "}" not in revision:
        head, _, path = name.rpartition(":")
        revision = head
    return AtRevision(revision, path)


def read_at(name: AtRevision, most: int | None = MAX_BYTES) -> bytes:
    """The bytes of a file at a revision; one more than `most` of one that is larger.

    Raises `InputUnreadable` where there is no git, no repository, no such revision or no such file.
    """
    revision = commit_of(name.revision, name.label)
    blob = _git(
        ["cat-file", "blob", f"{revision}:{name.path}"], name.label, MAX_BYTES if most is None else most
    )
    if blob is not None:
        return blob
    if _git(["cat-file", "-t", f"{revision}:{name.path}"], name.label) is not None:
        raise _unreadable(name.label, "is a folder there, and no file", "give a file of it")
    if _git(["cat-file", "-e", f"{revision}:./{name.path}"], name.label) is not None:
        hint = f"paths count from the top of the repository; write {name.revision}:./{name.path}"
    else:
        hint = f"list its files with git ls-tree -r --name-only {name.revision}"
    raise _unreadable(name.label, f"there is no {name.path} at revision {name.revision}", hint)


def commit_of(revision: str, label: str) -> str:
    """The commit a revision names. Raises `InputUnreadable`, about `label`, where it names none."""
    if not revision.startswith("-"):
        found = _git(["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], label)
        if found is not None:
            return found.decode().strip()
    top_of(label)
    hint = "fetch it first (in CI: check out with the whole history, fetch-depth: 0), or check its name"
    raise _unreadable(label, f"there is no revision {revision} in this repository", hint)


def top_of(label: str) -> str:
    """The top directory of the repository that the working directory is in."""
    found = _git(["rev-parse", "--show-toplevel"], label)
    if found is None:
        hint = "run it inside one, or give a file that is on disk"
        raise _unreadable(label, "names a revision, and this is no git repository", hint)
    return os.fsdecode(found).rstrip("\n")


def merge_base(revision: str) -> str:
    """The commit at which the working directory's branch left a revision's."""
    commit = commit_of(revision, revision)
    found = _git(["merge-base", commit, "HEAD"], revision)
    if found is None:
        hint = "check out with the whole history (in CI: fetch-depth: 0)"
        raise _unreadable(revision, "has no common ancestor with HEAD in this clone", hint)
    return found.decode().strip()


def short(commit: str) -> str:
    """A commit's name as people write it."""
    found = _git(["rev-parse", "--short=12", commit], commit)
    return commit[:12] if found is None else found.decode().strip()


def inside(path: str, label: str) -> str:
    """A file on disk as its path from the top of the repository, with slashes."""
    top = os.path.realpath(top_of(label))
    # Only the folder is followed: a link is a file of its own to git.
    folder, name = os.path.split(os.path.abspath(path))
    relative = os.path.relpath(os.path.join(os.path.realpath(folder), name), top)
    if relative.startswith(".." + os.sep) or relative == "..":
        raise _unreadable(path, f"lies outside the repository {top}", "give a file of this repository")
    return relative.replace(os.sep, "/")


def exists(commit: str, path: str) -> bool:
    """Is there a file at this path (from the top) in a commit?"""
    kind = _git(["cat-file", "-t", f"{commit}:{path}"], path)
    return kind is not None and kind.strip() == b"blob"


def files_at(commit: str) -> list[str]:
    """Every file of a commit, from the top of the repository."""
    found = _git(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit], commit, MAX_LISTING)
    return [os.fsdecode(name) for name in (found or b"").split(b"\0") if name]


@dataclass(frozen=True, slots=True)
class Changed:
    """A file that differs from a commit's. `before` is its path there, "" for a new one; `path` is its path
    now, "" for one that was deleted. Both from the top."""

    before: str
    path: str


def changed_since(commit: str) -> list[Changed]:
    """What differs between a commit and the files on disk, renames followed; files that git does not know
    yet included."""
    arguments = [
        "diff",
        "--name-status",
        "-z",
        "--find-renames",
        "--no-ext-diff",
        "--no-textconv",
        commit,
        "--",
    ]
    fields = [os.fsdecode(f) for f in (_git(arguments, commit, MAX_LISTING) or b"").split(b"\0")]
    found, at = [], 0
    while at + 1 < len(fields):
        status = fields[at]
        if status[:1] in "RC":
            found.append(Changed(fields[at + 1], fields[at + 2]))
            at += 3
            continue
        path = fields[at + 1]
        found.append(Changed("" if status == "A" else path, "" if status == "D" else path))
        at += 2
    top = top_of(commit)
    listed = _git(
        ["ls-files", "-z", "--others", "--exclude-standard", "--full-name", top], commit, MAX_LISTING
    )
    found += [Changed("", os.fsdecode(name)) for name in (listed or b"").split(b"\0") if name]
    return found


def copy_at(commit: str, path: str, to: str) -> None:
    """Writes a file of a commit to disk, whatever its size."""
    with open(to, "wb") as file:
        _run(["cat-file", "blob", f"{commit}:{path}"], path, file)


def _git(arguments: Sequence[str], label: str, most: int = 1 << 20) -> bytes | None:
    """What git prints, at most one byte more than `most`; None where it fails."""
    try:
        with subprocess.Popen(
            ["git", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:
            assert process.stdout is not None
            late = threading.Timer(SECONDS, process.kill)
            late.start()
            try:
                out = process.stdout.read(most + 1)
                if len(out) > most:
                    return out
                code = process.wait()
                if code and not late.is_alive():
                    raise _unreadable(label, f"git did not answer in {SECONDS} s", "try again")
                return None if code else out
            finally:
                late.cancel()
                process.kill()
    except OSError:
        hint = "install git, or give a file that is on disk"
        raise _unreadable(label, "names a revision, and there is no git here", hint) from None
    except ValueError as error:  # a NUL in a name
        raise _unreadable(label, f"cannot be read: {error}", "check the path") from None


def _run(arguments: Sequence[str], label: str, out: object) -> None:
    done = subprocess.run(
        ["git", *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL,  # type: ignore[call-overload]
        env=_environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise _unreadable(label, "git cannot read it", "check that the clone is complete")


def _environment() -> dict[str, str]:
    """Git's words in English, no question asked, nothing written."""
    return {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}


def _unreadable(label: str, message: str, hint: str) -> InputUnreadable:
    return InputUnreadable.of(Problem(label, 0, 0, message, UNREADABLE, hint=hint))
