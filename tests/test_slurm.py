"""Stages on the nodes of a cluster: a real Slurm with two nodes on this machine.

The daemons of the nodes have separate process ids, like two machines: a process that holds a lock
on one node seems dead to DVC on the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from projects import Project, assert_ran
from safetensors.numpy import load_file

pytestmark = pytest.mark.slurm

PROFILE = [
    *["snakemake", "--profile", "profiles/slurm"],
    *["--slurm-status-command", "squeue"],  # this Slurm keeps no accounts
    *["--slurm-init-seconds-before-status-checks", "2"],
]
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=1
GresTypes=gpu
NodeName=n1 NodeAddr=127.0.0.1 Port={ports[1]} RealMemory=64000 Gres=gpu:1
NodeName=n2 NodeAddr=127.0.0.1 Port={ports[2]} RealMemory=64000 Gres=gpu:1
PartitionName=main Nodes=n1,n2 Default=YES
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of a running Slurm: two nodes, each with a core and a simulated GPU."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    if not all(map(shutil.which, ["slurmctld", "slurmd", "sbatch", "unshare"])):
        pytest.skip("needs Slurm (apt-get install slurm-wlm)")
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("needs the right to make process namespaces")
    folder = tmp_path_factory.mktemp("slurm")
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, ports=free_ports(3)))
    (folder / "gres.conf").write_text("NodeName=n[1-2] Name=gpu File=/dev/null\n")
    # The plugin takes Slurm's variables from a job before it starts the job's step.
    srun = folder / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    for node in ("n1", "n2"):
        (folder / node).mkdir()

    with contextlib.ExitStack() as daemons:
        for command in (
            ["slurmctld", "-D"],
            [*alone, "slurmd", "-D", "-N", "n1"],
            [*alone, "slurmd", "-D", "-N", "n2"],
        ):
            daemon = subprocess.Popen(
                [*command, "-f", configuration],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            daemons.callback(daemon.wait)
            daemons.callback(daemon.kill)
        sinfo = ["sinfo", "--noheader", "--format=%D", "--states=idle"]
        environment = {**os.environ, "SLURM_CONF": str(configuration)}

        def are_ready() -> bool:
            answer = subprocess.run(sinfo, check=False, env=environment, capture_output=True)
            return answer.stdout == b"2\n"

        until(are_ready, "both nodes are ready")
        yield folder


@pytest.fixture
def project(project: Project, slurm: Path) -> Project:
    project.environment["SLURM_CONF"] = str(slurm / "slurm.conf")
    project.environment["PATH"] = f"{slurm / 'bin'}{os.pathsep}{project.environment['PATH']}"
    return project


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in found]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def jobs(project: Project, *fields: str) -> dict[str, list[str]]:
    """State of each waiting or running job in Slurm, by rule."""
    columns = ",".join(f"{field}:40" for field in ("comment", *fields))
    lines = project.run("squeue", "--noheader", f"--Format={columns}").splitlines()
    return {rule: values for rule, *values in map(str.split, lines)}


@contextlib.contextmanager
def head(project: Project, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake's head process, killed on exit; its output goes to a file next to the project."""
    with Path(f"{project.path}.log").open("ab") as log:
        process = subprocess.Popen(
            [*PROFILE, *arguments],
            cwd=project.path,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(project: Project) -> str:
    return Path(f"{project.path}.log").read_text()


def process_of(project: Project, *command: str) -> psutil.Process:
    """Process of a stage's script on either node."""
    (found,) = (
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(project.path) and process.info["cmdline"][1:] == [*command]
    )
    return found


def test_slurm_trainings_survive_kills_and_time_limits(finished: Project, project: Project) -> None:
    trainings = ["train@dcgan", "train@other"]
    project.edit("train.ticks", 8)
    project.edit("models.other", project.params()["models"]["dcgan"])
    with (project.path / "workflow/scripts/sample.py").open("a") as file:
        file.write('sys.exit("error: no pictures today")\n')
    targets = [f"results/models/{name}/generator.safetensors" for name in ("dcgan", "other")]
    for name in trainings:
        project.hold(name)
    with head(project, *targets, "--set-resources", "train:gpu=1") as first:
        until(lambda: all(map(project.waits, trainings)), "both train")
        found = sorted(jobs(project, "nodelist", "tres-per-job").values())
        assert found == [["n1", "gres:gpu:1"], ["n2", "gres:gpu:1"]]
        refused = project.run("snakemake", "--cores", "2", fails=True)
        assert f"train@dcgan is running (pid {first.pid})" in refused

    # The head is dead. One training ends without it; the other's job is found by the next head.
    project.release("train@other")
    until(lambda: list(jobs(project)) == ["rule_train_dcgan"], "the one training ends")
    with head(project, *targets, "results/samples/other") as second:
        until(lambda: "train@dcgan is at work" in said(project), "the other's job is found")

        # Its time is over; the process of its second job dies. Each goes on where the last one was.
        (job,) = jobs(project, "jobid")["rule_train_dcgan"]
        project.run("scontrol", "update", f"job={job}", "EndTime=now")
        until(lambda: [job] not in jobs(project, "jobid").values(), "its time is over")
        project.hold("train@dcgan")
        until(lambda: project.waits("train@dcgan"), "it trains again")
        process_of(project, "workflow/scripts/train.py", "dcgan").kill()
        project.release("train@dcgan")
        assert second.wait(300) == 1

    assert_ran(project, ["check", *trainings, "train@dcgan", "train@dcgan", "sample@other"])
    assert "TIMEOUT" in said(project)
    assert "no pictures today" in said(project).split("sample@other failed; the end of")[-1]
    resumed = json.loads((project.path / "results/models/dcgan/run.json").read_text())["resumed"]
    assert resumed == 2
    disturbed, undisturbed = (load_file(project.path / target) for target in targets)
    np.testing.assert_equal(disturbed, undisturbed)
    for command in ("status", "repro"):
        assert "up to date" in project.run("dvc", command, *trainings)
    assert_ran(project, [])

    # What DVC remembers is no job.
    project.run("git", "checkout", "params.yaml", "workflow")
    with head(project, "results/samples/dcgan") as third:
        assert third.wait(300) == 0, said(project)
    assert_ran(project, [])
    assert "up to date" in project.run("dvc", "status", "sample@dcgan")
    assert weights(project) == weights(finished)


def weights(project: Project) -> str:
    return project.hashes()["results/models/dcgan/generator.safetensors"]
