"""CSV tables: columns, round trips, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganloom import tables
from ganloom.tables import Candidate, KeptRow, LogRow, ManifestRow, TableError

PROVENANCE = "id,source,query,url,page,title,creator,licence,licence_url,label"


def header(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def test_the_columns_of_the_tables_are_those_of_the_documentation(tmp_path: Path) -> None:
    path = tmp_path / "data/table.csv"
    for kind, columns in (
        (Candidate, PROVENANCE),
        (ManifestRow, f"{PROVENANCE},error,sha256,bytes,width,height,mime"),
        (LogRow, "id,retrieved_at,status,attempts,seconds,http_status,taken_from,final_url"),
        (KeptRow, "sha256,label,split"),
    ):
        tables.write(path, kind, [])
        assert header(path) == columns


def test_an_optional_column_is_there_if_a_source_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [Candidate(id="a/1", source="a", sha256=""), Candidate(id="a/2", source="a", bytes="7")]
    tables.write(path, Candidate, rows)
    assert header(path) == f"{PROVENANCE},sha256,bytes"
    assert [(row.sha256, row.bytes, row.sha1) for row in tables.read(path, Candidate)] == [
        ("", "", None),
        ("", "7", None),
    ]


def test_columns_of_others_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "kept.csv"
    path.write_text("\ufeffsplit,mine,label,sha256\ntrain,x,cat,aa\n", encoding="utf-8")
    assert tables.read(path, KeptRow) == [KeptRow(sha256="aa", label="cat", split="train")]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(st.lists(TEXT))
def test_any_text_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    rows = [KeptRow(sha256=f"{n}", label=cell, split=cell) for n, cell in enumerate(cells)]
    tables.write(path, KeptRow, rows)
    assert tables.read(path, KeptRow) == rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: no column 'sha256', only "),
        (b"sha256,label\n", "line 1: no column 'split', only "),
        (b"sha256,label,split\na,b\n", "line 2: more or fewer cells than the header"),
        (b"sha256,label,split\na,b,c\na,b,c,d\n", "line 3: more or fewer cells"),
        (b'sha256,label,split\n"a"b,c,d\n', "line 2: "),
        (b"sha256,label,split\n\xff,b,c\n", "cannot be read as UTF-8 text"),
    ],
)
def test_a_damaged_table_is_an_error_that_names_the_line(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "kept.csv"
    path.write_bytes(data)
    with pytest.raises(TableError, match=f"kept.csv.*{message}"):
        tables.read(path, KeptRow)
