"""The page Weave: responses of the server."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from test_studio_pages import ADDRESS, OWN, make, pixels, post, said, save_model

from ganloom import models
from ganloom.enlarging import network
from ganloom.enlarging.network import Enlarger
from ganloom.images.shards import sha256
from ganloom.studio import generation, weaving
from ganloom.studio.app import Studio, create_app
from ganloom.studio.weaving import patterns
from ganloom.weaving.groups import FRIEZES, WALLPAPERS

PLAIN = {
    "model": "animals",
    "seed": 5,
    "group": "p4m",
    "border": None,
    "place": [0, 0],
    "width": 128,
    "drift": 0,
    "truncation": 1,
}


def save_enlarger(project: Path, seed: int = 1) -> Path:
    """An untrained enlarger."""
    torch.manual_seed(seed)
    path = project / network.PATH
    models.save(Enlarger(4, 1), network.EnlargerInfo(channels=4, layers=1, kimg=1.0), path)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_model(tmp_path, "animals")
    monkeypatch.setattr(weaving, "CLOTH", 1024)
    monkeypatch.setattr(weaving, "SHOWN", 512)
    monkeypatch.setattr(weaving, "PREVIEW_CLOTH", 256)
    return tmp_path


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as client:
        yield client


def weave(client: TestClient, **settings: Any) -> str:
    answer = post(client, "/api/weave", **PLAIN | settings)
    assert answer.status_code == 200, answer.json()
    name: str = answer.json()["name"]
    return name


def file(client: TestClient, name: str, what: str) -> Image.Image:
    answer = client.get(f"/weaves/{name}/{what}.png")
    assert answer.status_code == 200, answer.json()
    return Image.open(io.BytesIO(answer.content))


def seen(client: TestClient, name: str, what: str) -> Any:
    return np.asarray(file(client, name, what)).astype(int)


def about(image: Image.Image) -> Any:
    return json.loads(image.text["ganloom"])  # type: ignore[attr-defined]


# --- tiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", WALLPAPERS)
def test_preview_tile_has_no_seam(client: TestClient, group: str) -> None:
    tile = seen(client, weave(client, group=group, width=512), "preview")
    assert tile.shape[1] == 128
    for axis in (0, 1):
        steps = np.abs(np.diff(tile, axis=axis)).mean(axis=(1 - axis, 2))
        seam = np.abs(tile.take(0, axis) - tile.take(-1, axis)).mean()
        assert seam <= steps.max() + 1


def test_tile_has_the_requested_symmetry_and_width(client: TestClient) -> None:
    tile = seen(client, weave(client, group="p4m", width=256), "shown")
    assert tile.shape == (256, 256, 3)
    assert (tile == tile[:, ::-1]).all()
    assert (tile == tile.swapaxes(0, 1)).all()
    one = seen(client, weave(client, group="p1", width=256), "shown")
    assert (one != one[:, ::-1]).any()


def test_weave_is_reproducible_after_a_restart(project: Path, client: TestClient) -> None:
    settings = {"border": "pm2g", "drift": 0.5, "place": [0.25, 1.5], "label": "dog"}
    name = weave(client, **settings)
    files = [f"/weaves/{name}/{what}.png" for what in ("preview", "shown", "tile", "cloth")]
    before = [client.get(path).content for path in files]
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as again:
        assert weave(again, **settings) == name
        assert [again.get(path).content for path in files] == before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"group": "pm"},
        {"border": "p11"},
        {"place": [0.5, 0]},
        {"drift": 0.5},
        {"truncation": 0.5},
        {"label": "dog"},
        {"codes": [3, 1]},
    ],
)
def test_every_weave_setting_has_an_effect(client: TestClient, change: dict[str, Any]) -> None:
    asked = {"label": "cat", "codes": [0, 0]}
    plain, changed = weave(client, **asked), weave(client, **asked | change)
    for what in ("preview", "cloth"):
        one, other = (client.get(f"/weaves/{name}/{what}.png").content for name in (plain, changed))
        assert sha256(one) != sha256(other)
        assert not np.array_equal(seen(client, plain, what), seen(client, changed, what))


def test_tile_uses_the_first_sample_of_the_generate_page(client: TestClient) -> None:
    (sample,) = make(client, seed=5, count=1).json()["pictures"]
    both = seen(client, weave(client, group="p1"), "compared")
    assert both.shape == (128, 256, 3)
    assert (both[::8, :128:8] == pixels(client, sample)).all()
    assert (both[:, 128:] == seen(client, weave(client, group="p1"), "tile")).all()


# --- cloths --------------------------------------------------------------------------------------


def test_border_surrounds_the_cloth_and_the_preview_matches(
    client: TestClient,
) -> None:
    answer = post(client, "/api/weave", **PLAIN | {"border": "pm11"}).json()
    assert answer["cloth"] is True
    small, large = (seen(client, answer["name"], what) for what in ("preview", "cloth"))
    assert (small.shape, large.shape) == ((256, 256, 3), (1024, 1024, 3))
    assert (large == large.swapaxes(0, 1)).all()  # p4m within, corners that match
    plain = seen(client, weave(client), "cloth")
    inside = slice(300, 700)
    assert (large[inside, inside] == plain[inside, inside]).all()
    assert (large[:8] != plain[:8]).any()
    halved = large.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 12
    assert np.corrcoef(halved.ravel(), small.ravel())[0, 1] > 0.9


def test_cloth_download_has_print_resolution(client: TestClient) -> None:
    image = file(client, weave(client), "cloth")
    assert np.allclose(image.info["dpi"], 300, atol=0.1)
    assert image.size == (1024, 1024)


def test_large_images_are_queued_but_previews_are_not(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, finish = threading.Event(), threading.Event()
    counts, making = [], threading.Semaphore(8)

    def slow(samples: Any, pattern: Any, size: Any, *_: Any, periodic: bool) -> Any:
        with making:
            counts.append(8 - making._value)
            begun.set()
            assert finish.wait(60)
        return np.zeros((*size, 3), np.uint8)

    monkeypatch.setattr(weaving, "weave", slow)
    names = [weave(client, seed=seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        cloths = [pool.submit(client.get, f"/weaves/{name}/cloth.png") for name in names]
        assert begun.wait(60)
        for name in names:
            assert client.get(f"/weaves/{name}/preview.png").status_code == 200
        finish.set()
        assert [cloth.result().status_code for cloth in cloths] == [200, 200]
    assert counts == [1, 1]


# --- what made it --------------------------------------------------------------------------------


def test_woven_file_has_provenance_metadata(project: Path, client: TestClient) -> None:
    model = project / "results/models/animals/generator.safetensors"
    enlarger = save_enlarger(project)
    settings = {"border": "p11g", "place": [0.5, 0.25], "drift": 0.2, "truncation": 0.8}
    name = weave(client, **settings, label="cat")
    known = about(file(client, name, "cloth"))
    assert known == {
        "picture": "cloth",
        "size": [1024, 1024],
        "dpi": 300,
        "tile": 128,
        "model": "animals",
        "model_sha256": sha256(model.read_bytes()),
        "enlarger_sha256": sha256(enlarger.read_bytes()),
        "seed": 5,
        "group": "p4m",
        "label": "cat",
        **settings,
    }
    tile = about(file(client, name, "tile"))
    assert (tile["picture"], tile["size"]) == ("tile", [128, 128])


def test_project_enlarger_is_used_or_named_if_damaged(project: Path, client: TestClient) -> None:
    assert client.get("/api/patterns").json()["enlarger"] is False
    without = weave(client)
    before = seen(client, without, "tile")
    assert about(file(client, without, "tile"))["enlarger_sha256"] is None

    path = save_enlarger(project)
    assert client.get("/api/patterns").json()["enlarger"] is True
    enlarged = weave(client)
    assert (seen(client, enlarged, "tile") != before).any()
    answer = client.get(f"/weaves/{without}/tile.png")
    assert answer.status_code == 409
    assert "the enlarger has changed" in answer.json()["problem"]

    path.write_bytes(b"x")
    answer = post(client, "/api/weave", **PLAIN)
    assert answer.status_code == 422
    assert (
        "enlarger.safetensors is damaged or not an enlarger of ganloom" in answer.json()["problem"]
    )


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 1025}, "width: Input should be less than or equal to 1024"),
        ({"width": 63}, "width"),
        ({"width": 128.5}, "width"),
        ({"group": "p7"}, "group: Input should be 'p1', 'pm'"),
        ({"border": "p4m"}, "border"),
        ({"place": [0]}, "place"),
        ({"place": [2, 0]}, "place.0: Input should be less than 2"),
        ({"place": [0, -0.1]}, "place.1"),
        ({"drift": 1.1}, "drift"),
        ({"truncation": 0}, "truncation"),
        ({"seed": -1}, "seed"),
        ({"label": "cow"}, "class 'cow' does not exist; classes: cat, dog"),
        ({"codes": [0]}, "this model has 2 codes, not 1"),
        ({"other": 1}, "other"),
    ],
)
def test_weave_settings_out_of_range_are_refused(
    client: TestClient, wrong: dict[str, Any], words: str
) -> None:
    answer = post(client, "/api/weave", **PLAIN | wrong)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]


def test_missing_model_is_refused(client: TestClient) -> None:
    answer = post(client, "/api/weave", **PLAIN | {"model": "../animals"})
    assert answer.status_code == 422
    assert "there is no model" in answer.json()["problem"]


@pytest.mark.parametrize("name", ["0" * 20, "x", "..%2F..%2Fparams"])
@pytest.mark.parametrize("what", ["preview", "shown", "tile", "cloth", "compared"])
def test_weave_name_must_not_be_a_path(client: TestClient, name: str, what: str) -> None:
    assert client.get(f"/weaves/{name}/{what}.png").status_code == 404


@pytest.mark.parametrize("path", ["weave", "weaves/keep", "weaves/forget"])
def test_cross_site_weaving_is_refused(client: TestClient, path: str) -> None:
    headers = OWN | {"origin": "http://evil.example"}
    assert client.post(f"/api/{path}", json={}, headers=headers).status_code == 403


def test_weave_page_offers_all_groups(client: TestClient) -> None:
    offered = client.get("/api/patterns").json()
    assert [one["name"] for one in offered["groups"]] == list(WALLPAPERS)
    assert [one["name"] for one in offered["borders"]] == list(FRIEZES)
    assert {one["name"]: one["across"] for one in patterns()["groups"]} == {
        "p1": 1, "pm": 2, "pmm": 2, "cmm": 2, "p4m": 2, "p3m1": 3, "p6m": 2,
    }  # fmt: skip
    for one in offered["groups"]:
        assert post(client, "/api/weave", **PLAIN | {"group": one["name"]}).status_code == 200
    for one in offered["borders"]:
        assert post(client, "/api/weave", **PLAIN | {"border": one["name"]}).status_code == 200


# --- keeping -------------------------------------------------------------------------------------


def test_saved_weave_survives_a_restart(project: Path, client: TestClient) -> None:
    settings = {"place": [0.5, 0], "truncation": 0.7, "group": "cmm"}
    name, other = weave(client, **settings), weave(client, border="p11")
    for one in (name, other):
        assert post(client, "/api/weaves/keep", name=one).status_code == 200
    assert seen(client, other, "kept").shape == (256, 256, 3)  # a cloth
    post(client, "/api/weaves/forget", name=other)
    tile = seen(client, name, "tile")
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as again:
        (kept,) = again.get("/api/weaves").json()["kept"]
        assert (kept["name"], kept["model"]) == (name, "animals")
        assert settings.items() <= kept["made"].items()
        assert (seen(again, name, "kept") == tile).all()
        assert (seen(again, name, "tile") == tile).all()
        assert again.get(f"/weaves/{other}/kept.png").status_code == 422
    folder = project / "work/studio/weaves"
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.json", f"{name}.png"]
    assert client.get("/api/kept").json()["kept"] == []  # no picture of the page Generate


def test_saved_weave_outlives_its_model(project: Path, client: TestClient) -> None:
    name = weave(client)
    post(client, "/api/weaves/keep", name=name)
    tile = seen(client, name, "kept")
    save_model(project, "animals", seed=2)
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as again:
        assert weave(again) != name
        assert (seen(again, name, "kept") == tile).all()
        answer = again.get(f"/weaves/{name}/tile.png")
        assert answer.status_code == 400
        assert "an earlier training" in answer.json()["problem"]


def test_damaged_saved_weave_is_ignored(project: Path, client: TestClient) -> None:
    name = weave(client)
    post(client, "/api/weaves/keep", name=name)
    folder = project / "work/studio/weaves"
    known = json.loads((folder / f"{name}.json").read_bytes())
    (folder / f"{'1' * 20}.png").write_bytes((folder / f"{name}.png").read_bytes())
    for wrong in ({"group": "p7"}, {"width": 10**6}, {"place": "x"}, {"seed": None}):
        damaged = known | {"made": known["made"] | wrong}
        (folder / f"{'1' * 20}.json").write_text(json.dumps(damaged))
        assert [one["name"] for one in client.get("/api/weaves").json()["kept"]] == [name]
        for what in ("preview", "tile", "cloth"):
            answer = client.get(f"/weaves/{'1' * 20}/{what}.png")
            assert (answer.status_code, "damaged" in answer.json()["problem"]) == (422, True)


# --- large pictures ------------------------------------------------------------------------------


def test_large_sample_can_be_downloaded(
    project: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "LARGE", 64)
    (name,) = make(client, count=1).json()["pictures"]

    def large() -> Image.Image:
        return Image.open(io.BytesIO(client.get(f"/samples/{name}/large.png").content))

    interpolated = large()
    assert interpolated.size == (64, 64)
    back = np.asarray(interpolated).reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.corrcoef(back.ravel(), pixels(client, name).ravel())[0, 1] > 0.95
    z = {key: said(client, name)[key] for key in ("v", "made", "model_sha256")}
    assert z.items() <= about(interpolated).items()
    assert about(interpolated)["enlarger_sha256"] is None

    path = save_enlarger(project)
    assert about(large())["enlarger_sha256"] == sha256(path.read_bytes())
    assert (np.asarray(large()) != np.asarray(interpolated)).any()
    assert client.get(f"/samples/{'0' * 20}/large.png").status_code == 422
