"""The studio's server: access control, and the list after changes."""

from __future__ import annotations

import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from ganloom import curate
from ganloom.cli import main
from ganloom.images import decoding, encoding
from ganloom.images.shards import sha256, write_shards
from ganloom.studio import collection, decisions
from ganloom.studio.app import Studio, create_app
from ganloom.studio.decisions import Change

ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:8765"
OWN = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
HOSTILE = "<script>alert(1)</script>"


def weave(n: int, side: int = 160) -> bytes:
    rng = np.random.default_rng(n)
    tile = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encoding.png(Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST))


# A file that was a picture when it was fetched, and whose decoder now fails; and one in disguise.
BROKEN = weave(90)[:200]
HTML = b"<html><script>alert(2)</script></html>"
FILES = [*(weave(n) for n in range(6)), weave(6, side=60), BROKEN, HTML]
FILES[2] += HTML  # behind the end of a picture
HASHES = [sha256(data) for data in FILES]
NEVER_FETCHED = "f" * 64
A, B, C = HASHES[:3]


def make_project(project: Path) -> Path:
    """Nine images: 1 is a copy of 0, 6 is too small, 7 and 8 are hostile."""
    data = project / "data"
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    write_shards(data / "raw", ((h, "png", d) for h, d in zip(HASHES, FILES, strict=True)))
    blank = dict.fromkeys(("query", "page", "creator", "licence", "licence_url", "error"), "")
    rows = [
        blank
        | {"id": f"s/{n}", "source": "s", "url": f"file:{n}", "title": HOSTILE, "label": "x"}
        | {"sha256": h, "bytes": "9", "mime": "image/png"}
        | {"width": "60" if n == 6 else "160", "height": "160"}
        for n, h in enumerate(HASHES)
    ]
    rows.append(rows[0] | {"id": "s/again"})
    rows.append(rows[0] | {"id": "s/gone", "error": "HTTP 404", "sha256": NEVER_FETCHED})
    pd.DataFrame(rows).to_csv(data / "manifest.csv", index=False)
    clusters = pd.DataFrame(
        {
            "sha256": HASHES,
            "cluster": [A, A, *HASHES[2:]],
            "keeper": ["true", "false", *["true"] * 7],
            "distance": [0, 3, *[0] * 7],
            "kind": ["keeper", "hash", *["keeper"] * 7],
            "contrast": 50.0,
            "off_topic": ["true", *["false"] * 8],
            "added_later": [1.5, None, *[2.5] * 7],
        }
    )
    clusters.sort_values("sha256").to_csv(data / "clusters.csv", index=False)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Studio(project, "mine")), base_url=ADDRESS) as client:
        yield client


def decide(
    client: TestClient, *changes: tuple[str, str | None, str], revision: str = "none"
) -> Any:
    body = [{"sha256": s, "decision": d, "reason": r} for s, d, r in changes]
    return client.post("/api/decisions", json={"revision": revision, "changes": body}, headers=OWN)


def text_of(project: Path) -> str:
    return (project / "data/curation/mine.csv").read_bytes().decode()


