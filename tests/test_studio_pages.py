"""The pages Generate, Mix and Edit: responses of the server."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
import torch
from conftest import full_disk
from PIL import Image, ImageSequence
from starlette.testclient import TestClient

from ganloom import models, params
from ganloom.cli import main
from ganloom.images import encoding
from ganloom.images.shards import sha256
from ganloom.nets.inputs import Inputs
from ganloom.sampling import inversion
from ganloom.sampling.directions import directions
from ganloom.sampling.predictor import InputPredictor, PredictorInfo
from ganloom.studio import editing
from ganloom.studio.app import Studio, create_app
from ganloom.studio.generators import EXAMPLE, EXAMPLE_FILE

ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:8765"
OWN = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
TOLD = Inputs(latent=16, classes=3, categorical=(4,), continuous=1)
CLASSES = ["cat", "dog", "<b>owl</b>"]


def save_model(project: Path, name: str, told: Inputs = TOLD, seed: int = 1) -> Path:
    """An untrained generator of 16 px with three classes and two codes."""
    spec = params.DcganGenerator(
        kind="dcgan", channels=4, latent=told.latent, norm="batch", dropout=0.0,
        dropout_kind="element",
    )  # fmt: skip
    torch.manual_seed(seed)
    condition: Literal["onehot"] | None = "onehot" if told.classes else None
    net = models.build_generator(spec, 16, told, condition)
    for weights in net.parameters():  # fresh ones hardly show what they are told
        torch.nn.init.normal_(weights, 0, 0.3)
    about = models.GeneratorInfo(
        model=name,
        resolution=16,
        generator=spec,
        condition=condition,
        classes=CLASSES[: told.classes],
        inputs=told,
        kimg=1.0,
    )
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


def test_bundled_generator_is_used_before_training(tmp_path: Path) -> None:
    assert EXAMPLE_FILE.stat().st_size < 3_000_000
    with TestClient(create_app(Studio(tmp_path, None)), base_url=ADDRESS) as client:
        listed = client.get("/api/models").json()["models"]
        assert [(one["name"], one["example"]) for one in listed] == [(EXAMPLE, True)]
        (name,) = make(client, model=EXAMPLE, count=1).json()["pictures"]
        assert pixels(client, name).shape == (32, 32, 3)
        assert pixels(client, name).std() > 20


def test_damaged_model_is_named_and_others_work(project: Path, client: TestClient) -> None:
    broken = save_model(project, "broken")
    broken.write_bytes(broken.read_bytes()[:-100])
    save_model(project, "html").write_bytes(b"<html>" * 100)
    listed = {one["name"]: one["problem"] for one in client.get("/api/models").json()["models"]}
    assert listed["animals"] is None
    assert "broken/generator.safetensors is damaged" in listed["broken"]
    assert "html/generator.safetensors is damaged" in listed["html"]
    answer = make(client, model="broken")
    assert answer.status_code == 422
    assert "broken/generator.safetensors" in answer.json()["problem"]
    assert make(client).status_code == 200


def test_retrained_model_is_reloaded(project: Path, client: TestClient) -> None:
    (before,) = make(client, count=1).json()["pictures"]
    save_model(project, "animals", seed=2)
    (after,) = make(client, count=1).json()["pictures"]
    assert before != after
    assert (pixels(client, before) != pixels(client, after)).any()
    assert said(client, before)["v"] == said(client, after)["v"]


@pytest.mark.parametrize("name", ["../animals", "nothing", "animals/../../x", "ganloom/../kene"])
def test_model_name_must_not_be_a_path(client: TestClient, name: str) -> None:
    answer = make(client, model=name)
    assert answer.status_code == 422
    assert "there is no model" in answer.json()["problem"]


# --- generating ----------------------------------------------------------------------------------


def test_page_and_command_generate_the_same_images(
    project: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = make(client, truncation=0.5, label="dog").json()["pictures"]
    assert names == make(client, truncation=0.5, label="dog").json()["pictures"]
    monkeypatch.chdir(project)
    out = ["-n", "3", "--seed", "5", "--truncation", "0.5", "--class", "dog", "--out", "out"]
    main(["generate", "--model", "animals", *out])
    for i, name in enumerate(names):
        assert (pixels(client, name) == np.asarray(Image.open(f"out/dog/animals_{i}.png"))).all()


def test_generated_png_contains_its_settings(project: Path, client: TestClient) -> None:
    name = make(client, codes=[2, -0.5], label="cat").json()["pictures"][1]
    known = said(client, name)
    assert known["made"] == {
        "seed": 5, "count": 3, "truncation": 1.0, "label": "cat", "codes": [2, -0.5], "number": 1,
    }  # fmt: skip
    assert known["z"] == known["v"][:16]
    assert known["v"][16:] == [1, 0, 0, 0, 0, 1, 0, -0.5]
    data = client.get(f"/samples/{name}.png").content
    assert json.loads(Image.open(io.BytesIO(data)).info["ganloom"]) == known
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
        ({"label": "cow"}, "class 'cow' does not exist; classes: cat, dog"),
        ({"codes": [0]}, "this model has 2 codes, not 1"),
        ({"codes": [4, 0]}, "not an integer from 0 to 3"),
        ({"codes": [0.5, 0]}, "not an integer from 0 to 3"),
        ({"codes": [0, 1.5]}, "not between -1 and 1"),
        ({"other": 1}, "other"),
    ],
)
def test_generate_settings_out_of_range_are_refused(
    client: TestClient, wrong: dict[str, Any], words: str
) -> None:
    answer = make(client, **wrong)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]


@pytest.mark.parametrize("path", ["generate", "keep", "forget", "mix"])
def test_cross_site_generation_is_refused(client: TestClient, path: str) -> None:
    headers = OWN | {"origin": "http://evil.example"}
    assert client.post(f"/api/{path}", json={}, headers=headers).status_code == 403


# --- keeping -------------------------------------------------------------------------------------


def test_saved_samples_survive_a_restart(project: Path, client: TestClient) -> None:
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


def test_full_disk_leaves_no_partial_sample(project: Path, client: TestClient) -> None:
    (name, *_) = make(client).json()["pictures"]
    with full_disk(100):
        answer = post(client, "/api/keep", name=name)
    assert (answer.status_code, "File too large" in answer.json()["problem"]) == (500, True)
    assert list((project / "work/studio/kept").iterdir()) == []


@pytest.mark.parametrize("name", ["../../params", "0" * 20, "x", ""])
def test_sample_name_must_not_be_a_path(client: TestClient, name: str) -> None:
    answer = post(client, "/api/keep", name=name)
    assert answer.status_code == 422
    assert "create it again" in answer.json()["problem"]


def test_damaged_saved_sample_is_ignored(project: Path, client: TestClient) -> None:
    (name, *_) = make(client).json()["pictures"]
    post(client, "/api/keep", name=name)
    folder = project / "work/studio/kept"
    shutil.copy(folder / f"{name}.png", folder / f"{'1' * 20}.png")
    for wrong in ("[]", "{}", "no json", "[" * 9999, json.dumps(said(client, name) | {"v": ["x"]})):
        (folder / f"{'1' * 20}.json").write_text(wrong)
        assert [one["name"] for one in client.get("/api/kept").json()["kept"]] == [name]


# --- mixing --------------------------------------------------------------------------------------


def mix(client: TestClient, **settings: Any) -> Any:
    asked = {"model": "animals", "path": "slerp", "transitions": 2, "interpolations": 3}
    return post(client, "/api/mix", **asked | settings)


def strip(client: TestClient, **settings: Any) -> Any:
    """Images of a mix: (rows, columns, R, R, 3)."""
    answer = mix(client, **settings)
    assert answer.status_code == 200, answer.json()
    data = client.get(f"/mixes/{answer.json()['name']}.png").content
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    rows, columns = sheet.shape[0] // 16, sheet.shape[1] // 16
    return sheet.reshape(rows, 16, columns, 16, 3).swapaxes(1, 2)


def single(client: TestClient, seed: int, **settings: Any) -> Any:
    (name,) = make(client, seed=seed, count=1, **settings).json()["pictures"]
    return pixels(client, name)


def test_each_mix_row_connects_two_seeds(client: TestClient) -> None:
    rows = strip(client, ends=[{"seed": 3}, {"seed": 70}])
    assert rows.shape[:2] == (2, 5)
    for i, row in enumerate(rows):
        assert (row[0] == single(client, 3 + i)).all()
        assert (row[-1] == single(client, 70 + i)).all()
        assert len({picture.tobytes() for picture in row}) == 5


def test_linear_path_differs_from_spherical_path(client: TestClient) -> None:
    ends = [{"seed": 3}, {"seed": 70}]
    round_way, straight = (strip(client, ends=ends, path=path) for path in ("slerp", "linear"))
    same = (round_way == straight).all(axis=(0, 2, 3, 4))
    assert same.tolist() == [True, False, False, False, True]


def test_class_mix_keeps_other_inputs(client: TestClient) -> None:
    rows = strip(client, classes=["cat", "dog"], seed=9)
    assert rows.shape[:2] == (2, 5)
    assert len({picture.tobytes() for picture in rows[0]}) == 5
    back = strip(client, classes=["dog", "cat"], seed=9)
    assert (rows == back[:, ::-1]).all()


def test_saved_sample_can_be_an_end_of_a_mix(project: Path, client: TestClient) -> None:
    first, *_ = make(client).json()["pictures"]
    post(client, "/api/keep", name=first)
    rows = strip(client, ends=[{"kept": first}, {"seed": 1}])
    assert (rows[:, 0] == pixels(client, first)).all()
    save_model(project, "animals", seed=2)
    answer = mix(client, ends=[{"kept": first}, {"seed": 1}])
    assert answer.status_code == 400
    assert "an earlier training" in answer.json()["problem"]


def test_mix_film_goes_there_and_back(client: TestClient) -> None:
    name = mix(client, ends=[{"seed": 3}, {"seed": 70}]).json()["name"]
    moving = Image.open(io.BytesIO(client.get(f"/mixes/{name}.gif").content))
    assert moving.info["loop"] == 0
    frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(moving)]
    assert len(frames) == 94
    assert (frames[1] == frames[-1]).all()
    assert (frames[1] != frames[47]).any()
    with av.open(io.BytesIO(client.get(f"/mixes/{name}.mp4").content), "r") as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert len(list(video.decode(video=0))) == 94
    assert client.get("/mixes/nothing.gif").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"transitions": 11, "ends": [{"seed": 1}, {"seed": 2}]}, "transitions"),
        ({"interpolations": 0, "ends": [{"seed": 1}, {"seed": 2}]}, "interpolations"),
        ({"path": "zigzag", "ends": [{"seed": 1}, {"seed": 2}]}, "path"),
        ({}, "give either ends or classes"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "classes": ["cat", "dog"]}, "either"),
        ({"ends": [{"seed": 1}]}, "ends"),
        ({"ends": [{"seed": 1}, {}]}, "an end needs a seed or a kept sample"),
        ({"classes": ["cat", "cow"]}, "class 'cow' does not exist"),
    ],
)
def test_mix_settings_out_of_range_are_refused(
    client: TestClient, wrong: dict[str, Any], words: str
) -> None:
    answer = mix(client, **wrong)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]


# --- editing -------------------------------------------------------------------------------------

BINARY = OWN | {"content-type": "application/octet-stream"}


def picture(side: int = 40, extra: int = 0) -> bytes:
    """A photograph: red on the left, blue on the right, grey where only a wide one reaches."""
    tile = np.full((side, side + 2 * extra, 3), 128, np.uint8)
    tile[:, extra : extra + side // 2] = (220, 30, 30)
    tile[:, extra + side // 2 : extra + side] = (30, 30, 220)
    return encoding.png(tile)


def upload(client: TestClient, data: bytes, **options: Any) -> Any:
    asked: dict[str, Any] = {"model": "animals", "steps": 30, "loss": "mse"} | options
    return client.post("/api/photo", params=asked, content=data, headers=BINARY)


def outcome(client: TestClient) -> Any:
    while (search := client.get("/api/photo").json()["search"])["state"] == "running":
        pass
    return search


def test_uploaded_photograph_is_reconstructed(client: TestClient) -> None:
    """A sample of the generator can be reconstructed."""
    (name,) = make(client, count=1).json()["pictures"]
    photo = client.get(f"/samples/{name}.png").content
    assert upload(client, photo, steps=200).status_code == 200
    search = outcome(client)
    assert search["state"] == "done"
    assert search["psnr"] > 25
    assert said(client, search["name"])["made"]["photo"] == sha256(photo)
    shown = client.get(f"/photos/{search['id']}.png").content
    assert (np.asarray(Image.open(io.BytesIO(shown))) == pixels(client, name)).all()
    assert client.get(f"/photos/{search['id']}/now.png").status_code == 200


def test_photograph_is_cropped_to_its_centre(client: TestClient) -> None:
    upload(client, picture(extra=30), steps=1)
    search = outcome(client)
    shown = client.get(f"/photos/{search['id']}.png").content
    seen = np.asarray(Image.open(io.BytesIO(shown)))
    assert seen.shape == (16, 16, 3)
    assert np.allclose(seen[:, 0], (220, 30, 30), atol=15)
    assert np.allclose(seen[:, -1], (30, 30, 220), atol=15)


def test_inversion_can_be_cancelled_and_does_not_block(client: TestClient) -> None:
    assert upload(client, picture(), steps=2000).json()["search"]["state"] == "running"
    again = upload(client, picture())
    assert again.status_code == 409
    assert "cancel it first" in again.json()["problem"]
    assert make(client).status_code == 200
    assert post(client, "/api/cancel").json()["search"]["state"] == "cancelled"
    assert upload(client, picture()).status_code == 200
    assert outcome(client)["state"] == "done"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"<html><body>", "not an image: an HTML page"),
        (picture()[:60], "truncated PNG|broken PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "broken PNG"),
    ],
)
def test_invalid_upload_is_refused_with_a_message(
    client: TestClient, data: bytes, words: str
) -> None:
    answer = upload(client, data)
    assert answer.status_code == 422
    assert re.search(words, answer.json()["problem"])
    assert client.get("/api/photo").json()["search"] is None


def test_oversized_photograph_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "MAX_BYTES", 1000)
    assert upload(client, b"x" * 1001).status_code == 413
    monkeypatch.setattr(editing, "MAX_PIXELS", 1000)
    answer = upload(client, picture())
    assert answer.status_code == 422
    assert answer.json()["problem"] == "too many pixels: 40x40, more than 1000"


def test_failed_inversion_is_reported(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(inversion, "invert", fail)
    upload(client, picture())
    search = outcome(client)
    assert (search["state"], search["problem"]) == (
        "failed",
        "the search failed: out of memory",
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"origin": "http://evil.example"}, 403), ({"content-type": "text/plain"}, 415)],
)
def test_cross_site_upload_is_refused(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/api/photo", content=picture(), headers=BINARY | headers)
    assert answer.status_code == status


def test_inversion_starts_from_the_predictor_or_names_a_damaged_one(
    project: Path, client: TestClient
) -> None:
    net = InputPredictor(4, 16, TOLD)
    path = project / "results/inversions/animals/predictor.safetensors"
    info = PredictorInfo(model="animals", resolution=16, channels=4, inputs=TOLD)
    models.save(net, info, path)
    upload(client, picture())
    search = outcome(client)
    assert (search["state"], search["note"]) == ("done", "")
    assert said(client, search["name"])["made"]["predictor"] is True
    path.write_bytes(b"x")
    upload(client, picture())
    search = outcome(client)
    assert search["state"] == "done"
    assert (
        "predictor.safetensors is damaged or not the predictor of this generator" in search["note"]
    )


def edit(client: TestClient, name: str, **changes: Any) -> Any:
    asked = {"model": "animals", "name": name, "codes": [], "directions": []}
    return post(client, "/api/edit", **asked | changes)


def test_edits_are_applied_in_steps(client: TestClient) -> None:
    (name,) = make(client, count=1, label="cat", codes=[0, 0]).json()["pictures"]
    before = said(client, name)["v"]
    (same,) = {edit(client, name).json()["name"], edit(client, name).json()["name"]}
    assert said(client, same)["v"] == before
    assert (pixels(client, same) == pixels(client, name)).all()

    half = said(client, edit(client, name, label="dog", strength=0.5).json()["name"])["v"]
    assert half == [*before[:16], 0.5, 0.5, 0, *before[19:]]
    coded = said(client, edit(client, name, codes=[3, -1]).json()["name"])["v"]
    assert coded == [*before[:19], 0, 0, 0, 1, -1]

    moved = edit(client, name, directions=[0, 2]).json()["name"]
    once = np.array(said(client, moved)["z"]) - before[:16]
    twice = np.array(said(client, edit(client, name, directions=[0, 4]).json()["name"])["z"])
    assert np.allclose(twice - before[:16], 2 * once, atol=1e-5)
    assert (pixels(client, moved) != pixels(client, name)).any()
    assert said(client, moved)["made"]["edited"]["from"] == name

    both = client.get(f"/compared/{name}/{moved}.png").content
    sheet = np.asarray(Image.open(io.BytesIO(both)))
    assert (sheet == np.concatenate([pixels(client, n) for n in (name, moved)], axis=1)).all()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"directions": [7]}, 400),
        ({"directions": [0] * 9}, 400),
        ({"label": "cow"}, 400),
        ({"strength": 2}, 400),
        ({"codes": [1]}, 400),
        ({"name": "0" * 20}, 422),
        ({"model": "ganloom/kene"}, 400),
    ],
)
def test_edit_out_of_range_is_refused(
    client: TestClient, wrong: dict[str, Any], status: int
) -> None:
    (name,) = make(client, count=1).json()["pictures"]
    assert edit(client, **{"name": name} | wrong).status_code == status


def test_directions_are_principal_components_of_the_first_layer() -> None:
    told = Inputs(latent=4)
    dense = torch.nn.Linear(4, 10, bias=False)
    with torch.no_grad():
        weights = torch.linalg.qr(torch.randn(10, 4, generator=torch.Generator().manual_seed(1)))
        dense.weight.copy_(weights.Q * torch.tensor([1.0, 9.0, 3.0, 0.1]))
    net = models.Generator(torch.nn.Identity(), torch.nn.Sequential(dense), told)
    found = directions(net, 2, seed=3)
    assert torch.equal(found, directions(net, 2, seed=3))
    expected = torch.eye(4)[[1, 2]]
    assert torch.allclose(found, expected, atol=0.1)
