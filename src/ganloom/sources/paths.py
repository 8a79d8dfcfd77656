"""Checks of the paths in params.yaml, made before an engine uses them.

DVC takes paths literally, does not notice edits in ignored folders, blocks on a pipe, and cannot
hash a folder that contains a dangling link.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from ganloom import params
from ganloom.sources import NAMED_AS_PICTURE
from ganloom.sources.tree import DANGLING, refusal, shown

if TYPE_CHECKING:
    from dvc.ignore import DvcIgnoreFilter

Wanted = Literal["file", "folder", "either"]


def problems(known: params.Params, project: Path = Path()) -> list[str]:
    """List the problems with the paths of the sources and of ``fetch.shards``.

    Args:
        known: Parameters.
        project: Folder that relative paths start from.

    Returns:
        A message for each unusable path, with its key, its value and a remedy.
    """
    wanted: list[tuple[str, str, Wanted]] = [
        (f"sources.{name}.path", spec.path, _wanted(spec))
        for name, spec in known.sources.items()
        if spec.path != f"src/ganloom/sources/{spec.kind}.py"  # its own module
    ]
    found = []
    ignore = _ignore(project)
    for key, path, kind in wanted:
        problem = missing(path, kind, project) or _unwatched(path, project, ignore)
        found += [f"{key}: {path!r}: {problem}"] if problem else []
    shards = known.fetch.shards
    if shards is not None and (problem := missing(shards, "folder", project)):
        found.append(f"fetch.shards: {shards!r}: {problem}")
    return found


def dangling(link: Path) -> str:
    """Describe a dangling link and its remedy."""
    target = link.resolve()
    text = f"{link}: a link to {target}, which is not there"
    cache = _cache(link.parent)
    if cache and target.is_relative_to(cache):
        return f"{text}; mount the disk of DVC's cache, or get it from a remote: dvc pull"
    return f"{text}; bring it back, or delete the link"


def _wanted(spec: params.Source) -> Wanted:
    if isinstance(spec, params.GoogleSource | params.BingSource):
        return "either"
    return "file" if isinstance(spec, params.UrlsSource | params.ArchiveSource) else "folder"


def _root(place: Path) -> str | None:
    """Find the DVC project that contains a path; None if there is none."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo.find_root(str(place))
    except NotDvcRepoError:
        return None


def _cache(place: Path) -> Path | None:
    """Find the cache folder of the DVC project that contains a path."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    root = _root(place)
    try:
        with Repo(root) if root else contextlib.nullcontext() as repo:
            return Path(repo.cache.local.path).parents[1].resolve() if repo else None
    except (DvcException, SCMError):  # for example, the repository belongs to another user
        return None


def _ignore(project: Path) -> DvcIgnoreFilter | None:
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    root = _root(project)
    return DvcIgnoreFilter(localfs, root) if root else None


# --- missing paths -------------------------------------------------------------------------------


def missing(text: str, wanted: Wanted, project: Path = Path()) -> str:
    """Explain why a path cannot be read as a file or folder; empty if it can."""
    path = project / text
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _absent(text, path, project)
    except (OSError, ValueError) as error:  # ValueError: not a valid file name
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "a pipe, socket or device, which cannot be watched for changes"
    found: Wanted = "folder" if stat.S_ISDIR(mode) else "file"
    if wanted not in (found, "either"):
        kinds = {"folder": "the kind `folder` reads", "file": "the kinds `archive` and `urls` read"}
        return f"a {found}, where a {wanted} is wanted; {kinds[found]} {found}s"
    may_read = os.access(path, os.R_OK | (os.X_OK if found == "folder" else 0))
    return "" if may_read else "may not be read; change its permissions"


def _absent(text: str, path: Path, project: Path) -> str:
    meant = _meant(text)
    if re.match(r"https?://", text, re.IGNORECASE):
        return "an address; a file there is read by the kind `archive`, with `url`"
    if meant != text:
        return f"is taken literally, and there is no such file or folder; write {meant!r}"
    if path.is_symlink():
        return dangling(path)
    place = project.resolve()
    if not Path(text).is_absolute() and ".dvc/tmp/exps" in place.as_posix():
        is_inside = not os.path.normpath(text).startswith("..")
        remedy = f"run `git add {shlex.quote(text)}` in the project, or " if is_inside else ""
        return (
            "not in this experiment's copy of the project, which holds only what Git or DVC "
            f"tracks; {remedy}write an absolute path"
        )
    if path.with_name(f"{path.name}.dvc").is_file():
        return "not here, but tracked by DVC; get it: dvc pull"
    seen_from = "" if Path(text).is_absolute() else f", seen from {place}"
    return f"no such file or folder{seen_from}; correct it in params.yaml{_similar(path)}"


def _meant(text: str) -> str:
    """Translate a path from the notation of a shell, a browser or Windows to a literal path."""
    meant = text.strip().strip("'\"")
    if meant.lower().startswith("file:"):
        meant = unquote(urlsplit(meant).path)
    if match := re.match(r"([A-Za-z]):[\\/]", meant):  # mounted by WSL
        meant = f"/mnt/{match[1].lower()}/{meant[3:]}".replace("\\", "/")
    with contextlib.suppress(RuntimeError):  # unknown user, or one without a home
        meant = str(Path(meant).expanduser()) if meant.startswith("~") else meant
    return os.path.expandvars(meant)


def _similar(path: Path) -> str:
    """Suggest a file or folder with a name similar to the first missing part of a path."""
    for missing in [path, *path.parents]:
        try:
            names = [path.name for path in missing.parent.iterdir()]
        except OSError:
            continue
        close = difflib.get_close_matches(missing.name, names, n=1)
        return f"; did you mean {str(missing.with_name(close[0]))!r}?" if close else ""
    return ""


# --- paths that DVC does not watch ---------------------------------------------------------------


def _unwatched(text: str, project: Path, ignore: DvcIgnoreFilter | None) -> str:
    """Explain why DVC cannot watch a path for changes; empty if it can."""
    path = Path(os.path.normpath(Path.cwd() / project / text))
    if ignore and ignore.is_ignored(ignore.fs, str(path)):
        rules = ignore.check_ignore(str(path)).pattern_infos
        reason = (rules and rules[-1].file_info) or "as all of .dvc, .git and .hg"
        return f"DVC ignores it ({reason}) and would never notice a change; move it elsewhere"
    return _unwatched_inside(path, ignore) if path.is_dir() else ""


def _unwatched_inside(root: Path, ignore: DvcIgnoreFilter | None) -> str:
    walk = ignore.walk(ignore.fs, str(root)) if ignore else os.walk(root)
    watched = {Path(folder, name) for folder, _, names in walk for name in names}
    refused = [(path, reason) for path in sorted(watched) if (reason := refusal(path))]
    if refused:
        path, reason = refused[0]
        remedy = f"{shown(path)} ({reason}); move it to another folder"
        remedy = dangling(path) if reason == DANGLING else remedy
        return f"DVC cannot read {len(refused)} of its files; the first: {remedy}"
    ignored = [
        path
        for folder, _, names in os.walk(root)
        for path in (Path(folder, name) for name in names)
        if path not in watched
        and NAMED_AS_PICTURE.search(path.name)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if ignored:
        return (
            f"DVC ignores {len(ignored)} pictures in it, the first: {ignored[0]}, and would never "
            "notice a change; move them to another folder, or change .dvcignore"
        )
    return ""
