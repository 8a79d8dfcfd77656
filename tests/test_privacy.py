"""Published files contain neither a contact nor a home folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ganloom import privacy
from ganloom.privacy import shareable, without_home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/al", "$HOME"),
        ("/home/al/data, /home/al.", "$HOME/data, $HOME."),
        ("file:///home/al/x", "file://$HOME/x"),
        ("/home/alice/x /home/al-2/x /home/al.bak/x", "/home/alice/x /home/al-2/x /home/al.bak/x"),
        ("https://example.org/home/al/x ../home/al", "https://example.org/home/al/x ../home/al"),
        ("/disk/al/data", "$HOME/data"),
    ],
)
def test_home_folder_is_replaced(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "homes", lambda: iter([Path("/home/al"), Path("/disk/al")]))
    assert without_home(text) == expected


def test_linked_home_is_replaced_under_both_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "al").symlink_to(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "al"))
    assert without_home(f"{tmp_path}/al/x {tmp_path}/x") == "$HOME/x $HOME/x"


@pytest.mark.parametrize("home", ["/", "//", "", "here"])
def test_other_paths_are_not_replaced(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.chdir("/")
    assert without_home("https://example.org/here / here") == "https://example.org/here / here"


def test_missing_home_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert without_home("/home/al") == "/home/al"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "# mine\nnetwork:\n  contact: al@example.org  # who\n  robots: true\n",
            "# mine\nnetwork:\n  contact: null  # who\n  robots: true\n",
        ),
        ("network: {contact: 'al@example.org', a: 1}\n", "network: {contact: null, a: 1}\n"),
        ("network:\n  contact: Al,\n    here\n  a: 1\n", "network:\n  contact: null\n  a: 1\n"),
        ("network:\n  contact: >-\n    Al\n  a: 1\n", "network:\n  contact: null\n  a: 1\n"),
        ("network:\n  contact: |\n    Al\n# end\n", "network:\n  contact: null\n# end\n"),
        (
            "a: &me al@example.org\nnetwork:\n  contact: *me\n",
            "a: &me null\nnetwork:\n  contact: *me\n",
        ),
        ("é: 😀\nnetwork:\n  contact: al@example.org", "é: 😀\nnetwork:\n  contact: null"),
        ("network:\n  contact: null # who\n", "network:\n  contact: null # who\n"),
        ("network:\n  contact:\n  a: 1\n", "network:\n  contact:\n  a: 1\n"),
        ("network:\na:\n  contact: kept\n", "network:\na:\n  contact: kept\n"),
        ("- contact: kept\n", "- contact: kept\n"),
        ("", ""),
        ("a: {path: /home/al, b: [/home/al/b]}\n", "a: {path: $HOME, b: [$HOME/b]}\n"),
    ],
)
def test_shareable_params_change_only_personal_data(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    assert shareable(text) == expected
    YAML(typ="safe", pure=True).load(expected)  # nothing that is no YAML any more
