"""Checks before a stage starts of what DVC or Git would refuse only after it has ended.

DVC records a result after the stage's command has ended. If it cannot, hours of training are lost,
and the same command starts them again.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ganloom import git

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

HANDWRITTEN = ("params.yaml", "dvc.yaml", ".dvc/config", "data/curation/*.csv")
LARGE_DISK = (
    "put a folder in its place and DVC's cache on the large disk: "
    "dvc cache dir --local FOLDER && dvc config --local cache.type symlink "
    "(docs/remotes.md, Large disks)"
)
CHECKED = "GANLOOM_CHECKED"  # environment variable: set if an engine has checked all stages already


def misplaced() -> str:
    """Explain why no engine can work in the current folder; "" if they can."""
    place = str(Path.cwd())
    if "{" in place or "}" in place:
        return f"{place}: Snakemake and DVC fill in what stands in braces; rename that folder"
    return ""


def unrecordable() -> list[str]:
    """Return why DVC could not record the result of some stage; [] if ``CHECKED`` is set."""
    if CHECKED in os.environ:
        return []
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            outputs = [out for stage in repo.index.stages if stage.cmd for out in stage.outs]
            return conflicts(Path()) + rejections(repo, outputs)
    except git.GitError as error:
        return [str(error)]


def conflicts(project: Path) -> list[str]:
    """Return how to resolve each merge conflict in the files that the engines read."""
    files = [
        path.relative_to(project)
        for pattern in (*HANDWRITTEN, *git.GENERATED)
        for path in sorted(project.glob(pattern))
    ]
    return [problem for file in files if (problem := git.conflict(project, file))]


def rejections(repo: Repo, outputs: Iterable[Output]) -> list[str]:
    """Return why DVC could not record what stages make.

    Args:
        repo: The project as DVC sees it.
        outputs: Outputs of the stages.

    Raises:
        GitError: Git refuses to work in the project.
    """
    folder = Path(git.ask(Path(repo.root_dir), "rev-parse", "--absolute-git-dir"))
    cached = [output for output in outputs if output.use_cache]
    problems = [
        *_not_writable([folder, Path(repo.root_dir, "dvc.lock")]),
        *_cache(repo),
        *(problem for output in cached for problem in _output(repo, output)),
        *_links(repo, cached),
    ]
    return list(dict.fromkeys(problems))


def _not_writable(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        place = path if path.exists() else path.parent
        if not os.access(place, os.W_OK):
            yield f"{place}: not writable for you; make it yours"


def _cache(repo: Repo) -> Iterator[str]:
    """Check DVC's cache folders; DVC creates missing ones."""
    for top in (Path(repo.cache.local.path), Path(repo.stage_cache.cache_dir)):
        place = next(path for path in (top, *top.parents) if path.is_symlink() or path.exists())
        folders = [place, *(sorted(top.glob("??")) if place == top else ())]
        unfit = (f for f in folders if not (f.is_dir() and os.access(f, os.W_OK | os.X_OK)))
        for folder in itertools.islice(unfit, 1):
            yield (
                f"{folder}: DVC's cache cannot be written there; mount its disk, make the folder "
                "yours, or choose another one: dvc cache dir --local FOLDER"
            )


def _output(repo: Repo, output: Output) -> Iterator[str]:
    path = Path(output.fs_path)
    name = path.relative_to(repo.root_dir)
    ignore = path.with_name(".gitignore")  # to which DVC adds what Git does not ignore yet
    if not ignore.resolve().is_relative_to(Path(repo.scm.root_dir).resolve()):
        link = next(place for place in (*reversed(path.parents), ignore) if place.is_symlink())
        yield f"{link}: a link out of the Git repository, where DVC records nothing; {LARGE_DISK}"
    elif path.is_symlink() and path.is_dir():
        yield f"{name}: a link to a folder, which DVC would replace by a folder; {LARGE_DISK}"
    elif path.is_mount():
        yield f"{name}: a disk is mounted there, and DVC has to delete the folder; {LARGE_DISK}"
    elif repo.scm.is_tracked(output.fs_path):
        yield (
            f"{name}: Git tracks it, so DVC cannot; run: "
            f"git rm -r --cached {name} && git commit -m 'Leave {name} to DVC'"
        )
    elif ignore.exists() and not repo.scm.is_ignored(output.fs_path):
        yield from _not_writable([ignore])


def _links(repo: Repo, outputs: Iterable[Output]) -> Iterator[str]:
    """Check whether outputs can be linked to the cache; copies and symlinks are always possible."""
    from dvc.fs import localfs
    from dvc_objects.fs.generic import test_links

    cache = repo.cache.local
    if {"copy", "symlink"} & set(cache.cache_types):
        return
    for folder in sorted({Path(output.fs_path).parent for output in outputs}):
        target = str(folder / "link")
        if not test_links(cache.cache_types, localfs, cache.path, localfs, target):
            yield (
                f"{folder.relative_to(repo.root_dir)}: no {' or '.join(cache.cache_types)} to "
                f"DVC's cache in {cache.path} can be made there; "
                "run: dvc config --local cache.type symlink"
            )
