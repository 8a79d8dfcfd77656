"""The studio's pages that make pictures: what the server answers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from starlette.testclient import TestClient

from ganloom import models, params
from ganloom.cli import main
from ganloom.nets.inputs import Inputs
from ganloom.studio.app import Studio, create_app
from ganloom.studio.generators import EXAMPLE, EXAMPLE_FILE

ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:8765"
OWN = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
TOLD = Inputs(latent=16, classes=3, categorical=(4,), continuous=1)
CLASSES = ["cat", "dog", "<b>owl</b>"]


def save_model(project: Path, name: str, told: Inputs = TOLD, seed: int = 1) -> Path:
    """An untrained generator of 16 px that knows three classes and two codes."""
    spec = params.DcganGenerator(
        kind="dcgan", channels=4, latent=told.latent, norm="batch", dropout=0.0,
        dropout_kind="element",
    )  # fmt: skip
    torch.manual_seed(seed)
    condition = "onehot" if told.classes else None
    net = models.build_generator(spec, 16, told, condition)
    for weights in net.parameters():  # fresh ones hardly show what they are told
        torch.nn.init.normal_(weights, 0, 0.3)
    about = {
        "model": name,
        "resolution": 16,
        "generator": spec.model_dump(),
        "condition": condition,
        "classes": CLASSES[: told.classes],
        "inputs": {
            "latent": told.latent,
            "classes": told.classes,
            "categorical": list(told.categorical),
            "continuous": told.continuous,
        },
        "kimg": 1.0,
    }
    path = project / "results/models" / name / "generator.safetensors"
    models.save(net, about, path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    save_model(tmp_path, "animals")
    return tmp_path


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as client:
        yield client


def post(client: TestClient, path: str, /, **body: Any) -> Any:
    return client.post(path, json=body, headers=OWN)


def make(client: TestClient, **settings: Any) -> Any:
    asked = {"model": "animals", "seed": 5, "count": 3, "truncation": 1.0} | settings
    return post(client, "/api/generate", **asked)


def pixels(client: TestClient, name: str) -> Any:
    data = client.get(f"/samples/{name}.png").content
    return np.asarray(Image.open(io.BytesIO(data)))


def said(client: TestClient, name: str) -> Any:
    return client.get(f"/samples/{name}.json").json()


# --- models --------------------------------------------------------------------------------------


def test_with_nothing_trained_the_example_makes_pictures(tmp_path: Path) -> None:
    assert EXAMPLE_FILE.stat().st_size < 3_000_000
    with TestClient(create_app(Studio(tmp_path, None)), base_url=ADDRESS) as client:
        listed = client.get("/api/models").json()["models"]
        assert [(one["name"], one["example"]) for one in listed] == [(EXAMPLE, True)]
        (name,) = make(client, model=EXAMPLE, count=1).json()["pictures"]
        assert pixels(client, name).shape == (32, 32, 3)
        assert pixels(client, name).std() > 20


def test_a_damaged_model_is_named_and_the_others_work(project: Path, client: TestClient) -> None:
    broken = save_model(project, "broken")
    broken.write_bytes(broken.read_bytes()[:-100])
    save_model(project, "html").write_bytes(b"<html>" * 100)
    listed = {one["name"]: one["problem"] for one in client.get("/api/models").json()["models"]}
    assert listed["animals"] is None
    assert "broken/generator.safetensors: damaged" in listed["broken"]
    assert "html/generator.safetensors: damaged" in listed["html"]
    answer = make(client, model="broken")
    assert answer.status_code == 422
    assert "broken/generator.safetensors" in answer.json()["problem"]
    assert make(client).status_code == 200


def test_a_model_is_read_again_when_it_was_trained_again(project: Path, client: TestClient) -> None:
    (before,) = make(client, count=1).json()["pictures"]
    save_model(project, "animals", seed=2)
    (after,) = make(client, count=1).json()["pictures"]
    assert before != after
    assert (pixels(client, before) != pixels(client, after)).any()
    assert said(client, before)["v"] == said(client, after)["v"]


@pytest.mark.parametrize("name", ["../animals", "nothing", "animals/../../x", "ganloom/../kene"])
def test_a_models_name_is_no_path(client: TestClient, name: str) -> None:
    answer = make(client, model=name)
    assert answer.status_code == 422
    assert "there is no model" in answer.json()["problem"]


# --- generating ----------------------------------------------------------------------------------


def test_the_same_settings_make_the_same_pictures_as_the_command(
    project: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = make(client, truncation=0.5, label="dog").json()["pictures"]
    assert names == make(client, truncation=0.5, label="dog").json()["pictures"]
    monkeypatch.chdir(project)
    out = ["-n", "3", "--seed", "5", "--truncation", "0.5", "--class", "dog", "--out", "out"]
    main(["generate", "--model", "animals", *out])
    for i, name in enumerate(names):
        assert (pixels(client, name) == np.asarray(Image.open(f"out/animals_{i}.png"))).all()


def test_a_picture_says_how_to_make_it_again(project: Path, client: TestClient) -> None:
    name = make(client, codes=[2, -0.5], label="cat").json()["pictures"][1]
    known = said(client, name)
    assert known["made"] == {
        "seed": 5, "count": 3, "truncation": 1.0, "label": "cat", "codes": [2, -0.5], "number": 1,
    }  # fmt: skip
    assert known["z"] == known["v"][:16]
    assert known["v"][16:] == [1, 0, 0, 0, 0, 1, 0, -0.5]
    data = client.get(f"/samples/{name}.png").content
    assert json.loads(Image.open(io.BytesIO(data)).text["ganloom"]) == known
    net, _ = models.load_generator(
        project / "results/models/animals/generator.safetensors", torch.device("cpu")
    )
    with torch.no_grad():
        again = models.to_uint8(net(torch.tensor([known["v"]])))[0]
    assert (again == pixels(client, name)).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"count": 65}, "count"),
        ({"count": 0}, "count"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"truncation": 0}, "truncation"),
        ({"label": "cow"}, "class 'cow' is not possible; classes: cat, dog"),
        ({"codes": [0]}, "this model has 2, not 1"),
        ({"codes": [4, 0]}, "no number from 0 to 3"),
        ({"codes": [0.5, 0]}, "no number from 0 to 3"),
        ({"codes": [0, 1.5]}, "not between -1 and 1"),
        ({"other": 1}, "other"),
    ],
)
def test_settings_out_of_range_are_refused(
    client: TestClient, wrong: dict[str, Any], words: str
) -> None:
    answer = make(client, **wrong)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]


@pytest.mark.parametrize("path", ["generate", "keep", "forget", "mix"])
def test_another_sites_page_makes_nothing(client: TestClient, path: str) -> None:
    headers = OWN | {"origin": "http://evil.example"}
    assert client.post(f"/api/{path}", json={}, headers=headers).status_code == 403


# --- keeping -------------------------------------------------------------------------------------


def test_what_is_kept_is_there_after_a_restart(project: Path, client: TestClient) -> None:
    first, second, _ = make(client).json()["pictures"]
    before = client.get(f"/samples/{second}.png").content
    for name in (first, second):
        assert post(client, "/api/keep", name=name).status_code == 200
    post(client, "/api/forget", name=first)
    with TestClient(create_app(Studio(project, None)), base_url=ADDRESS) as again:
        kept = again.get("/api/kept").json()["kept"]
        assert [(one["name"], one["model"]) for one in kept] == [(second, "animals")]
        assert again.get(f"/samples/{second}.png").content == before
        assert again.get(f"/samples/{first}.png").status_code == 422
    assert sorted(p.suffix for p in (project / "work/studio/kept").iterdir()) == [".json", ".png"]


@pytest.mark.parametrize("name", ["../../params", "0" * 20, "x", ""])
def test_a_pictures_name_is_no_path(client: TestClient, name: str) -> None:
    answer = post(client, "/api/keep", name=name)
    assert answer.status_code == 422
    assert "make it again" in answer.json()["problem"]


def test_a_damaged_kept_picture_is_left_out(project: Path, client: TestClient) -> None:
    (name, *_) = make(client).json()["pictures"]
    post(client, "/api/keep", name=name)
    folder = project / "work/studio/kept"
    shutil.copy(folder / f"{name}.png", folder / f"{'1' * 20}.png")
    for wrong in ("[]", "{}", "no json", json.dumps(said(client, name) | {"v": ["x"]})):
        (folder / f"{'1' * 20}.json").write_text(wrong)
        assert [one["name"] for one in client.get("/api/kept").json()["kept"]] == [name]


# --- mixing --------------------------------------------------------------------------------------


def mix(client: TestClient, **settings: Any) -> Any:
    asked = {"model": "animals", "path": "slerp", "transitions": 2, "interpolations": 3}
    return post(client, "/api/mix", **asked | settings)


def strip(client: TestClient, **settings: Any) -> Any:
    """The pictures of a mix: (rows, columns, R, R, 3)."""
    answer = mix(client, **settings)
    assert answer.status_code == 200, answer.json()
    data = client.get(f"/mixes/{answer.json()['name']}.png").content
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    rows, columns = sheet.shape[0] // 16, sheet.shape[1] // 16
    return sheet.reshape(rows, 16, columns, 16, 3).swapaxes(1, 2)


def single(client: TestClient, seed: int, **settings: Any) -> Any:
    (name,) = make(client, seed=seed, count=1, **settings).json()["pictures"]
    return pixels(client, name)


def test_each_row_leads_from_a_seed_to_a_seed(client: TestClient) -> None:
    rows = strip(client, ends=[{"seed": 3}, {"seed": 70}])
    assert rows.shape[:2] == (2, 5)
    for i, row in enumerate(rows):
        assert (row[0] == single(client, 3 + i)).all()
        assert (row[-1] == single(client, 70 + i)).all()
        assert len({picture.tobytes() for picture in row}) == 5


def test_a_straight_path_is_another_one(client: TestClient) -> None:
    ends = [{"seed": 3}, {"seed": 70}]
    round_way, straight = (strip(client, ends=ends, path=path) for path in ("slerp", "linear"))
    same = (round_way == straight).all(axis=(0, 2, 3, 4))
    assert same.tolist() == [True, False, False, False, True]


def test_from_class_to_class_all_else_stays(client: TestClient) -> None:
    rows = strip(client, classes=["cat", "dog"], seed=9)
    assert rows.shape[:2] == (2, 5)
    assert len({picture.tobytes() for picture in rows[0]}) == 5
    back = strip(client, classes=["dog", "cat"], seed=9)
    assert (rows == back[:, ::-1]).all()


def test_a_kept_picture_is_an_end(project: Path, client: TestClient) -> None:
    first, *_ = make(client).json()["pictures"]
    post(client, "/api/keep", name=first)
    rows = strip(client, ends=[{"kept": first}, {"seed": 1}])
    assert (rows[:, 0] == pixels(client, first)).all()
    save_model(project, "animals", seed=2)
    answer = mix(client, ends=[{"kept": first}, {"seed": 1}])
    assert answer.status_code == 400
    assert "an earlier training" in answer.json()["problem"]


def test_a_mix_moves_there_and_back(client: TestClient) -> None:
    name = mix(client, ends=[{"seed": 3}, {"seed": 70}]).json()["name"]
    moving = Image.open(io.BytesIO(client.get(f"/mixes/{name}.gif").content))
    assert moving.n_frames == 94
    assert moving.info["loop"] == 0
    frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(moving)]
    assert (frames[1] == frames[-1]).all()
    assert (frames[1] != frames[47]).any()
    with av.open(io.BytesIO(client.get(f"/mixes/{name}.mp4").content)) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == 94
    assert client.get("/mixes/nothing.gif").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"transitions": 11, "ends": [{"seed": 1}, {"seed": 2}]}, "transitions"),
        ({"interpolations": 0, "ends": [{"seed": 1}, {"seed": 2}]}, "interpolations"),
        ({"path": "zigzag", "ends": [{"seed": 1}, {"seed": 2}]}, "path"),
        ({}, "either ends or classes"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "classes": ["cat", "dog"]}, "either"),
        ({"ends": [{"seed": 1}]}, "ends"),
        ({"ends": [{"seed": 1}, {}]}, "an end is a seed or a kept picture"),
        ({"classes": ["cat", "cow"]}, "class 'cow' is not possible"),
    ],
)
def test_a_mix_out_of_range_is_refused(
    client: TestClient, wrong: dict[str, Any], words: str
) -> None:
    answer = mix(client, **wrong)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]
