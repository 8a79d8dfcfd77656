"""The page Search: responses of the server, with stand-ins of the services on loopback."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aiohttp import web
from PIL import Image
from starlette.testclient import TestClient
from test_museums import (
    KEY,
    KINDS,
    Site,
    cleveland_work,
    europeana_item,
    site,  # noqa: F401  (a fixture)
    works,
)
from test_studio_pages import ADDRESS, OWN, post

from ganloom import params, sources
from ganloom.images import encoding
from ganloom.sources import Context, SourceWarning, bing
from ganloom.studio import searching
from ganloom.studio.app import Studio, create_app
from ganloom.studio.searching import SETTINGS

ROOT = Path(__file__).parents[1]
HOSTILE = """<img src=x onerror="alert(1)">"""


def write_params(project: Path) -> Path:
    """Parameters that allow requests to loopback, with a comment that a person wrote."""
    file = project / "params.yaml"
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("loopback: false", "loopback: true  # mine")
    text = text.replace("contact: null", "contact: me@example.org")
    project.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def picture(seed: int, side: int = 600) -> bytes:
    tile = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return encoding.png(Image.fromarray(tile).resize((side, side // 2), Image.Resampling.NEAREST))


def show(site: Site, count: int, **changes: Any) -> list[dict[str, Any]]:  # noqa: F811
    """Let Cleveland have works whose images are on the stand-in."""
    shown = []
    for n in range(1, count + 1):
        url = site.server.serve(f"/images/{n}.png", picture(n))
        shown.append(cleveland_work(n) | {"images": {"web": {"url": url}}} | changes)
    site.show("cleveland", shown)
    return shown


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_params(tmp_path)
    return tmp_path


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as client:
        yield client


def search(client: TestClient, kind: str, *keywords: str, most: int = 60) -> Any:
    return post(client, "/api/search", kind=kind, keywords=keywords or ["silk"], most=most)


def found(client: TestClient, kind: str = "cleveland") -> list[dict[str, str]]:
    answer = search(client, kind)
    assert answer.status_code == 200, answer.json()
    pictures: list[dict[str, str]] = answer.json()["pictures"]
    return pictures


def add(client: TestClient, ids: list[str], name: str = "silk") -> Any:
    return post(client, "/api/search/add", name=name, ids=ids)


# --- searching -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_results_have_creator_licence_and_page(
    client: TestClient,
    site: Site,  # noqa: F811
    kind: str,
) -> None:
    site.show(kind, works(kind, 3))
    answer = search(client, kind).json()
    assert len(answer["pictures"]) == 3
    for one in answer["pictures"]:
        assert all(one.values()), one
    assert "3 of 60" in answer["warnings"][0]


def test_settings_are_valid_for_every_kind(project: Path) -> None:
    """Also for the services that have no stand-in here."""
    data = params.read(project / "params.yaml")
    for kind, settings in SETTINGS.items():
        keywords = [{"text": "silk", "max": 60}]
        source = {"kind": kind, "path": f"src/ganloom/sources/{kind}.py", "keywords": keywords}
        params.parse(data | {"sources": {kind: source | settings}})


def test_best_results_come_first(client: TestClient, site: Site) -> None:  # noqa: F811
    site.show("cleveland", works("cleveland", 9))
    assert [one["title"] for one in found(client)] == [f"Textile {n}" for n in range(1, 10)]


def test_every_line_is_a_search_and_has_the_maximum(
    client: TestClient,
    site: Site,  # noqa: F811
) -> None:
    site.show("cleveland", works("cleveland", 9))
    answer = search(client, "cleveland", "silk", "wool", most=5).json()
    assert len(answer["pictures"]) == 5  # the same ones for both
    assert [query["q"] for query in site.asked] == ["silk", "wool"]


def test_missing_key_names_variable_and_page_and_others_continue(
    client: TestClient,
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EUROPEANA_KEY")
    show(site, 1)
    answer = search(client, "europeana")
    assert answer.status_code == 502
    assert "https://apis.europeana.eu/" in answer.json()["problem"]
    assert "export EUROPEANA_KEY=" in answer.json()["problem"]
    assert len(found(client)) == 1


def test_key_reaches_no_page(client: TestClient, site: Site, project: Path) -> None:  # noqa: F811
    site.show("europeana", [europeana_item(1)])
    answer = search(client, "europeana")
    assert site.asked[-1]["wskey"] == KEY
    assert KEY not in answer.text
    (one,) = answer.json()["pictures"]
    add(client, [one["id"]])
    assert KEY not in (project / "data/searches/silk.csv").read_text()
    site.answer("europeana", lambda query: web.Response(status=401, text=f"bad key {KEY}"))
    refused = search(client, "europeana")
    assert "refuses the key in EUROPEANA_KEY" in refused.json()["problem"]
    assert KEY not in refused.text


def test_unreachable_service_is_an_error(
    client: TestClient,
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(KINDS["artic"].module, "API", "http://127.0.0.1:9/")
    answer = search(client, "artic")
    assert answer.status_code == 502
    assert "cannot connect: Connection refused" in answer.json()["problem"]


def test_robots_txt_is_obeyed_and_said(
    client: TestClient,
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site.server.serve("/robots.txt", b"User-agent: *\nDisallow: /")
    url = site.server.url("/images/async")
    monkeypatch.setattr(bing, "addresses", lambda words, most: iter([url]))
    answer = search(client, "bing").json()
    assert answer["pictures"] == []
    assert "forbidden by robots.txt" in answer["warnings"][0]
    assert "network.robots: false" in answer["warnings"][0]
    # The image of another source on this host is not requested either.
    show(site, 1)
    (one,) = found(client)
    preview = client.get(f"/found/{one['id']}.webp")
    assert preview.status_code == 502
    assert "forbidden by robots.txt" in preview.json()["problem"]
    assert site.server.asked()["/images/1.png"] == 0


def test_commons_needs_a_contact(client: TestClient, project: Path) -> None:
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("me@example.org", "null"))
    answer = search(client, "commons")
    assert answer.status_code == 503
    assert "network.contact" in answer.json()["problem"]


def test_project_without_params_is_told_how_to_make_them(tmp_path: Path) -> None:
    with TestClient(create_app(Studio(tmp_path / "new", None)), base_url=ADDRESS) as client:
        assert "ganloom recipe" in search(client, "cleveland").json()["problem"]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "google", "keywords": ["silk"], "most": 60},
        {"kind": "folder", "keywords": ["silk"], "most": 60},
        {"kind": "cleveland", "keywords": [], "most": 60},
        {"kind": "cleveland", "keywords": ["silk"], "most": 0},
        {"kind": "cleveland", "keywords": ["silk"], "most": 60, "path": "/etc"},
    ],
)
def test_invalid_requests_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert post(client, "/api/search", **body).status_code == 400


@pytest.mark.parametrize("path", ["/api/search", "/api/search/add"])
def test_requests_of_other_sites_are_refused(client: TestClient, path: str) -> None:
    body = {"kind": "cleveland", "keywords": ["silk"], "most": 60}
    for headers in ({}, {"origin": "http://evil.example"}, OWN | {"sec-fetch-site": "cross-site"}):
        assert client.post(path, json=body, headers=headers).status_code == 403


# --- previews ------------------------------------------------------------------------------------


def test_preview_is_small_and_made_from_pixels(
    client: TestClient,
    site: Site,  # noqa: F811
) -> None:
    show(site, 1)
    (one,) = found(client)
    answer = client.get(f"/found/{one['id']}.webp")
    assert answer.headers["content-type"] == "image/webp"
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size) == ("WEBP", (256, 128))


def test_preview_of_a_smaller_file_if_the_service_has_one(
    client: TestClient,
    site: Site,  # noqa: F811
) -> None:
    url = site.server.url("/iiif")
    page = KINDS["artic"].page
    site.answer(
        "artic",
        lambda query: (
            page(query, works("artic", 1)) | {"config": {"iiif_url": url, "website_url": url}}
        ),
    )
    (one,) = found(client, "artic")
    client.get(f"/found/{one['id']}.webp")
    (asked,) = [path for path in site.server.asked() if path.startswith("/iiif/")]
    assert "/full/400,/0/" in asked


@pytest.mark.parametrize(
    ("kind", "url", "small"),
    [
        (
            "commons",
            "https://upload.wikimedia.org/wikipedia/commons/thumb/1/1a/A.jpg/1280px-A.jpg",
            "https://upload.wikimedia.org/wikipedia/commons/thumb/1/1a/A.jpg/330px-A.jpg",
        ),
        (
            "commons",  # of a name with a width, and of a page
            "https://upload.wikimedia.org/a/1280px-A.tif/lossy-page1-1280px-1280px-A.tif.jpg",
            "https://upload.wikimedia.org/a/1280px-A.tif/lossy-page1-330px-1280px-A.tif.jpg",
        ),
        ("inaturalist", "https://host/photos/6/medium.jpg", "https://host/photos/6/small.jpg"),
        ("smithsonian", "https://host/s?id=CHSDM-1&max=1024", "https://host/s?id=CHSDM-1&max=330"),
        ("openverse", "https://host/medium.jpg", "https://host/medium.jpg"),
        (
            "commons",
            "https://upload.wikimedia.org/1/1a/A.jpg",
            "https://upload.wikimedia.org/1/1a/A.jpg",
        ),
    ],
)
def test_address_of_a_smaller_file(kind: str, url: str, small: str) -> None:
    assert searching.smaller(kind, url) == small


def test_only_what_was_found_is_requested(client: TestClient, site: Site) -> None:  # noqa: F811
    answer = client.get("/found/cleveland/0123456789abcdef.webp")
    assert answer.status_code == 404
    assert "search again" in answer.json()["problem"]
    assert site.server.seen == []


@pytest.mark.parametrize("body", [b"<html>", picture(1)[:-200]])
def test_file_that_is_no_image_has_no_preview(
    client: TestClient,
    site: Site,  # noqa: F811
    body: bytes,
) -> None:
    show(site, 1)
    site.server.serve("/images/1.png", body)
    (one,) = found(client)
    assert client.get(f"/found/{one['id']}.webp").status_code == 422


def test_addresses_in_the_local_network_are_not_requested(
    client: TestClient,
    site: Site,  # noqa: F811
    outside: list[str],
) -> None:
    site.show(
        "cleveland", [cleveland_work(1) | {"images": {"web": {"url": "http://10.0.0.1/1.png"}}}]
    )
    (one,) = found(client)
    answer = client.get(f"/found/{one['id']}.webp")
    assert "refused address" in answer.json()["problem"]
    assert outside == []


# --- adding --------------------------------------------------------------------------------------


def test_ticked_results_are_a_source_and_comments_are_kept(
    client: TestClient,
    site: Site,  # noqa: F811
    project: Path,
) -> None:
    show(site, 3, title=HOSTILE + ', "quoted"')
    before = (project / "params.yaml").read_text()
    first, _, third = found(client)
    answer = add(client, [first["id"], third["id"]]).json()
    assert answer == {
        "name": "silk", "path": "data/searches/silk.csv", "count": 2, "added": True,
    }  # fmt: skip

    after = (project / "params.yaml").read_text()
    new = "  silk:\n    kind: urls\n    path: data/searches/silk.csv\n"
    assert "loopback: true  # mine" in after
    assert after.replace(new, "") == before

    table = pd.read_csv(project / "data/searches/silk.csv", dtype=str, keep_default_na=False)
    assert sorted(table.id) == sorted([first["id"], third["id"]])
    assert set(table.licence) == {"CC0 1.0"}


def test_source_lists_what_was_ticked(
    client: TestClient,
    site: Site,  # noqa: F811
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show(site, 2)
    one, _ = found(client)
    add(client, [one["id"]])
    monkeypatch.chdir(project)
    known = params.load()
    (row,) = sources.candidates("silk", known.sources["silk"], Context(1, known.network))
    assert row.url.startswith(site.server.url("/images/"))
    assert row.query == "silk"
    for column in ("page", "title", "creator", "licence", "licence_url"):
        assert getattr(row, column) == one[column], column


def test_existing_source_and_list_are_not_replaced(
    client: TestClient,
    site: Site,  # noqa: F811
    project: Path,
) -> None:
    show(site, 2)
    one, other = (row["id"] for row in found(client))
    left = project / "data/searches/silk_2.csv"
    left.parent.mkdir(parents=True)
    left.write_text("url\n")
    names = [add(client, [row]).json()["name"] for row in (one, other)]
    assert names == ["silk", "silk_3"]
    assert left.read_text() == "url\n"
    known = params.load(project / "params.yaml").sources
    assert [known[name].path for name in names] == [f"data/searches/{name}.csv" for name in names]


def test_params_in_one_line_are_left_to_the_user(
    client: TestClient,
    site: Site,  # noqa: F811
    project: Path,
) -> None:
    show(site, 1)
    (one,) = found(client)
    file = project / "params.yaml"
    data = params.read(file)
    file.write_text(json.dumps(data))
    before = file.read_text()
    assert add(client, [one["id"]]).json()["added"] is False
    assert file.read_text() == before
    assert (project / "data/searches/silk.csv").is_file()


def test_nothing_is_written_for_an_unknown_result(client: TestClient, project: Path) -> None:
    assert add(client, ["cleveland/0123456789abcdef"]).status_code == 404
    assert add(client, [], "silk").status_code == 400
    assert add(client, ["x"], "../silk").status_code == 400
    assert not (project / "data").exists()


def test_warnings_of_a_stage_are_still_issued() -> None:
    with sources.collected_warnings() as collected:
        sources.warn("web", "nothing")
    assert collected == ["sources.web: nothing"]
    with pytest.warns(SourceWarning, match=r"sources\.web: nothing"):
        sources.warn("web", "nothing")
