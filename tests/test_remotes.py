"""Results transferred through a remote: an S3 bucket on a real server, and a folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from projects import Project, assert_ran

pytestmark = pytest.mark.engines


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A bucket on an S3 server in a separate process, and the server's address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "user")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            next(line for line in process.stderr if address in line)
            boto3.client("s3", endpoint_url=address).create_bucket(Bucket="ganloom")
            yield "s3://ganloom/project", address
        finally:
            process.kill()


def test_clone_pulls_results_from_s3(
    project: Project, bucket: tuple[str, str], tmp_path: Path
) -> None:
    url, address = bucket
    project.environment.update({k: v for k, v in os.environ.items() if k.startswith("AWS_")})
    project.run("dvc", "remote", "add", "--default", "store", url)
    project.run("dvc", "remote", "modify", "store", "endpointurl", address)
    project.run("dvc", "push")
    project.commit("Where results are")

    clone = tmp_path / "clone"
    project.run("git", "clone", "-q", ".", str(clone))
    shutil.rmtree(project.path / ".dvc" / "cache")
    fresh = Project(clone)
    fresh.environment |= {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    shutil.copytree(project.path / "pictures", clone / "pictures", dirs_exist_ok=True)
    fresh.run("dvc", "pull")
    assert "Nothing to be done" in fresh.snakemake()
    fresh.edit("report.title", "Another title")
    fresh.snakemake()
    assert_ran(fresh, {"check", "report"})
    assert fresh.hashes() == project.hashes()


def test_one_model_is_transferred_through_a_folder_remote(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.run("dvc", "push", "train@dcgan")
    project.commit("Where results are")
    clone = tmp_path / "clone"
    project.run("git", "clone", "-q", ".", str(clone))
    Project(clone).run("dvc", "pull", "train@dcgan")
    model = Path("results/models/dcgan/generator.safetensors")
    assert (clone / model).read_bytes() == (project.path / model).read_bytes()
    assert not (clone / "data/slices").exists()