# --- who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/collection", f"/thumbnails/{A}", "/static/main.js"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8765", ""])
def test_studio_refuses_other_hosts(client: TestClient, path: str, host: str) -> None:
    assert client.get(path, headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST"])
def test_studio_accepts_local_hosts(client: TestClient, host: str) -> None:
    assert client.get("/api/collection", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "https://127.0.0.1:8765"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_cross_site_decisions_are_refused(
    client: TestClient, project: Path, headers: dict[str, str], status: int
) -> None:
    body = json.dumps({"revision": "", "changes": [{"sha256": A, "decision": "drop"}]})
    sent = {"content-type": "application/json"} | OWN | headers
    assert client.post("/api/decisions", content=body, headers=sent).status_code == status
    del sent["origin"]
    assert client.post("/api/decisions", content=body, headers=sent).status_code in (403, 415)
    assert not (project / "data/curation/mine.csv").exists()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/static/main.js", 200),
        ("/api/collection", 200),
        (f"/thumbnails/{A}", 200),
        (f"/pictures/{HASHES[8]}", 422),
        ("/thumbnails/no", 404),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
    ],
)
def test_responses_have_a_strict_content_policy(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_have_no_inline_script_or_style(client: TestClient) -> None:
    page = client.get("/").text
    assert "<style" not in page
    assert "style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/') == 1
    assert "://" not in page


# --- what is shown -------------------------------------------------------------------------------


def rows_of(client: TestClient) -> dict[str, dict[str, Any]]:
    answer = client.get("/api/collection").json()
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    return {row["sha256"]: row for row in rows}


def test_images_have_table_values_and_rules(client: TestClient) -> None:
    rows = rows_of(client)
    assert list(rows) == sorted(HASHES)
    assert rows[A]["copies"] == 2
    assert rows[A]["rule"] == ""
    assert rows[A]["title"] == HOSTILE
    assert rows[B]["rule"] == f"near-duplicate of {A[:12]}"
    assert rows[HASHES[6]]["rule"] == "too small: 60x160"
    assert (rows[A]["keeper"], rows[B]["keeper"]) == (True, False)


def test_additional_columns_become_flags(client: TestClient) -> None:
    answer = client.get("/api/collection").json()
    assert answer["flags"] == ["distance", "contrast", "off_topic", "added_later"]
    rows = rows_of(client)
    assert rows[A]["off_topic"] is True
    assert rows[B]["added_later"] is None


def test_rules_follow_changed_parameters(client: TestClient, project: Path) -> None:
    before = client.get("/api/collection").json()
    assert (before["list"], before["list_in_use"]) == ("mine", None)
    path = project / "params.yaml"
    text = path.read_text().replace("list: null", "list: mine").replace("side: 128", "side: 40")
    path.write_text(text)
    assert rows_of(client)[HASHES[6]]["rule"] == ""
    after = client.get("/api/collection").json()
    assert after["list_in_use"] == "mine"
    assert after["revision"] != before["revision"]
    assert client.get("/api/decisions").json()["collection"] == after["revision"]


def test_similarity_is_a_dot_product_of_features(client: TestClient, project: Path) -> None:
    order = sorted(HASHES)
    features = np.zeros((9, 4), np.float16)
    features[order.index(A)] = features[order.index(C)] = (0.6, 0.8, 0, 0)
    features[order.index(B)] = (0.8, 0.6, 0, 0)
    np.save(project / "data/features.npy", features)
    answer = client.get(f"/api/likeness/{A}").json()
    scores = dict(zip(order, answer["scores"], strict=True))
    assert answer["by"] == "features"
    assert scores[A] == scores[C] == pytest.approx(1, abs=1e-3)
    assert scores[B] == pytest.approx(0.96, abs=1e-3)
    assert scores[HASHES[5]] == 0


def test_similarity_without_features_uses_colour(client: TestClient) -> None:
    answer = client.get(f"/api/likeness/{A}").json()
    scores = dict(zip(sorted(HASHES), answer["scores"], strict=True))
    assert answer["by"] == "colours"
    assert scores[A] == max(scores.values()) == pytest.approx(1, abs=1e-3)
    assert scores[HASHES[8]] == 0  # cannot be decoded: like no other


def test_hostile_or_outdated_features_are_ignored(client: TestClient, project: Path) -> None:
    path = project / "data/features.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    assert client.get(f"/api/likeness/{A}").json()["by"] == "colours"
    np.save(path, np.zeros((4, 4), np.float16))
    assert client.get(f"/api/likeness/{A}").json()["by"] == "colours"


def test_thumbnails_are_made_once(client: TestClient, project: Path) -> None:
    answer = client.get(f"/thumbnails/{A}")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (160, 160))
    assert "immutable" in answer.headers["cache-control"]
    folder = project / "work/thumbnails"
    assert [path.name for path in folder.iterdir()] == [f"{A}.webp"]
    made = io.BytesIO()
    Image.new("RGB", (7, 7)).save(made, "WEBP")
    (folder / f"{A}.webp").write_bytes(made.getvalue())
    assert client.get(f"/thumbnails/{A}").content == made.getvalue()
    again = client.get(f"/thumbnails/{A}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("left", ["nothing", "a beginning", "zeros", "something else"])
def test_damaged_thumbnail_is_made_again(client: TestClient, project: Path, left: str) -> None:
    whole = client.get(f"/thumbnails/{A}").content
    path = project / f"work/thumbnails/{A}.webp"
    damaged = {
        "nothing": b"",
        "a beginning": whole[:-1],
        "zeros": bytes(len(whole)),
        "something else": FILES[0],
    }[left]
    path.write_bytes(damaged)
    assert client.get(f"/api/likeness/{B}").json()["by"] == "colours"
    assert path.read_bytes() == whole
    path.write_bytes(damaged)
    assert client.get(f"/thumbnails/{A}").content == whole


def test_missing_original_returns_404(client: TestClient, project: Path) -> None:
    shutil.rmtree(project / "data/raw")
    others = [(h, "png", d) for h, d in zip(HASHES, FILES, strict=True) if h != A]
    write_shards(project / "data/raw", others)
    for kind in ("thumbnails", "pictures"):
        answer = client.get(f"/{kind}/{A}")
        assert answer.status_code == 404
        assert answer.json()["problem"] == f"there is no original {A} in data/raw"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "immutable" not in answer.headers["cache-control"]
    answer = client.get(f"/api/likeness/{B}")
    assert answer.json()["scores"][sorted(HASHES).index(A)] == 0


def test_large_images_are_reduced(project: Path) -> None:
    rng = np.random.default_rng(1)
    data = encoding.png(rng.integers(0, 256, (700, 3000, 3), np.uint8))
    write_shards(project / "data/raw", [(sha256(data), "png", data)])
    found = collection.load(project)
    shown, mime = collection.large(found, sha256(data))
    with Image.open(io.BytesIO(shown)) as image:
        assert (image.format, image.width) == ("JPEG", collection.LARGE)
    assert mime == "image/jpeg"
    small = collection.thumbnail(found, sha256(data), project / "work/thumbnails")
    with Image.open(io.BytesIO(small)) as image:
        assert image.width == collection.THUMBNAIL


@pytest.mark.parametrize("digest", HASHES[7:])
@pytest.mark.parametrize("kind", ["thumbnails", "pictures"])
def test_hostile_file_is_never_sent(client: TestClient, kind: str, digest: str) -> None:
    answer = client.get(f"/{kind}/{digest}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"
    assert b"alert" not in answer.content
    assert "not an image" in answer.text or "truncated" in answer.text or "broken" in answer.text


def test_images_are_sent_reencoded(client: TestClient) -> None:
    for kind, mime in (("pictures", "image/png"), ("thumbnails", "image/webp")):
        answer = client.get(f"/{kind}/{C}")
        assert answer.headers["content-type"] == mime
        assert b"alert" not in answer.content
    assert client.get(f"/pictures/{C}").content == encoding.png(decoding.decode(FILES[2], 10**6))


@pytest.mark.parametrize("digest", ["0" * 64, NEVER_FETCHED, "..%2f..%2fparams.yaml", "A"])
def test_unknown_image_returns_404(client: TestClient, digest: str) -> None:
    for kind in ("thumbnails", "pictures", "api/likeness"):
        assert client.get(f"/{kind}/{digest}").status_code == 404


# --- the list ------------------------------------------------------------------------------------


def test_decision_is_saved_before_the_response(client: TestClient, project: Path) -> None:
    assert client.get("/api/decisions").json()["decisions"] == {}
    late, early = sorted([A, C], reverse=True)
    answer = decide(client, (late, "drop", " off\n topic, \x07blurred "), (early, "keep", ""))
    assert answer.status_code == 200
    assert text_of(project) == (
        f'sha256,decision,reason\n{early},keep,\n{late},drop,"off topic, blurred"\n'
    )
    found = curate.read_list(project / "data/curation/mine.csv", HASHES)
    assert [(d.sha256, d.keep, d.reason) for d in found] == [
        (early, True, ""),
        (late, False, "off topic, blurred"),
    ]
    assert [p.name for p in (project / "data/curation").iterdir()] == ["mine.csv"]
    assert not list((project / "data").glob(".*"))


def test_clearing_removes_a_decision(client: TestClient, project: Path) -> None:
    decide(client, (A, "drop", "x"), (C, "keep", ""))
    assert decide(client, (A, None, "")).json()["decisions"] == {C: ["keep", ""]}
    decide(client, (C, None, ""))
    assert text_of(project) == "sha256,decision,reason\n"
    assert decide(client, (C, None, "")).status_code == 200


def test_last_change_in_a_request_wins(client: TestClient) -> None:
    answer = decide(client, (A, "drop", "x"), (A, "keep", "y"))
    assert answer.json()["decisions"] == {A: ["keep", "y"]}
    assert decide(client, (A, "drop", ""), (A, "keep", "y")).json()["decisions"] == {
        A: ["keep", "y"]
    }


def test_concurrent_edits_of_the_list_are_kept(client: TestClient, project: Path) -> None:
    """Lists of a spreadsheet as well: other columns, shortened hashes, CRLF."""
    known = decide(client, (A, "drop", "")).json()["revision"]
    path = project / "data/curation/mine.csv"
    path.write_bytes(
        f"\ufeffsha256,who,decision,reason\r\n{C[:10].upper()},me,keep,mine\r\n"
        f"{B},,drop,copy\r\n\r\n{HASHES[3]},you,keep,\r\n".encode()
    )
    answer = decide(
        client, (HASHES[4], "drop", "new"), (B, "keep", "better"), (HASHES[3], None, ""),
        revision=known,
    ).json()  # fmt: skip
    # The window that asked knew an older list, so it is told the whole.
    assert answer["decisions"] == {
        B: ["keep", "better"],
        C: ["keep", "mine"],
        HASHES[4]: ["drop", "new"],
    }
    lines = [f"{B},,keep,better", f"{C[:10].upper()},me,keep,mine", f"{HASHES[4]},,drop,new"]
    lines.sort(key=str.lower)
    assert text_of(project) == "\n".join(["\ufeffsha256,who,decision,reason", *lines, ""])


def test_multiline_reason_is_preserved(client: TestClient, project: Path) -> None:
    path = project / "data/curation/mine.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'sha256,decision,reason,note\n{A},keep,,"line one\nline two"\n')
    decide(client, (B, "drop", ""))
    assert f'{A},keep,,"line one\nline two"\n' in text_of(project)


def test_infinite_flag_counts_as_unknown(client: TestClient, project: Path) -> None:
    path = project / "data/clusters.csv"
    table = pd.read_csv(path)
    table["off_topic"] = float("inf")
    table.to_csv(path, index=False)
    assert {row["off_topic"] for row in rows_of(client).values()} == {None}


def test_table_without_keepers_is_named(project: Path) -> None:
    path = project / "data/clusters.csv"
    pd.read_csv(path).drop(columns="keeper").to_csv(path, index=False)
    with pytest.raises(collection.CollectionError, match=r"cannot be read together.*keeper"):
        collection.load(project)


@pytest.mark.parametrize("column, value", [("cluster", ""), ("keeper", "maybe"), ("sha256", "")])
def test_arbitrary_tables_are_read_or_named(project: Path, column: str, value: str) -> None:
    path = project / "data/clusters.csv"
    pd.read_csv(path, dtype=str).assign(**{column: value}).to_csv(path, index=False)
    try:
        collection.as_json(collection.load(project))
    except collection.CollectionError as error:
        assert "cannot be read together" in str(error)


def test_repeated_lines_are_merged(client: TestClient, project: Path) -> None:
    path = project / "data/curation/mine.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"sha256,decision,reason\n{A},keep,\n{A[:9]},keep,x\n{A[:12]},keep,\n")
    assert decide(client, (A, "drop", "")).json()["decisions"] == {A: ["drop", ""]}
    assert text_of(project) == f"sha256,decision,reason\n{A},drop,\n"


def test_unchanged_list_is_not_sent_again(client: TestClient) -> None:
    first = decide(client, (A, "keep", "")).json()
    second = decide(client, (C, "keep", ""), revision=first["revision"]).json()
    assert "decisions" not in second
    asked = client.get("/api/decisions", params={"revision": second["revision"]}).json()
    assert asked == second
    assert set(client.get("/api/decisions").json()["decisions"]) == {A, C}


def test_repeated_decision_writes_nothing(client: TestClient, project: Path) -> None:
    decide(client, (A, "keep", "good"))
    path = project / "data/curation/mine.csv"
    before = path.stat().st_ino
    decide(client, (A, "keep", "good"), (C, None, ""))
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sha256,decision\n", "mine.csv:1: missing reason"),
        (f"sha256,decision,reason\n{A},dorp,\n", "mine.csv:2: decision 'dorp'"),
        (
            "sha256,decision,reason\n00000000,drop,\n",
            "mine.csv:2: no image has the sha256 00000000",
        ),
        ("sha256,decision,reason\n,,Kené\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_invalid_list_is_not_overwritten(
    client: TestClient, project: Path, content: str | bytes, message: str
) -> None:
    path = project / "data/curation/mine.csv"
    path.parent.mkdir(exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    for answer in (client.get("/api/decisions"), decide(client, (A, "drop", ""))):
        assert answer.status_code == 409
        assert message in answer.json()["problem"]
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"revision": "", "changes": [{"sha256": "x", "decision": "drop"}]}',
        json.dumps({"revision": "", "changes": [{"sha256": A, "decision": "remove"}]}),
        json.dumps({"revision": "", "changes": [{"sha256": A}]}),
        json.dumps({"revision": "", "changes": [{"sha256": A, "decision": "drop", "x": 1}]}),
        json.dumps({"changes": []}),
        json.dumps({"revision": "", "changes": [{"sha256": "0" * 64, "decision": "drop"}]}),
        json.dumps(
            {"revision": "", "changes": [{"sha256": A, "decision": "drop", "reason": "x" * 501}]}
        ),
    ],
)
def test_invalid_request_is_refused_completely(
    client: TestClient, project: Path, body: str
) -> None:
    sent = OWN | {"content-type": "application/json"}
    answer = client.post("/api/decisions", content=body, headers=sent)
    assert answer.status_code == 400
    assert answer.json()["problem"]
    assert not (project / "data/curation/mine.csv").exists()


