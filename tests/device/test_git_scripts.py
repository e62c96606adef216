"""Scripts from git: the branch and the commit that the block names are the ones that run."""

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.device.client import Client, Run
from tests.device.stack import Stack


class Repository:
    """A repository that may be used; its script returns what it was committed with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"file://{folder}"
        (folder / "scripts").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *command: str) -> str:
        author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *author, *command],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        return done.stdout.strip()

    def commit(self, answer: str) -> str:
        text = f"def main():\n    return {answer!r}\n"
        (self.folder / "scripts" / "x.py").write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", answer)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(stack: Stack) -> Repository:
    return Repository(stack.repositories / uuid.uuid4().hex)


def run(stack: Stack, client: Client, repository: Repository, **more) -> Run:
    script = {"kind": "git", "repo": repository.uri, "path": "git://scripts/x.py"} | more
    return client.run(stack.block({"observe": script}))


def test_the_commit_that_the_block_names_is_run(
    stack: Stack, client: Client, repository: Repository
):
    first = repository.commit("first")
    second = repository.commit("second")

    by_commit = run(stack, client, repository, branch="main", commit=first)
    by_branch = run(stack, client, repository, branch="main", commit=None)
    by_default = run(stack, client, repository)

    results = [each.activity["result"] for each in (by_commit, by_branch, by_default)]
    commits = [each.activity["script"]["commit"] for each in (by_commit, by_branch, by_default)]
    assert results == ["first", "second", "second"]
    assert commits == [first, second, second]


def test_a_branch_is_looked_up_anew_each_time(stack: Stack, client: Client, repository: Repository):
    repository.commit("old")
    repository.git("checkout", "-q", "-b", "work")
    repository.commit("before")
    before = run(stack, client, repository, branch="work")
    repository.commit("after")

    after = run(stack, client, repository, branch="work")

    assert before.activity["result"] == "before"
    assert after.activity["result"] == "after"


def test_a_script_that_is_not_in_the_repository_is_not_found(
    stack: Stack, client: Client, repository: Repository
):
    repository.commit("x")

    missing = run(stack, client, repository, path="git://scripts/missing.py")

    assert (missing.states[-1], missing.activity["reason"]) == ("FAILED", "SCRIPT_NOT_FOUND")


def test_a_repository_that_is_not_there_is_an_environment_error(stack: Stack, client: Client):
    script = {"kind": "git", "repo": f"file://{stack.repositories}/missing", "path": "git://x.py"}

    missing = client.run(stack.block({"observe": script}))

    assert (missing.states[-1], missing.activity["reason"]) == ("FAILED", "ENVIRONMENT_ERROR")
    assert missing.activity["error"]
