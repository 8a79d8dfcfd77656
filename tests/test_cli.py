"""The command line: what goes wrong is said in a sentence that names it, and costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ganloom.cli import main
from ganloom.params_docs import comment

ROOT = Path(__file__).parents[1]
TEXT = "seed: 1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "a.yaml: No such file or directory"),
        (b"seed: [", "a.yaml: not YAML: while parsing a flow node"),
        (b"seed: 2024-99-99", "a.yaml: not YAML: month must be in 1..12"),
        (b"[" * 5000, "a.yaml: not YAML: maximum recursion depth"),
        (b"seed: \xff", "a.yaml: not YAML: 'utf-8' codec can't decode"),
    ],
)
def test_a_file_that_cannot_be_commented_is_named(content: bytes | None, words: str) -> None:
    if content is not None:
        Path("a.yaml").write_bytes(content)
    with pytest.raises(SystemExit, match=re.escape(words)):
        main(["comment", "a.yaml"])
    assert content is None or Path("a.yaml").read_bytes() == content


def test_a_commented_file_keeps_its_mode_and_its_links() -> None:
    Path("a.yaml").write_text(TEXT)
    Path("a.yaml").chmod(0o640)
    Path("link.yaml").symlink_to("a.yaml")
    main(["comment", "link.yaml"])
    assert Path("a.yaml").read_text() == comment(TEXT) != TEXT
    assert Path("a.yaml").stat().st_mode & 0o777 == 0o640
    assert Path("link.yaml").is_symlink()


def test_docs_writes_the_generated_pages_of_a_clone() -> None:
    with pytest.raises(SystemExit, match=r"docs/metrics\.md does not exist: run this in a clone"):
        main(["docs"])
    pages = {name: (ROOT / name).read_text() for name in ("docs/metrics.md", "docs/params.md")}
    stale = re.sub(r"\|.*`kid_lite2`.*\n", "", pages["docs/metrics.md"])
    assert stale != pages["docs/metrics.md"]
    Path("docs").mkdir()
    Path("docs/metrics.md").write_text(stale)
    main(["docs"])
    assert {name: Path(name).read_text() for name in pages} == pages


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of a process")
def test_a_disk_that_is_full_leaves_the_file_as_it_was(folder: Path) -> None:
    Path("a.yaml").write_text(TEXT)
    code = (
        "import resource; from ganloom.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "main(['comment', 'a.yaml'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "a.yaml cannot be written: File too large\n"
    assert done.returncode == 1
    assert Path("a.yaml").read_text() == TEXT
    assert [path.name for path in folder.iterdir()] == ["a.yaml"]
