"""Definitions from git: `REV:path` and `--git-base`, over real repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.repositories import FIXED, V1, V2, Repository, repository


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return repository(tmp_path / "repo")


def test_a_source_at_a_revision(repo: Repository) -> None:
    repo.write("workflows/loan.yaml", V2)
    done = repo.run("preview", "main:workflows/loan.yaml", "workflows/loan.yaml", "--actors", "actors.jsonl")
    assert done.returncode == 3
    assert "1 actor stranded in approved" in done.stdout
    both = repo.run("diff", "HEAD:workflows/loan.yaml", "workflows/loan.yaml")
    assert both.returncode == 0
    assert "loan@1" in both.stdout


def test_findings_are_located_at_the_revision(repo: Repository) -> None:
    repo.write("workflows/loan.yaml", V1.replace("SUBMIT: review", "SUBMIT: revew"))
    repo.commit()
    done = repo.run("check", "HEAD:workflows/loan.yaml")
    assert done.returncode == 3
    assert "HEAD:workflows/loan.yaml:5:30" in done.stdout


def test_paths_count_from_the_top_or_from_here(repo: Repository) -> None:
    assert repo.run("check", "main:workflows/loan.yaml", cwd="workflows").returncode == 0
    assert repo.run("check", "main:./loan.yaml", cwd="workflows").returncode == 0
    done = repo.run("check", "main:loan.yaml", cwd="workflows")
    assert done.returncode == 1
    assert "write main:./loan.yaml" in " ".join(done.stdout.split())


def test_a_file_with_a_colon_in_its_name_wins(repo: Repository) -> None:
    repo.write("main:workflows/loan.yaml", V1.replace("id: loan", "id: other"))
    done = repo.run("check", "main:workflows/loan.yaml", "--format", "json")
    assert '"id": "other"' in done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope:workflows/loan.yaml", "there is no revision nope in this repository"),
        ("--upload-pack=x:workflows/loan.yaml", "No such option"),
        ("main:workflows/lone.yaml", "there is no workflows/lone.yaml at revision main"),
        ("main:workflows", "is a folder there, and no file"),
    ],
)
def test_what_is_not_there(repo: Repository, name: str, said: str) -> None:
    done = repo.run("check", name)
    assert done.returncode in (1, 2)
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_is_no_revision(repo: Repository) -> None:
    done = repo.run("check", "--", "--output=x:workflows/loan.yaml")
    assert done.returncode == 1
    assert "there is no revision --output=x" in done.stdout
    assert not (repo.path / "x").exists()


def test_outside_a_repository(tmp_path: Path) -> None:
    empty = Repository(tmp_path)
    done = empty.run("check", "main:loan.yaml", env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    assert done.returncode == 1
    assert "this is no git repository" in done.stdout
    done = empty.run("check", "main:loan.yaml", env={"PATH": os.devnull})
    assert "there is no git here" in done.stdout


def test_a_large_file_is_not_read_whole(repo: Repository) -> None:
    repo.write("large.yaml", "# " + "x" * (9 << 20))
    repo.commit()
    done = repo.run("check", "HEAD:large.yaml")
    assert "is larger than 8 MiB" in done.stdout


# --- --git-base ----------------------------------------------------------------------------------------


def test_git_base_is_the_merge_base(repo: Repository) -> None:
    repo.write("workflows/loan.yaml", V2)
    repo.commit()
    # Meanwhile main went on; what it became is not what this branch replaces.
    repo.git("checkout", "-q", "main")
    repo.write("workflows/loan.yaml", V1.replace("version: 1", "version: 7"))
    repo.commit()
    repo.git("checkout", "-q", "change")
    done = repo.run("preview", "workflows/loan.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert done.returncode == 3
    assert "loan@1 -> loan@2" in done.stdout
    for command in (
        ["diff"],
        ["suggest", "--actors", "actors.jsonl"],
        ["explain", "--actors", "actors.jsonl", "--id", "loan-2"],
    ):
        done = repo.run(
            *command[:1],
            "loan.yaml",
            *("../" + a if a.endswith("l") else a for a in command[1:]),
            "--git-base",
            "main",
            cwd="workflows",
        )
        assert done.returncode == 0, done.stderr
        assert "loan@2" in done.stdout


def test_a_new_definition_has_nothing_to_migrate(repo: Repository) -> None:
    repo.write("workflows/order.yaml", V1.replace("id: loan", "id: order"))
    done = repo.run("preview", "workflows/order.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert done.returncode == 0
    assert "workflows/order.yaml: new since main" in done.stdout
    assert "nothing to migrate" in done.stdout


def test_a_renamed_definition_is_followed(repo: Repository) -> None:
    repo.git("mv", "workflows/loan.yaml", "workflows/credit.yaml")
    repo.write("workflows/credit.yaml", V2)
    repo.git("add", "-A")
    done = repo.run("preview", "workflows/credit.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert "loan@1 -> loan@2" in done.stdout


def test_a_machine_that_changed_under_its_version(repo: Repository) -> None:
    repo.write("workflows/loan.yaml", V2.replace("version: 2", "version: 1"))
    done = repo.run("preview", "workflows/loan.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert done.returncode == 3
    assert "workflows/loan.yaml:2:10: the machine changed since" in done.stderr
    assert "still loan@1" in done.stderr
    assert "write version: 2" in done.stderr


def test_what_did_not_change(repo: Repository) -> None:
    done = repo.run("preview", "workflows/loan.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert (done.returncode, "is unchanged since main" in done.stdout) == (0, True)
    repo.write("workflows/loan.yaml", V1 + "description: the same\n")
    done = repo.run("preview", "workflows/loan.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert (done.returncode, "routing metadata only" in done.stdout) == (0, True)


def test_git_base_takes_the_target_alone(repo: Repository) -> None:
    done = repo.run("preview", "a.yaml", "b.yaml", "--git-base", "main", "--actors", "actors.jsonl")
    assert done.returncode == 2
    assert "give the target definition alone" in done.stderr


def test_a_shallow_clone_says_so(repo: Repository, tmp_path: Path) -> None:
    repo.write("workflows/loan.yaml", FIXED)
    repo.commit()
    Repository(tmp_path).git(
        "clone", "-q", "--depth", "1", "--branch", "change", f"file://{repo.path}", "shallow"
    )
    done = Repository(tmp_path / "shallow").run(
        "preview", "workflows/loan.yaml", "--git-base", "origin/main", "--actors", "actors.jsonl"
    )
    assert done.returncode == 1
    assert "fetch-depth: 0" in done.stderr
