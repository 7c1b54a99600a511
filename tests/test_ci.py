"""`statekeep ci` and the very scripts that action.yml runs, over real repositories and a real HTTP server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repositories import ACTORS, CONFIG, FIXED, V1, V2, Repository, environment, repository
from tests.support import ROOT

MARKER = "<!-- statekeep ci -->"


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return repository(tmp_path / "repo")


def ci(repo: Repository, *more: str, **env: str) -> tuple[int, dict[str, Any], str, str]:
    """Exit code, result.json, comment.md and standard error."""
    out = repo.path.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    done = repo.run("ci", "--base", "main", "--out", str(out), *more, env=env)
    if done.returncode not in (0, 3):
        return done.returncode, {}, "", done.stderr
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return done.returncode, result, (out / "comment.md").read_text(encoding="utf-8"), done.stderr


def test_a_strand_its_fix_and_silence(repo: Repository) -> None:
    code, result, comment, error = ci(repo)
    assert (code, result["comment"], result["definitions"]) == (0, False, [])

    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    code, result, comment, error = ci(repo, "--link", "https://example.org/run/1")
    assert code == 3
    assert "workflows/loan.yaml: 1 actor strands" in error
    (one,) = result["definitions"]
    assert one["counts"] == {"migrate": 2, "strand": 1, "stay": 0, "skipped": 0, "unreadable": 0}
    assert comment.startswith(MARKER)
    assert "approved: cleared" in comment
    assert "[Full reports](https://example.org/run/1)" in comment
    assert "loan-2" not in comment
    folder = repo.path.parent / "out" / one["folder"]
    assert {f.name for f in folder.iterdir()} >= {
        "report.txt",
        "report.json",
        "report.md",
        "report.html",
        "junit.xml",
    }

    repo.write("workflows/loan.yaml", FIXED)
    code, result, comment, error = ci(repo)
    assert (code, result["failed"], result["comment"]) == (0, False, True)


def test_the_configuration_is_the_base_branchs(repo: Repository) -> None:
    repo.write("workflows/loan.yaml", V2)
    repo.write("statekeep.yaml", CONFIG.replace("actors.jsonl", "mine.jsonl") + "  max_strand: all\n")
    repo.write("mine.jsonl", json.dumps(ACTORS[0]) + "\n")
    repo.write("actors.jsonl", json.dumps(ACTORS[0]) + "\n")  # and so are the actors
    repo.commit()
    code, result, _, _ = ci(repo)
    assert (code, result["definitions"][0]["counts"]["strand"]) == (3, 1)


def test_without_a_configuration_nothing_is_looked_at(repo: Repository) -> None:
    repo.git("checkout", "-q", "main")
    repo.git("rm", "-q", "statekeep.yaml")
    repo.commit()
    repo.write("workflows/loan.yaml", V2)
    code, result, _, _ = ci(repo)
    assert (code, result["comment"]) == (0, False)
    code, result, _, _ = ci(repo, "--definitions", "workflows/*.yaml", "--actors", "actors.jsonl")
    assert (code, len(result["definitions"])) == (3, 1)


def test_pyproject_holds_the_configuration_too(repo: Repository) -> None:
    repo.git("checkout", "-q", "main")
    repo.git("rm", "-q", "statekeep.yaml")
    repo.write(
        "pyproject.toml",
        '[tool.statekeep.ci]\ndefinitions = ["workflows/*.yaml"]\n'
        'actors = "actors.jsonl"\nmax_strand = "50%"\n',
    )
    repo.commit()
    repo.git("checkout", "-q", "-B", "change")
    repo.write("workflows/loan.yaml", V2)
    code, result, _, _ = ci(repo)
    assert (code, result["definitions"][0]["counts"]["strand"]) == (0, 1)


def test_a_database_where_its_variable_is_set(repo: Repository, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "main")
    repo.write("statekeep.yaml", CONFIG + "  database: READ_ONLY_URL\n")
    repo.commit()
    repo.git("checkout", "-q", "-B", "change")
    url = str(tmp_path / "live.db")
    live = tmp_path / "live.jsonl"
    live.write_text(
        "".join(json.dumps({**ACTORS[2], "id": f"x{i}"}) + "\n" for i in range(7)), encoding="utf-8"
    )
    assert repo.run("db", "init", "--db", url).returncode == 0
    done = repo.run("db", "import", "workflows/loan.yaml", "--actors", str(live), "--db", url)
    assert done.returncode == 0, done.stderr
    repo.write("workflows/loan.yaml", V2)
    assert ci(repo)[1]["definitions"][0]["counts"]["strand"] == 1
    assert ci(repo, READ_ONLY_URL=url)[1]["definitions"][0]["counts"]["strand"] == 7


def test_a_fork_previews_a_redacted_snapshot(repo: Repository, tmp_path: Path) -> None:
    url = str(tmp_path / "live.db")
    repo.run("db", "init", "--db", url)
    done = repo.run("db", "import", "workflows/loan.yaml", "--actors", "actors.jsonl", "--db", url)
    assert done.returncode == 0, done.stderr
    repo.git("checkout", "-q", "main")
    done = repo.run("snapshot", "--db", url, "-o", "actors.jsonl", "--redact", "--force")
    assert done.returncode == 0, done.stderr
    assert "loan-2" not in (repo.path / "actors.jsonl").read_text(encoding="utf-8")
    repo.commit()
    repo.git("checkout", "-q", "-B", "change")
    repo.write("workflows/loan.yaml", V2)
    code, result, _, _ = ci(repo)
    assert (code, result["definitions"][0]["counts"]) == (
        3,
        {"migrate": 2, "strand": 1, "stay": 0, "skipped": 0, "unreadable": 0},
    )


def test_every_kind_of_change_in_one_comment(repo: Repository) -> None:
    repo.git("checkout", "-q", "main")
    for name in ("gone", "same", "stale", "broken"):
        repo.write(f"workflows/{name}.yaml", V1.replace("id: loan", f"id: {name}"))
    repo.write("workflows/deep/order-v1.yaml", V1.replace("id: loan", "id: order"))
    repo.commit()
    repo.git("checkout", "-q", "-B", "change")
    (repo.path / "workflows/gone.yaml").unlink()
    repo.write("workflows/same.yaml", V1.replace("id: loan", "id: same") + "description: more\n")
    repo.write(
        "workflows/stale.yaml", V2.replace("id: loan", "id: stale").replace("version: 2", "version: 1")
    )
    repo.write(
        "workflows/broken.yaml", V2.replace("id: loan", "id: broken").replace("initial: app", "initial: ap")
    )
    repo.write("workflows/deep/order-v2.yaml", V2.replace("id: loan", "id: order"))  # beside version 1
    repo.write("workflows/new.yaml", V1.replace("id: loan", "id: new"))
    repo.write("other/unrelated.yaml", V2)
    code, result, comment, _ = ci(repo)
    assert code == 3
    kinds = {d["path"].removeprefix("workflows/"): (d["kind"], d["failed"]) for d in result["definitions"]}
    assert kinds == {
        "gone.yaml": ("deleted", False),
        "same.yaml": ("nothing", False),
        "stale.yaml": ("finding", True),
        "broken.yaml": ("finding", True),
        "deep/order-v2.yaml": ("previewed", False),
        "new.yaml": ("nothing", False),
    }
    assert "write version: 2" in comment
    annotations = (repo.path.parent / "out/annotations.txt").read_text(encoding="utf-8")
    assert "file=workflows/stale.yaml,line=2,col=10" in annotations
    assert "file=workflows/broken.yaml,line=3" in annotations
    assert "was deleted" in comment


def test_the_comment_fits_whatever_there_is(repo: Repository) -> None:
    repo.git("checkout", "-q", "main")
    states = "\n".join(f"  s{i}: {{on: {{GO: s{i + 1}}}}}" for i in range(150))
    text = "id: ID\nversion: VERSION\ninitial: s0\nstates:\n" + states + "\n  s150: {type: final}\n"

    def named(text: str, id: str, version: str) -> str:
        return text.replace("ID", id).replace("VERSION", version)

    for i in range(3):
        repo.write(f"workflows/m{i}.yaml", named(text, f"m{i}", "1"))
    records = [
        {"id": f"{m}-{i}", "definition": f"m{m}", "version": 1, "state": f"s{i}", "history": ["GO"] * i}
        for m in range(3)
        for i in range(150)
    ]
    repo.write("actors.jsonl", "".join(json.dumps(r) + "\n" for r in records))
    repo.commit()
    repo.git("checkout", "-q", "-B", "change")
    for i in range(3):
        repo.write(f"workflows/m{i}.yaml", re.sub(r"\bs(\d)", r"t\1", named(text, f"m{i}", "2")))
    code, result, comment, _ = ci(repo)
    assert code == 3
    assert len(result["definitions"]) == 3
    assert 20_000 < len(comment) < 65_536
    assert all(f"`workflows/m{i}.yaml`" in comment for i in range(3))


def test_actors_that_cannot_be_read_are_no_finding(repo: Repository) -> None:
    repo.write("workflows/loan.yaml", V2)
    code, _, _, error = ci(repo, "--actors", "nowhere.jsonl")
    assert code == 1
    assert "nowhere.jsonl" in error


def test_names_that_look_like_commands(repo: Repository) -> None:
    name = "workflows/$(touch pwned) `id` @all.yaml"
    repo.write(name, V2)
    (repo.path / "workflows/loan.yaml").unlink()
    repo.git("add", "-A")
    code, result, comment, _ = ci(repo)
    assert code == 3
    assert [d["path"] for d in result["definitions"]] == [name]
    assert not list(repo.path.rglob("pwned"))
    assert "``" in comment


# --- the scripts of the action ---------------------------------------------------------------------------


class Api(BaseHTTPRequestHandler):
    """As much of GitHub's and GitLab's comments as the scripts use."""

    server: Hosted

    def _answer(self, code: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _handle(self) -> None:
        host = self.server
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length))["body"] if length else ""
        token = self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN")
        host.calls.append((self.command, path))
        if token not in ("Bearer t0ken", "t0ken") or (host.read_only and self.command != "GET"):
            self._answer(403, {"message": "Resource not accessible by integration"})
        elif self.command == "GET":
            page = int(query.rpartition("page=")[2])
            self._answer(200, host.comments[(page - 1) * 100 : page * 100])
        elif self.command == "POST":
            host.comments.append({"id": len(host.comments) + 1, "body": body, "user": {"type": "Bot"}})
            self._answer(201, {})
        else:
            number = int(path.rpartition("/")[2])
            next(c for c in host.comments if c["id"] == number)["body"] = body
            self._answer(200, {})

    do_GET = do_POST = do_PATCH = do_PUT = _handle

    def log_message(self, *_: Any) -> None:
        pass


class Hosted(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.comments: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.read_only = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def host() -> Iterator[Hosted]:
    with Hosted() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Job:
    """The steps of action.yml for one pull request, in their order, as the runner would run them."""

    def __init__(self, repo: Repository, host: Hosted, folder: Path):
        self.repo, self.host, self.folder = repo, host, folder
        folder.mkdir()
        shim = folder / "bin"
        shim.mkdir()
        (shim / "statekeep").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m statekeep_cli "$@"\n')
        (shim / "statekeep").chmod(0o755)
        (shim / "python3").symlink_to(sys.executable)
        (folder / "event.json").write_text(json.dumps({"pull_request": {"number": 7}}))
        self.action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        self.env = environment(
            {
                "PATH": f"{shim}:{environment()['PATH']}",
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_API_URL": host.url,
                "GITHUB_BASE_REF": "main",
                "GITHUB_EVENT_PATH": str(folder / "event.json"),
                "GITHUB_REPOSITORY": "acme/loans",
                "GITHUB_RUN_ID": "11",
                "GITHUB_SERVER_URL": "https://github.example",
                "RUNNER_TEMP": str(folder),
            }
        )

    def run(self, **inputs: str) -> tuple[int, str]:
        """The job's exit code, and what it printed."""
        self.repo.git("update-ref", "refs/remotes/origin/main", "main")
        given = {name: str(v.get("default", "")) for name, v in self.action["inputs"].items()}
        given |= {"github-token": "t0ken"} | {name.replace("_", "-"): v for name, v in inputs.items()}
        outputs: dict[str, str] = {}
        printed = ""

        def value(expression: re.Match[str]) -> str:
            scope, _, name = expression[1].partition(".")
            known = {"inputs": given, "runner": {"temp": str(self.folder)}}
            return known[scope][name] if scope in known else outputs[name.rpartition(".")[2]]

        for step in self.action["runs"]["steps"]:
            if "run" not in step:
                continue
            if "comment" in step["run"] and (given["comment"] != "true" or outputs.get("reports") != "true"):
                continue
            said = self.folder / "output"
            said.write_text("")
            summary = str(self.folder / "summary")
            env = {k: re.sub(r"\$\{\{ (\S+) \}\}", value, v) for k, v in step["env"].items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.repo.path,
                env={**self.env, **env, "GITHUB_OUTPUT": str(said), "GITHUB_STEP_SUMMARY": summary},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )  # fmt: skip
            printed += done.stdout
            outputs |= dict(line.split("=", 1) for line in said.read_text().splitlines())
            if done.returncode:
                return done.returncode, printed
        return 0, printed


