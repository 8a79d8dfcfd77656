"""What every stage script does first: find the source beside it, and be a good child process.

The source is looked up relative to this file. An installed or exported absolute path would make an
experiment that runs in a copy of the project use the original's code.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import fcntl
import os
import re
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.dont_write_bytecode = True

# libgomp spins while it waits; two trainings on the same cores then starve each other. It reads
# these once, when torch is imported.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"

if TYPE_CHECKING:
    from ganloom.params import Params

PR_SET_PDEATHSIG = 1
ROOM = (
    "make room (dvc gc --all-branches --all-tags --all-experiments removes what no branch, tag or "
    "experiment uses)"
)
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EROFS: "make it writable",
    errno.EACCES: "make it yours, readable and writable",
}
MAIN = "GANLOOM_STAGE_PID"  # of the process that a stage began with
CHECKED = "GANLOOM_CHECKED"  # set where Snakemake has looked at all stages before the first one


def begin() -> Params:
    """Read the parameters and fix the number of threads.

    Exits with the schema's message when ``params.yaml`` does not fit it. An error that only the
    user can mend, such as a full disk, will end the stage in one sentence.
    """
    sys.excepthook = _say
    if problem := misplaced():
        sys.exit(f"error: {problem}")
    try:
        from ganloom.params import ParamsError, load
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is not installed for {sys.executable}; "
            "use the project's environment: source .venv/bin/activate"
        )

    die_with_parent()
    main = os.environ.setdefault(MAIN, str(os.getpid()))  # its workers come here, too
    is_worker = main != str(os.getpid())
    if is_worker and main != str(os.getppid()):
        # It died before the kernel was asked: nobody would ever give this worker work, or end it.
        signal.raise_signal(signal.SIGTERM)
    try:
        params = load()
    except ParamsError as error:
        sys.exit(f"error: {error}")
    stage = os.environ.get("DVC_STAGE")
    if stage and not is_worker:
        if CHECKED not in os.environ:
            _require_recordable(stage)
        atexit.register(_require_unchanged, stage, inputs(stage))
    # BLAS libraries and torch give other bits with another number of threads, and Snakemake
    # exports OMP_NUM_THREADS where DVC does not.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(params.threads)
    return params


def misplaced() -> str:
    """Why no engine can work in this folder; "" if they can."""
    place = str(Path.cwd())
    if "{" in place or "}" in place:
        return f"{place}: Snakemake and DVC fill in what stands in braces; rename that folder"
    return ""


def _require_recordable(stage: str) -> None:
    """Exit before the work if DVC would refuse to record what comes of it."""
    from dvc.repo import Repo

    from ganloom import git, preflight

    try:
        with Repo() as repo:
            outputs = repo.stage.get_target(stage).outs
            problems = preflight.conflicts(Path()) + preflight.rejections(repo, outputs)
    except git.GitError as error:
        problems = [str(error)]
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What a stage says at last of an error that nothing handled."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nStopped; the same command continues.", file=sys.stderr)
        return
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and re.search(r"requested and \d+ written", str(error)):
        number = errno.ENOSPC  # numpy does not say why an array could not be written whole
    if number in REMEDIES:
        # What fails in writing, rather than opening, does not say what file it was.
        where = getattr(error, "filename", None) or Path.cwd()
        print(
            f"error: {where}: {os.strerror(number)}; {REMEDIES[number]}, then run the same command "
            "again",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)


def inputs(stage: str) -> dict[str, object]:
    """What people may edit of all that a stage depends on, by its name in dvc.yaml.

    Values of params.yaml as they are, source and lists by their content, other files, such as a
    source's pictures, by size and time. Not what other stages make: DVC lets none of them run
    meanwhile.
    """
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    params = yaml.load(Path("params.yaml"))
    name, _, key = stage.partition("@")
    spec = yaml.load(Path("dvc.yaml"))["stages"][name]
    values = params | {"key": key}
    if "foreach" in spec:
        values["item"] = _at(params, spec["foreach"].strip("${}"))[key]
        spec = spec["do"]

    def filled(text: str) -> str:
        return re.sub(r"\$\{(.*?)\}", lambda match: str(_at(values, match[1])), text)

    edited = [
        path
        for path in map(filled, spec["deps"])
        if path == "data/curation" or not path.startswith(("data/", "results/"))
    ]
    optional = re.findall(r"\$\{(\w+)\}", spec["cmd"])  # sections that are part of the command
    listed = map(filled, [*spec.get("params", []), *(k for k in optional if k in params)])
    return {path: _state(Path(path)) for path in edited} | {k: _at(params, k) for k in listed}


def _at(data: Any, key: str) -> Any:
    """The value under a key with dots; None where there is none."""
    for part in key.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _state(path: Path) -> object:
    if path.is_dir():
        inside = (p for p in sorted(path.rglob("*")) if "__pycache__" not in p.parts)
        return [(str(p), _state(p)) for p in inside if p.is_file()]
    if not path.is_file():
        return None
    if path.suffix in (".py", ".yaml", ".csv", ".md"):
        return path.read_bytes()
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _require_unchanged(stage: str, before: dict[str, object]) -> None:
    """Fail at the end of a stage if what it depends on was edited while it ran.

    DVC looks at dependencies when the stage is over: it would take what came of the old ones for
    what comes of the new ones, for ever.
    """
    _wait_for_dvc()
    try:
        after = inputs(stage)
    except Exception:  # in the middle of an edit, it may be anything
        after = {}
    changed = [name for name in before if after.get(name) != before[name]]
    if changed:
        sys.stdout.flush()
        print(
            f"error: {', '.join(changed)}: edited while {stage} ran; what came of it does not "
            "count: run the same command again",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # all that is left to tell DVC, at exit


def _wait_for_dvc() -> None:
    """Wait until no command of DVC holds its lock, as `dvc push` does for minutes.

    The DVC that runs this stage needs the lock before it looks at anything, and would soon give up.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at exit, a KeyboardInterrupt would stop nothing
    with contextlib.suppress(OSError), Path(".dvc/tmp/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies.

    After SIGKILL of an engine alone, its stage would live on and write beside the next one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