def test_one_unknown_image_refuses_the_whole_request(client: TestClient, project: Path) -> None:
    assert decide(client, (A, "drop", ""), ("0" * 64, "drop", "")).status_code == 400
    assert not (project / "data/curation/mine.csv").exists()


def test_kill_leaves_the_old_or_the_new_list(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = project / "data/curation/mine.csv", project / "work/lock"
    decisions.write(path, HASHES, [Change(A, "keep", "")], lock)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            decisions.write(path, HASHES, [Change(C, "drop", "")], lock)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["mine.csv"]
    decisions.write(path, HASHES, [Change(C, "drop", "")], lock)
    assert set(decisions.read(path, HASHES).decisions) == {A, C}


def test_edit_just_before_saving_is_merged(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor does not use the lock."""
    path, lock = project / "data/curation/mine.csv", project / "work/lock"
    copymode, edits = shutil.copymode, [f"sha256,decision,reason\n{B},keep,by hand\n"]

    def edit(*arguments: Any) -> None:
        copymode(*arguments)
        if edits:
            path.write_text(edits.pop())

    decisions.write(path, HASHES, [Change(A, "keep", "")], lock)
    monkeypatch.setattr(shutil, "copymode", edit)
    _, state = decisions.write(path, HASHES, [Change(C, "drop", "")], lock)
    assert state.decisions == {B: ("keep", "by hand"), C: ("drop", "")}
    assert decisions.read(path, HASHES) == state


def test_concurrent_windows_lose_no_decisions(project: Path) -> None:
    digests = [sha256(f"{n}".encode()) for n in range(60)]
    path, lock = project / "data/curation/mine.csv", project / "work/lock"

    def window(mine: list[str]) -> None:
        for digest in mine:
            decisions.write(path, digests, [Change(digest, "drop", "")], lock)

    threads = [threading.Thread(target=window, args=(digests[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(decisions.read(path, digests).decisions) == set(digests)


def test_nothing_is_written_without_the_lock(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = project / "data/curation/mine.csv", project / "work/lock"
    lock.parent.mkdir()
    monkeypatch.setattr(decisions, "LOCK_TIMEOUT", 0.1)
    with FileLock(lock), pytest.raises(OSError, match="lock"):
        decisions.write(path, HASHES, [Change(A, "keep", "")], lock)
    assert not path.exists()


def test_linked_list_stays_a_link(project: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "lists" / "list.csv"
    real.parent.mkdir(parents=True)
    real.write_text("sha256,decision,reason\n")
    path = project / "data/curation/mine.csv"
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(real)
    decisions.write(path, HASHES, [Change(A, "keep", "")], project / "work/lock")
    assert path.is_symlink()
    assert f"{A},keep,\n" in real.read_text()


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=12)
LINES = st.lists(
    st.tuples(st.sampled_from(HASHES), st.sampled_from(["keep", "drop"]), CELL, CELL),
    unique_by=lambda line: line[0],
)
CHANGES = st.lists(
    st.builds(
        Change,
        st.sampled_from(HASHES),
        st.sampled_from(["keep", "drop", None]),
        CELL.map(lambda text: " ".join(text.split())),
    )
)


@settings(max_examples=60, deadline=None)
@given(LINES, CHANGES)
def test_merge_changes_only_the_requested_lines(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, str, str, str]],
    changes: list[Change],
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    path = folder / "curation/list.csv"
    path.parent.mkdir()
    table = pd.DataFrame(lines, columns=["sha256", "decision", "reason", "note"])
    table.to_csv(path, index=False)
    before = decisions.read(path, HASHES).decisions
    _, after = decisions.write(path, HASHES, changes, folder / "lock")
    expected = dict(before)
    for change in changes:
        expected.pop(change.sha256, None)
        if change.decision:
            expected[change.sha256] = (change.decision, change.reason)
    assert after.decisions == expected
    assert decisions.read(path, HASHES) == after
    saved = pd.read_csv(path, dtype=str, keep_default_na=False)
    notes = dict(zip(saved.sha256, saved.note, strict=True))
    assert all(notes[h] == note for h, _, _, note in lines if h in notes)


# --- starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("data/clusters.csv", "data/clusters.csv does not exist.*dvc repro dedup"),
        ("data/manifest.csv", "data/manifest.csv does not exist.*dvc repro dedup"),
        ("params.yaml", "no such file; to write one: ganloom recipe kene --out .*params.yaml"),
    ],
)
def test_studio_without_a_collection_says_what_to_run(
    project: Path, missing: str, message: str
) -> None:
    (project / missing).unlink()
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as client:
        answer = client.get("/api/collection")
        assert answer.status_code == 503
        assert re.search(message, answer.json()["problem"])
        assert client.get("/generate").status_code == 200


def test_list_name_must_not_be_a_path(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(SystemExit, match="lower-case letters, digits and _"):
        main(["studio", "--no-browser", "--list", "../../x"])


def test_studio_reports_a_running_pipeline_and_recovers(client: TestClient, project: Path) -> None:
    path = project / "data/clusters.csv"
    text = path.read_text()
    path.unlink()
    answer = client.get("/api/collection")
    assert answer.status_code == 503
    assert "or a run is in progress" in answer.json()["problem"]
    path.write_text(text)
    assert client.get("/api/collection").status_code == 200