@pytest.fixture
def job(repo: Repository, host: Hosted, tmp_path: Path) -> Job:
    return Job(repo, host, tmp_path / "runner")


def test_one_comment_from_the_first_strand_to_the_fix(repo: Repository, host: Hosted, job: Job) -> None:
    # Silent while nothing changed.
    assert job.run()[0] == 0
    assert host.comments == []

    host.comments += [{"id": n, "body": "hello", "user": {"type": "User"}} for n in range(1, 101)]
    host.comments.append({"id": 101, "body": MARKER + "\nsomebody's copy", "user": {"type": "User"}})
    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    code, printed = job.run()
    assert code == 3
    assert "past the gate" in printed
    assert len(host.comments) == 102
    assert "approved: cleared" in host.comments[-1]["body"]
    assert "https://github.example/acme/loans/actions/runs/11" in host.comments[-1]["body"]
    assert re.search(r"^::(error|warning) file=workflows/loan.yaml,line=", printed, re.MULTILINE), printed
    assert "stranded" in (job.folder / "summary").read_text(encoding="utf-8")

    # The same again writes nothing.
    host.calls.clear()
    assert job.run()[0] == 3
    assert {method for method, _ in host.calls} == {"GET"}

    repo.write("workflows/loan.yaml", FIXED)
    repo.commit()
    assert job.run()[0] == 0
    assert len(host.comments) == 102
    assert "0 " not in host.comments[-1]["body"].splitlines()[0]

    # Taken back: the comment stays, and says so.
    repo.write("workflows/loan.yaml", V1)
    repo.commit()
    assert job.run()[0] == 0
    assert len(host.comments) == 102
    assert "no longer touches" in host.comments[-1]["body"]
    assert host.comments[100]["body"].endswith("somebody's copy")


