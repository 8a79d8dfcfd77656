"""Curation: manual lists override rules, and groups stay in one split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganloom import curate
from ganloom.curate import CurationError, Decision, Picture
from ganloom.params import Curate

SECTION = Curate(list="kene", min_side=64, min_contrast=8.0, holdout=0.2)
A, B, C = "a" * 64, "ab" * 32, "c" * 64
KNOWN = [A, B, C, "abababab" + "0" * 56]


def picture(digest: str, **changes: Any) -> Picture:
    return Picture(digest, digest, 100, 80, 50.0, "")._replace(**changes)


def decide(digest: str, keep: bool, reason: str = "") -> Decision:
    return Decision(digest, keep, reason, 2)


def write(folder: Path, *lines: str, header: str = "sha256,decision,reason") -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


# --- manual lists ------------------------------------------------------------------------------


def test_curation_list_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, f"{A},keep,", 'CCCCCCCC, drop ,"off topic, blurred"', f"{A[:20]},keep,x")
    assert curate.read_list(path, KNOWN) == [
        Decision(A, True, "", 2),
        Decision(C, False, "off topic, blurred", 3),
    ]


def test_list_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(f"\ufeffsha256,decision,reason,who\r\n{A},drop,old,me\r\n".encode())
    assert curate.read_list(path, KNOWN) == [Decision(A, False, "old", 2)]
    for separator, encoding in ((";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-16-le")):
        text = f"sha256,decision,reason\r\n{A},drop,é\r\n".replace(",", separator)
        path.write_bytes(text.encode(encoding))
        assert curate.read_list(path, KNOWN) == [Decision(A, False, "é", 2)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dddddddd,drop,", "3: no image has the sha256 dddddddd"),
        ("abababab,drop,", "3: abababab is ambiguous"),
        ("aaaaaaa,drop,", "3: sha256 'aaaaaaa' has fewer than 8 digits"),
        (f"{C},remove,", "3: decision 'remove' is not `keep` or `drop`"),
        (f"{C}", "3: decision '' is not `keep` or `drop`"),
        ("aaaaaaaa,drop,", "3: contradicts line 2 on aaaaaaaaaaaa"),
    ],
)
def test_invalid_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, f"{A},keep,good", line)
    with pytest.raises(CurationError, match=message) as error:
        curate.read_list(path, KNOWN)
    assert str(error.value).startswith(f"{path}:3: ")


def test_invalid_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="1: missing decision, reason"):
        curate.read_list(write(tmp_path, header="sha256;decision;reason,sha256"), KNOWN)
    with pytest.raises(CurationError, match="1: not CSV: field larger than"):
        curate.read_list(write(tmp_path, header="s" * 200_000), KNOWN)
    with pytest.raises(CurationError, match="no such file"):
        curate.read_list(tmp_path / "none.csv", KNOWN)
    (tmp_path / "latin.csv").write_bytes("sha256,decision,reason\n,,Kené".encode("latin-1"))
    with pytest.raises(CurationError, match="not UTF-8"):
        curate.read_list(tmp_path / "latin.csv", KNOWN)


# --- rules -------------------------------------------------------------------------------------


def test_each_rule_gives_a_reason() -> None:
    pictures = [
        picture("good"),
        picture("copy", cluster="good" * 16),
        picture("small", width=60, height=48),
        picture("flat", contrast=7.9),
        picture("junk"),
        picture("other"),
    ]
    decisions = [decide("junk", False, "off topic"), decide("other", False)]
    assert curate.drop_reasons(pictures, decisions, SECTION) == {
        "copy": "near-duplicate of goodgoodgood",
        "small": "too small: 60x48",
        "flat": "blank",
        "junk": "list kene: off topic",
        "other": "list kene",
    }


def test_manual_keep_overrides_all_rules() -> None:
    pictures = [
        picture("copy", cluster="good"),
        picture("small", width=10),
        picture("flat", contrast=0.0),
    ]
    decisions = [decide(p.sha256, True) for p in pictures]
    assert curate.drop_reasons(pictures, decisions, SECTION) == {}


def test_dropping_a_keeper_does_not_promote_its_copies() -> None:
    pictures = [picture("good"), picture("copy", cluster="good")]
    assert set(curate.drop_reasons(pictures, [decide("good", False)], SECTION)) == {"good", "copy"}


def test_reasons_are_counted_by_category() -> None:
    reasons = ["near-duplicate of 1a2b", "too small: 6x4", "blank", "list kene: off topic"]
    assert [curate.kind(r) for r in reasons] == [
        "near-duplicate",
        "too small",
        "blank",
        "list kene",
    ]


def test_label_is_that_of_the_first_candidate_with_the_file() -> None:
    manifest = pd.DataFrame(
        [
            ("s/2", "b", "", A, "90", "70"),
            ("s/1", "a", "", A, "90", "70"),
            ("s/0", "z", "changed since", A, "", ""),
            ("s/3", "c", "HTTP 404", "", "", ""),
            ("s/4", "d", "", C, "30", "20"),
        ],
        columns=["id", "label", "error", "sha256", "width", "height"],
    )
    clusters = pd.DataFrame({"sha256": [C, A], "cluster": [A, A], "contrast": [20.0, 30.0]})
    assert curate.pictures(manifest, clusters) == [
        Picture(A, A, 90, 70, 30.0, "a", ("b",)),
        Picture(C, A, 30, 20, 20.0, "d"),
    ]


# --- split -------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.floats(0, 0.999), st.integers(0, 99))
def test_holdout_size_is_exact_and_never_everything(n: int, share: float, seed: int) -> None:
    clusters = [(f"c{i}", "") for i in range(n)]
    held = curate.holdout(clusters * 2, share, seed)
    assert len(held) == min(round(share * n), n - 1)
    assert held <= {cluster for cluster, _ in clusters}
    assert held == curate.holdout(reversed(clusters), share, seed)


def test_holdout_without_classes_depends_only_on_hashes() -> None:
    clusters = [(f"c{i}", "one") for i in range(12)]
    assert curate.holdout(clusters, 0.25, 1) == {"c0", "c5", "c10"}


def test_holdout_depends_on_seed_and_is_stable_under_additions() -> None:
    clusters = [(f"c{i}", "") for i in range(100)]
    held = curate.holdout(clusters, 0.2, 1)
    assert held != curate.holdout(clusters, 0.2, 2)
    assert len(held & curate.holdout([*clusters, ("new", "")], 0.2, 1)) >= 19


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdef")), min_size=1, max_size=60),
    st.floats(0, 0.999),
    st.integers(0, 99),
)
def test_no_class_is_held_out_completely(
    pictures: list[tuple[int, str]], share: float, seed: int
) -> None:
    named = [(f"c{cluster}", label) for cluster, label in pictures]
    held = curate.holdout(named, share, seed)
    train = {label for cluster, label in named if cluster not in held}
    assert train == {label for _, label in named}
    assert len(held) <= round(share * len({cluster for cluster, _ in named}))
    assert held == curate.holdout(reversed(named), share, seed)


def test_holdout_is_stratified_by_class() -> None:
    sizes = {"many": 70, "some": 20, "few": 10, "one": 1}
    pictures = [(f"{label}{i}", label) for label, size in sizes.items() for i in range(size)]
    held = curate.holdout(pictures, 0.2, 1)
    found = Counter(cluster.rstrip("0123456789") for cluster in held)
    assert found == {"many": 14, "some": 4, "few": 2}


def test_problems_with_classes_are_reported() -> None:
    def picture(number: int, label: str) -> Picture:
        name = f"{label}{number}"
        return Picture(name, name, 90, 70, 30.0, label)

    some = [picture(n, "cats") for n in range(5)] + [picture(n, "dogs") for n in range(5)]
    assert curate.class_warnings(some, some, {"cats0", "dogs1"}, 0.2) == []
    assert curate.class_warnings(some[:5], some[:5], {"cats0"}, 0.2) == []
    wrong = [*some, picture(0, "owl"), picture(0, ""), picture(1, "")]
    gone, single, none = curate.class_warnings(wrong, wrong[5:], {"dogs0", "0"}, 0.2)
    assert gone == "all images of class 'cats' were dropped: see data/dropped.csv"
    assert "a single image" in single
    assert "class 'owl'" in single
    assert "curate.holdout" not in single  # it cannot help
    (small,) = curate.class_warnings(some, some, set(), 0.2)
    assert "'cats', 'dogs'" in small
    assert "raise curate.holdout" in small
    assert curate.class_warnings(some, some, set(), 0) == []
    assert none.startswith("2 images have no class, ")


def test_copies_in_several_classes_are_named_with_both() -> None:
    digests = [digit * 64 for digit in "abcdef"]
    a, b, c, d, e, f = digests
    files = [
        ("1", "dogs", a), ("2", "cats", a),  # one file in two classes
        ("3", "dogs", b), ("4", "owls", c), ("5", "cats", d),  # c and d resemble b
        ("6", "mice", e), ("7", "", f), ("8", "rats", f),
    ]  # fmt: skip
    manifest = pd.DataFrame(files, columns=["id", "label", "sha256"])
    manifest = manifest.assign(error="", width="90", height="70")
    clusters = pd.DataFrame({"sha256": digests, "cluster": [a, b, b, b, e, f], "contrast": 30.0})
    pictures = curate.pictures(manifest, clusters)
    kept = [picture for picture in pictures if picture.sha256 in (a, b, d, e, f)]  # d by hand
    copies = curate.class_copies(pictures, kept)
    assert copies == {("cats", "dogs"): 1, ("owls", "dogs"): 1, ("rats", ""): 1}
    cats, owls, rats, *_ = curate.class_warnings(pictures, kept, {}, 0)
    words = "that are dropped as copies or near-duplicates of images of class 'dogs': 1"
    assert cats.startswith(f"images of class 'cats' {words}; delete")
    assert owls.startswith(f"images of class 'owls' {words}, and no image of class 'owls' is left")
    assert "images without a class" in rats


# --- the whole stage ---------------------------------------------------------------------------


def test_tables_and_summary_agree() -> None:
    pictures = [picture(A), picture(B, cluster=A), picture(C, contrast=1.0)]
    found = curate.curate(pictures, [], SECTION, seed=1)
    assert found.kept.to_dict("records") == [{"sha256": A, "label": "", "split": "train"}]
    assert found.dropped.to_dict("records") == [
        {"sha256": B, "reason": f"near-duplicate of {A[:12]}"},
        {"sha256": C, "reason": "blank"},
    ]
    assert found.summary.startswith("kept 1 of 3 images, 0 of their groups held out; dropped: 1 ")


def test_nothing_left_names_the_limits_to_lower() -> None:
    pictures = [picture(A, width=10), picture(C, width=10)]
    with pytest.raises(CurationError, match=r"no image is left of 2; .* curate.min_side is 64"):
        curate.curate(pictures, [], SECTION, seed=1)


def test_decisions_on_what_was_not_fetched_are_named_with_their_line() -> None:
    section = SECTION.model_copy(update={"list": "mine"})
    (warning,) = curate.unfetched([decide(A, True), decide(C, True)], [picture(A)], section)
    assert warning == f"mine.csv:2: {C[:12]} is a candidate, but was not fetched"


def test_the_list_is_the_one_that_the_section_names(tmp_path: Path) -> None:
    write(tmp_path, f"{A},keep,")
    for name, expected in ((None, []), ("list", [decide(A, True)])):
        section = SECTION.model_copy(update={"list": name})
        assert curate.decisions(tmp_path, section, KNOWN) == expected
