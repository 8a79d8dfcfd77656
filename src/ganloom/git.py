"""Queries to Git about a project."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

CONFLICT = re.compile(r"^<{7} .*^={7}\r?$.*^>{7} ", re.MULTILINE | re.DOTALL)
APPLIED = "refs/exps/apply/stash"  # changes that the last `dvc exp apply` replaced
# Written by an engine, not by people: any version of it will do, and what differs is made again.
GENERATED = ("dvc.lock", "*.dvc", "data/candidates/*.csv")


class GitError(Exception):
    """Git refuses a command; the message has Git's own words."""


class NoRepositoryError(GitError):
    """The folder is not in a repository, or Git is not installed.

    Attributes:
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}, which DVC needs to remember results: {remedy}")
        self.remedy = remedy


def ask(project: Path, *arguments: str) -> str:
    """Run a Git command in a project and return its output, without newlines at the end.

    Raises:
        GitError: Git cannot work here. Exit status 1, by which Git answers "no", is not an error.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=project,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        remedy = "install it, https://git-scm.com/downloads"
        raise NoRepositoryError("there is no Git", remedy) from None
    if done.returncode <= 1:
        return done.stdout.rstrip("\n")
    if "not a git repository" in done.stderr:
        remedy = "git init && git add . && git commit -m Start"
        raise NoRepositoryError("this folder is not a Git repository", remedy)
    raise GitError(f"Git refuses this folder: {done.stderr.strip()}")


def commit(project: Path) -> str:
    """Return the commit of a project; "" without Git, a repository or a commit.

    Raises:
        GitError: there is a repository, but Git refuses to read it.
    """
    try:
        return ask(project, "rev-parse", "--verify", "--quiet", "HEAD")
    except NoRepositoryError:
        return ""


def conflict(project: Path, file: Path) -> str:
    """Return how to resolve the merge conflict that a file holds; "" if it holds none.

    Args:
        project: Folder of the repository.
        file: Path relative to the project; it need not exist.
    """
    try:
        text = (project / file).read_bytes().decode(errors="replace")
    except OSError:
        return ""
    if not (marker := CONFLICT.search(text)):
        return ""
    line = text.count("\n", 0, marker.start()) + 1
    problem = f"{file}:{line}: a merge conflict that is not resolved; "
    if not any(file.match(pattern) for pattern in GENERATED):
        return (
            f"{problem}keep the lines you want, delete those that begin with <<<<<<<, ======= and "
            f">>>>>>>, then: git add {file}"
        )
    try:
        unmerged = ask(project, "ls-files", "--unmerged", "--", str(file))
    except GitError:
        unmerged = ""
    if unmerged:
        side = f"take one side of it: git checkout --ours {file} (or --theirs), then git add {file}"
    else:  # it was added or committed as it is
        side = f"take it from a commit before the merge: git checkout COMMIT -- {file}"
    return f"{problem}{side}, and run again: what differs is made again or comes from DVC's cache"


def replaced_by_experiment(project: Path, folder: str) -> list[str]:
    """Return the files in a folder whose uncommitted changes `dvc exp apply` has replaced.

    DVC keeps those changes until the next `dvc exp apply`. Files that are as they were before the
    last one are left out.

    Raises:
        GitError: Git refuses to work here.
    """
    if not ask(project, "rev-parse", "--verify", "--quiet", APPLIED):
        return []

    def differ(*commits: str) -> set[str]:
        names = ask(project, "diff", "--relative", "--name-only", "-z", *commits, "--", folder)
        return set(filter(None, names.split("\0")))

    return sorted(differ(f"{APPLIED}^", APPLIED) & differ(APPLIED))