def test_a_forks_token_may_not_write(repo: Repository, host: Hosted, job: Job) -> None:
    host.read_only = True
    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    code, printed = job.run()
    assert code == 3
    assert "the token may not" in printed
    assert host.comments == []


def test_inputs_of_the_action(repo: Repository, host: Hosted, job: Job) -> None:
    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    assert job.run(max_strand="1")[0] == 0
    assert job.run(comment="false")[0] == 3
    code, _ = job.run(base='main"; touch pwned; "')
    assert code == 1
    assert not (repo.path / "pwned").exists()


def test_what_lies_in_the_checkout_is_not_imported(repo: Repository, host: Hosted, job: Job) -> None:
    for name in ("json.py", "statekeep_cli.py", "secrets.py", "venv.py"):
        repo.write(name, "raise SystemExit('imported from the checkout')\n")
    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    code, printed = job.run()
    assert code == 3
    assert "imported from the checkout" not in printed
    assert len(host.comments) == 1


def test_output_that_looks_like_a_workflow_command(repo: Repository, host: Hosted, job: Job) -> None:
    repo.write("workflows/\n::set-output name=code::0\n.yaml", V2)
    repo.commit()
    code, printed = job.run()
    stopped = re.search(r"^::stop-commands::(\w+)$", printed, re.MULTILINE)
    assert stopped is not None
    _, _, after = printed.partition(f"\n::{stopped[1]}::\n")
    assert not re.search(r"^::set-output", after, re.MULTILINE)
    assert code in (0, 3)


def test_the_action_is_well_formed() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    action = yaml.safe_load(text)
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        if "run" in step:
            assert step["shell"] == "bash"
            # Expressions are put into the text of a script before it runs: a branch's name could be code.
            assert "${{" not in step["run"]
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(action["inputs"])
    assert "pull_request_target" in text  # where it says never


def test_the_gitlab_job(repo: Repository, host: Hosted, job: Job) -> None:
    template = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))["statekeep"]
    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    repo.git("update-ref", "refs/remotes/origin/main", "main")
    env = {
        **job.env,
        "GITLAB_CI": "true",
        "CI_API_V4_URL": host.url,
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_JOB_URL": "https://gitlab.example/job/1",
        "STATEKEEP_GITLAB_TOKEN": "t0ken",
    }
    (job.folder / "bin" / "python").symlink_to(sys.executable)
    script = "\n".join(template["script"])
    for expected in (3, 3):
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=repo.path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr
    assert len(host.comments) == 1
    quality = json.loads((repo.path / "statekeep-reports/code-quality.json").read_text(encoding="utf-8"))
    assert quality[0]["location"]["path"] == "workflows/loan.yaml"
