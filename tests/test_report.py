"""The report: one page that is complete, safe and readable."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dvc.config
import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from dvc_render import VegaRenderer, render_html
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from ruamel.yaml import YAML

from ganloom import params
from ganloom.images import encoding, sheets
from ganloom.images.shards import sha256, write_shards
from ganloom.report import figures, leftovers, models, originals
from ganloom.report.build import build
from ganloom.report.copies import copying
from ganloom.report.figures import EncodedImage
from ganloom.report.revisions import Version

ROOT = Path(__file__).parents[1]
HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7 * 7 }}"""
MANIFEST = (
    *("id", "source", "query", "url", "page", "title", "creator", "licence", "licence_url"),
    *("label", "error", "sha256", "bytes", "width", "height", "mime"),
)
SIDE = 16


# --- a small finished run ------------------------------------------------------------------------


def weave(n: int, side: int, width: int | None = None) -> NDArray[np.uint8]:
    """The n-th of endless stepped patterns: (side, width, 3)."""
    rng = np.random.default_rng([7, n])
    ground, line = rng.integers(0, 256, (2, 3))
    y, x = np.mgrid[:side, : width or side] * (8 + n % 5) // side
    on = ((x * (1 + n % 3) ^ y) + n) % 3 == 0
    return np.where(on[..., None], line, ground).astype(np.uint8)


def tiles(count: int, columns: int, first: int = 0) -> NDArray[np.uint8]:
    return sheets.grid(np.stack([weave(first + n, SIDE) for n in range(count)]), columns)


def candidate(n: int, **known: str) -> dict[str, str]:
    row = dict.fromkeys(MANIFEST, "") | {
        "id": f"kene/{n:04d}",
        "source": "kene",
        "url": f"kene:{n}",
        "licence": "CC0-1.0",
        "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
        "title": f"Cloth {n}",
    }
    return row | known


def write_table(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False, lineterminator="\n")


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_collection(project: Path) -> None:
    """20 candidates: 2 damaged, 1 exact copy; of 17, 2 near-duplicates and 1 blank; 14 kept."""
    data = project / "data"
    pictures = [encoding.png(weave(n, 60, 80)) for n in range(17)]
    hashes = [sha256(picture) for picture in pictures]
    write_shards(data / "raw", ((h, "png", p) for h, p in zip(hashes, pictures, strict=True)))
    rows = [candidate(n, sha256=sha256) for n, sha256 in enumerate([*hashes, hashes[0]])]
    rows[0] |= {"title": HOSTILE, "page": "javascript:alert(3)", "creator": HOSTILE}
    rows[1] |= {"page": "https://example.org/cloth?a=1&b=2", "creator": "Weaver"}
    rows[2] |= {"licence": HOSTILE, "licence_url": "javascript:alert(4)", "source": HOSTILE}
    rows += [candidate(18, error="truncated JPEG"), candidate(19, error=HOSTILE)]
    write_table(data / "manifest.csv", rows, MANIFEST)
    keepers = [*hashes[:15], hashes[0], hashes[0]]
    write_table(
        data / "clusters.csv",
        [
            {"sha256": h, "cluster": k, "keeper": str(h == k).lower(), "distance": "0"}
            for h, k in zip(hashes, keepers, strict=True)
        ],
        ("sha256", "cluster", "keeper", "distance"),
    )
    write_table(
        data / "kept.csv",
        [
            {"sha256": h, "label": HOSTILE, "split": "holdout" if n > 10 else "train"}
            for n, h in enumerate(hashes[:14])
        ],
        ("sha256", "label", "split"),
    )
    reasons = ["blank: contrast 1.2", *[f"near-duplicate of {hashes[0][:12]}"] * 2]
    write_table(
        data / "dropped.csv",
        [{"sha256": h, "reason": r} for h, r in zip(hashes[14:], reasons, strict=True)],
        ("sha256", "reason"),
    )
    slices = data / "slices"
    slices.mkdir()
    np.save(slices / "images.npy", np.stack([weave(n, SIDE) for n in range(11)]))
    pd.DataFrame(
        {
            "image": [n % 11 for n in range(1234)],
            "symmetry": np.array([n // 11 % 8 for n in range(1234)], np.uint8),
            "sha256": [hashes[n % 11] for n in range(1234)],
            "label": HOSTILE,
            "x": 40.0,
            "y": 30.0,
            "side": 24.0,
            "angle": [n % 7 * 5.0 for n in range(1234)],
        }
    ).to_parquet(slices / "index.parquet")
    encoding.save_png(tiles(24, 8), slices / "preview.png")


def make_model(project: Path, name: str, kid: float) -> None:
    home, samples = project / "results/models" / name, project / "results/samples" / name
    home.mkdir(parents=True)
    rows = [(step, 2.5 * step, 1 / step) for step in range(1, 25)]
    for metric, column in (("kimg", 1), ("loss_g", 2), ("loss_d", 2)):
        path = home / f"history/plots/metrics/{metric}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step\t{metric}\n" + "".join(f"{row[0]}\t{row[column]}\n" for row in rows))
    timeline = [{"file": f"kimg_{n:06d}.0.png", "kimg": n * 2.5} for n in range(5)]
    for n, frame in enumerate(timeline):
        encoding.save_png(tiles(9, 3, first=9 * n), home / "timeline" / str(frame["file"]))
    write_json(home / "timeline/timeline.json", timeline)
    write_json(
        home / "run.json",
        {
            "images_per_second": 987.0,
            "seconds": 125.2,
            "parameters": {"generator": 4321, "discriminator": 81},
            "cpu": HOSTILE,
            **({} if name == "dcgan" else {"warm_up": {"kimg": 440.0, "seconds": 602.0}}),
        },
    )
    kids = {10.0: 0.09, 25.0: kid, 60.0: 0.07}
    layer = {"name": "net.0", "kind": "Linear", "output": [[64, 4, 4]], "parameters": 1234}
    write_json(
        home / "architecture.json",
        {"generator": [layer, layer | {"name": "net.1"}], "discriminator": [layer]},
    )
    looks = [
        {"tick": n, "kimg": kimg, "kid": value, "feature_distance": 0.4 + n / 10, "recall": n / 9}
        for n, (kimg, value) in enumerate(kids.items())
    ]
    write_json(
        home / "judgement.json",
        {
            "against": "96 pictures of one half of the holdout",
            "looks": looks,
            "chosen": {"kimg": 25.0, "why": "It had the lowest KID of 3 looks."},
            "stopped": "Training ended at 60 of 90 kimg.",
            "alarms": [{"sentence": f"At 10 kimg: {HOSTILE}."}] if name == "dcgan" else [],
        },
    )
    encoding.save_png(tiles(16, 4), samples / "grid.png")
    encoding.save_png(tiles(20, 10), samples / "interpolation.png")
    inversions = project / "results/inversions" / name
    for picture in ("classes", "class_morph", "codes"):
        encoding.save_png(tiles(20, 10), samples / f"{picture}.png")
    for picture in ("inversion", "edits"):
        encoding.save_png(tiles(16, 8), inversions / f"{picture}.png")
    likeness = {"psnr": 21.25, "ms_ssim": 0.875}
    write_json(
        inversions / "inversion.json",
        {"against": "holdout", "median": likeness, "predictor": {"psnr": 12.5, "ms_ssim": 0.4}},
    )
    films = project / "results/animations" / name
    write_json(films / "classes.json", {"classes": ["maze", HOSTILE]})
    for film in ("loop", "morph", "sweep"):
        (films / f"{film}.mp4").write_bytes(b"not decoded here")
    frames = [Image.fromarray(tiles(4, 2, first=n)) for n in range(3)]
    frames[0].save(films / "loop.webp", save_all=True, append_images=frames[1:])
    metrics: dict[str, Any] = {"kid_lite2": kid, "swd": 0.04, "precision": 0.7, "coverage": 0.66}
    metrics |= {"density": 0.5 + kid}
    metrics |= {"authenticity": 0.5, "kimg": 60.0, "against": "holdout", "samples": 256}
    metrics |= {"kid_gap": 0.02, "kid_gap_std": 0.004, "logit_auc": 0.71}
    metrics |= {"path_length": 41.5, "path_detour": 1.75, "path_unevenness": 3.25}
    write_json(project / f"results/metrics/{name}.json", metrics)
    shown = {"asked": 30, "named": 0.5, "holdout": 0, "holdout_named": None, "kid": None}
    write_json(project / f"results/metrics/{name}/classes.json", [{"name": HOSTILE, **shown}])
    write_json(
        project / f"results/metrics/{name}/protocol.json",
        {
            "seed": 7,
            "measures": {"kid_lite2": "500 real pictures (holdout)"},
            "warnings": ["FD-lite2 is of 500 pictures.", f"KID is of few: {name}."],
        },
    )
    encoding.save_png(tiles(32, 8), project / f"results/metrics/{name}/neighbours.png")
    make_cloths(project / "results/cloths" / name)


def make_cloths(folder: Path) -> None:
    for name in ("enlarged", "cloth", "sample", "tile_p4m", "tile_p6m"):
        encoding.save_png(tiles(16, 4), folder / f"{name}.png")
    (folder / "loop.mp4").write_bytes(b"not decoded here")
    apart = {"kid_lite2": 0.75, "swd": 31.5, "swd_finest": 42.5}
    write_json(
        folder / "cloth.json",
        {
            "enlarged": {"32": {"bicubic": apart, "enlarger": apart | {"kid_lite2": 0.625}}},
            "sample": {"number": 5, "of": 64, "whole": False},
            "weave": {"groups": ["p4m", "p6m"]},
        },
    )


def make_enlarger(folder: Path) -> None:
    encoding.save_png(tiles(24, 8), folder / "restored.png")
    restored = {"psnr": 26.5, "ssim": 0.875, "perceptual": 0.1875}
    write_json(
        folder / "enlarger.json",
        {
            "enlarges": True,
            "originals": 11,
            "reach": 2.0,
            "resolution": 16,
            "restored": {"bicubic": restored, "enlarger": restored | {"psnr": 31.25}},
            "real": {"32": {"kid_lite2": 0.0625, "swd": 12.5, "swd_finest": 8.25}},
        },
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("run")
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    shutil.copytree(ROOT / "recipes", project / "recipes")
    make_collection(project)
    for name, kid in (("dcgan", 0.0456), ("compact", 0.0123), ("removed", 0.0001)):
        make_model(project, name, kid)
    reference = {
        "train_half": {"kid_lite2": -0.0002, "swd": 0.01, "density": 1.0, "coverage": 0.96},
        "holdout": {"kid_lite2": 0.0031, "swd": 0.02, "authenticity": 0.55},
    }
    write_json(project / "results/metrics/reference.json", {"32": reference, "16": {}})
    make_enlarger(project / "results/enlarger")
    return project


def page_of(project: Path) -> str:
    loaded = params.load(project / "params.yaml")
    about = params.Report(title=f"Weaves {HOSTILE}", about="About these.")
    return build(project, about, loaded.models, loaded.fetch)


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return page_of(project)


# --- the page ------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects tags and text; fails on a closing tag without an opening one."""

    VOID = frozenset(("meta", "img", "input", "br", "line", "path", "polygon", "circle"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def test_report_is_well_formed_with_unique_ids(read: Reader) -> None:
    assert read.open == []
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for t, a in read.tags if t == "a" and str(a["href"]).startswith("#")]
    assert {str(target)[1:] for target in targets} <= set(ids)


def test_report_loads_nothing(page: str, read: Reader) -> None:
    for tag, attributes in read.tags:
        for name in ("src", "srcset", "poster", "data", "action", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        assert "href" not in attributes or tag == "a"
    assert "@import" not in page
    assert all(start == "data:" for start in re.findall(r"url\(\s*[\"']?(.{5})", page))
    assert "default-src 'none'" in page


def test_report_images_have_alternative_texts(read: Reader) -> None:
    assert all(attributes.get("alt") for tag, attributes in read.tags if tag == "img")


def test_report_escapes_text_from_data(page: str, read: Reader) -> None:
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "javascript:" not in "".join(str(a.get("href")) for _, a in read.tags)
    assert read.text.count(HOSTILE) >= 7
    assert 'href="https://example.org/cloth?a=1&amp;b=2"' in page


def test_cloth_that_was_generated_as_a_whole_is_said_not_to_repeat(
    project: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(project, tmp_path / "copy")
    path = copy / "results/cloths/compact/cloth.json"
    facts = json.loads(path.read_text())
    facts["sample"]["whole"] = True
    write_json(path, facts)
    text = Reader(page_of(copy)).text
    assert "in the style of a single sample of compact" in text
    assert "generated as a whole, so that nothing repeats, and enlarged" in text
    assert "folded by symmetry" not in text


@pytest.mark.filterwarnings("error")
def test_report_traces_training_images(project: Path) -> None:
    traces = originals.collection(project, max_pixels=10_000).traces
    assert len(traces) == originals.TRACES
    assert {trace.original.width for trace in traces} == {320}
    assert any("turned by 270°" in trace.turned for trace in traces)
    assert any("mirrored" in trace.turned for trace in traces)


def test_report_starts_with_a_cloth_and_samples(page: str, read: Reader) -> None:
    hero = page[: page.index('id="collection"')]
    cloth = hero.index("A cloth woven from one sample of compact")
    assert cloth < hero.index("A grid of samples of the model compact")
    for words in (
        "the one of 64 samples with the highest discriminator output",
        "folded by symmetry and enlarged",
        "Random samples of compact , the best of 2 models by KID.",
    ):
        assert words in read.text


def test_report_shows_enlarger_and_cloths(read: Reader) -> None:
    pictures = [attributes["alt"] for tag, attributes in read.tags if tag == "img"]
    for name in ("dcgan", "compact"):
        assert f"The same samples of {name}, enlarged" in pictures
    assert pictures.count("A tile of the wallpaper group p6m") == 2
    for words in (
        "trained from scratch on 11 training originals",
        "32 px wide",
        "bicubic 26.5 0.875 0.188 enlarger 31.2 0.875 0.188",
        "Training originals 32 px not enlarged 0.0625 12.5 8.25",
        "dcgan 32 px enlarger 0.625 31.5 42.5",
    ):
        assert words in read.text, words


def test_report_omits_missing_enlarger_and_cloths(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(project, copy)
    shutil.rmtree(copy / "results/cloths")
    write_json(copy / "results/enlarger/enlarger.json", {"enlarges": False})
    without = Reader(page_of(copy))
    assert without.open == []
    for words in ("The enlarger", "Enlarged", "Cloth and tiles"):
        assert words not in without.text


def test_report_counts_images_after_every_step(read: Reader) -> None:
    for words in (
        "Candidates listed by the sources 20",
        "Fetched 2 could not be used 18",
        "Distinct 1 was an identical file, 2 were near-duplicates 15",
        "Kept 1 was dropped 14",
        "Training near-duplicates are never split 11",
        "Held out not used for training 3",
        "Training images 11 different crops, in 8 symmetries of the square 1,234",
        "truncated JPEG fetch 1",
        "near-duplicate curate 2",
        "blank curate 1",
    ):
        assert words in read.text


def test_report_names_best_model_and_reference(read: Reader) -> None:
    assert "Random samples of compact , the best of 2 models by KID" in read.text
    assert "0.0123 (best)" in read.text
    assert "0.0456 (best)" not in read.text
    assert "0.700 (best)" not in read.text  # both models reach it
    assert "Training images against holdout originals 0.0031" in read.text
    assert "generator 4,321 and discriminator 81 parameters · 2 min 5 s at 987 img/s" in read.text
    assert "at 987 img/s, after 10 min 2 s of warm-up" in read.text


def test_report_shows_selected_checkpoint_and_alarms(page: str, read: Reader) -> None:
    words = (
        "The model is the checkpoint at 25 kimg. It had the lowest KID of 3 looks. Training ended "
        "at 60 of 90 kimg."
    )
    assert read.text.count(words) == 2
    assert f"At 10 kimg: {HOSTILE}." in read.text
    assert read.text.count("raised an alarm") == 1
    # In each of the three charts of a model one point is marked, and KID is where it is lowest.
    marks = [tag for tag, attributes in read.tags if attributes.get("class") == "mark"]
    assert marks == ["circle"] * 6
    kid = page[page.index("<b>KID-lite2</b>") :].partition("</svg>")[0]
    lowest = max(float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", kid))
    assert f'cy="{lowest:.1f}"' in kid


def test_report_shows_only_configured_models(page: str) -> None:
    assert 'id="model-dcgan"' in page
    assert "removed" not in page


def test_report_shows_classes_codes_and_reconstructions(read: Reader) -> None:
    assert "Each row shows one latent with every class; columns: maze, " in read.text
    assert (
        "Holdout images and their reconstructions by GAN inversion (median PSNR 21.2" in read.text
    )
    assert "estimate of the predictor (median PSNR 12.5 dB, MS-SSIM 0.400)" in read.text
    for headline in ("Classes and codes", "Reconstructions"):
        assert headline in read.text


def test_report_lists_network_layers(read: Reader) -> None:
    assert "generator, 2,468 parameters" in read.text
    assert "64 × 4 × 4" in read.text


def test_report_compares_models(read: Reader) -> None:
    dots = [attrs for tag, attrs in read.tags if tag == "circle" and attrs["class"] == "dot"]
    assert len(dots) == 2
    assert "dcgan: coverage 0.660, density 0.546" in read.text
    assert "Training images: one half against the other: coverage 0.960, density 1.00" in read.text


def test_report_lists_changes_from_the_recipe(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "run")
    assert (
        "The parameters are those of the recipe recipes/kene.yaml ."
        in Reader(page_of(tmp_path / "run")).text
    )
    path = tmp_path / "run/params.yaml"
    text = path.read_text()
    path.write_text(text.replace("kimg: 36", "kimg: 37", 1).replace("\nseed: 1", "\nseed: 5"))
    words = Reader(page_of(tmp_path / "run")).text
    assert "Differences from the recipe kene : 2 values" in words
    assert "models.dcgan.kimg 36 37" in words


def test_report_names_the_copied_recipe(project: Path, tmp_path: Path) -> None:
    """The nearest recipe is `pokemon`, for a folder of images."""
    copy = tmp_path / "run"
    shutil.copytree(project, copy)
    yaml = YAML()
    values = yaml.load(copy / "params.yaml")
    values["sources"] = {"mine": {"kind": "folder", "path": "mine", "licence": "CC0-1.0"}}
    values["augment"] = {"mode": "whole", "resolution": 32, "symmetries": 2, "fit": "pad"}
    values["augment"]["border"] = None
    del values["models"]["dcgan"], values["weave"]
    with (copy / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    assert "Differences from the recipe kene :" in Reader(page_of(copy)).text
    # Without the line that names it, sections that were taken out do not count against it.
    text = (project / "params.yaml").read_text().partition("\n")[2]
    values = yaml.load(text)
    del values["models"]["dcgan"]
    with (copy / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    assert "Differences from the recipe kene :" in Reader(page_of(copy)).text


def test_report_contains_no_personal_data(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    shutil.copytree(project, tmp_path / "run")
    path = tmp_path / "run/params.yaml"
    text = path.read_text().replace("contact: null", "contact: al@example.org")
    path.write_text(text.replace("shards: null", "shards: /home/al/shards"))
    page = page_of(tmp_path / "run")
    assert "al@example.org" not in page and "/home/al" not in page
    words = Reader(page).text
    assert "Differences from the recipe kene : 1 value" in words
    assert "fetch.shards None $HOME/shards" in words
    assert "shards: $HOME/shards" in words  # every parameter


def test_report_combines_all_signs_of_copying(page: str, read: Reader) -> None:
    unseen = {"authenticity": 0.55, "authenticity_pixels": 0.9, "kid_lite2": 0.03}
    measured = {"authenticity": 0.4, "authenticity_pixels": 0.88, "samples": 256}
    found = copying(measured, unseen)
    assert found
    assert found.is_suspected
    assert found.answer.startswith("Probably: according to 1 of 2 signs, samples are closer")
    first, second = found.signs
    assert first.startswith("154 of 256 samples (60%) are closer to a training image than that")
    assert "of holdout originals, 45%. That is more than similar images explain" in first
    assert "31 of 256 samples (12%) are so in pixels, at 16 x 16 px" in second
    assert "10%. That is what similar images explain" in second
    # What chance gives so few samples is no sign.
    few = copying({"authenticity": 0.4, "samples": 20}, unseen)
    assert few
    assert few.answer == (
        "No: samples are no closer to training images than holdout originals are."
    )
    alone = copying({"authenticity": 0.4}, {})
    assert alone
    assert alone.signs == [
        "60% of the samples are closer to a training image than that image is to any other."
    ]
    assert alone.answer.startswith("Unknown: ")
    assert copying({}, unseen) is None

    def sign(**numbers: float) -> str:
        found = copying(numbers, unseen)
        assert found
        return found.signs[0]

    assert "closer to training images than by chance" in sign(kid_gap=0.02, kid_gap_std=0.004)
    assert "of training images to holdout originals is 0.0300" in sign(kid_gap=1, kid_gap_std=1)
    assert "may be chance" in sign(kid_gap=0.02, kid_gap_std=0.02)
    assert "70% of pairs" in sign(logit_auc=0.7)
    assert "has memorised training images" in sign(logit_auc=0.7)
    assert "hardly distinguishes them" in sign(logit_auc=0.52)
    # The same words on top and in the section of each model.
    answer = "No copies were found: samples are no closer to training images than holdout originals"
    assert read.text.count(answer) == 3
    assert (
        "However, 2 of 3 signs suggest that it starts to memorise"
        in page[: page.index("</header>")]
    )
    assert "128 of 256 samples (50%)" in read.text
    assert "in 71% of pairs with a holdout image" in read.text


def test_report_has_verdicts_and_repeats_the_first_at_the_top(page: str, read: Reader) -> None:
    for name in ("dcgan", "compact"):
        article = page[page.index(f'id="model-{name}"') :].partition("</article>")[0]
        conclusion = article[article.index(f'id="verdict-{name}"') :]
        assert "<details>" not in conclusion  # it is the last part
        assert "Verdict: no longer improving" in conclusion
    assert "compact: No longer improving. Its KID has not fallen since 25 of" in read.text


def test_untrained_model_is_not_marked_as_best(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(project, copy)
    path = copy / "results/metrics/compact.json"
    write_json(path, json.loads(path.read_text()) | {"kimg": 0.5})
    yaml = YAML()
    values = yaml.load(copy / "params.yaml")
    values["models"]["compact"]["warm_up"]["kimg"] = 0.5
    with (copy / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    page = page_of(copy)
    text = Reader(page).text
    assert "Random samples of dcgan , the best of 2 models by KID" in text
    assert "0.0123 (best)" not in text
    assert "0.0456 (best)" in text
    # Nothing can be told of its likeness to training images.
    assert text.count("128 of 256 samples (50%)") == 1
    path = copy / "results/metrics/dcgan.json"
    write_json(path, json.loads(path.read_text()) | {"kimg": 0.5})
    page = page_of(copy)
    text = Reader(page).text
    # Of the warm-up and of what follows it.
    assert "compact: Not trained yet. It was trained for only 124 steps" in text
    assert "(best)" not in text and "best KID" not in text and "the best of" not in text
    assert "Does it copy?" not in page[: page.index("</header>")]
    pattern = r"dvc exp run -S models.compact.warm_up.kimg=\S+ -S models.compact.kimg=28"
    assert re.search(pattern, text)


def test_report_warns_about_unreliable_metrics(read: Reader) -> None:
    assert read.text.count("FD-lite2 is of 500 pictures.") == 1  # of both models
    assert "KID is of few: dcgan." in read.text
    assert "KID is of few: removed." not in read.text
    assert read.text.count("kid_lite2 500 real pictures (holdout); seed 7") == 2
    assert (
        "Path length in features: 41.5, which is 1.8 times the distance of the two ends"
        in read.text
    )
    assert f"{HOSTILE} 30 50% 0 – –" in read.text


def test_report_shows_configured_experiments(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = encoding.png(tiles(9, 3))

    def versions(_: Path, names: list[str]) -> list[Version]:
        return [
            Version(
                name, "", {"rate": str(n), "seed": "1"}, {"dcgan": {"swd": n}}, {}, {"dcgan": grid}
            )
            for n, name in enumerate(names)
        ]

    monkeypatch.setattr("ganloom.report.build.versions", versions)
    loaded = params.load(project / "params.yaml")
    about = params.Report(title="Weaves", about="About these.", experiments=[HOSTILE])
    page = build(project, about, loaded.models, loaded.fetch)
    assert "onerror=alert(2)>" not in page
    section = Reader(
        page[page.index('<section id="experiments"') : page.index("Reproduction</h2>")]
    )
    words = " ".join(" ".join(section.words).split())
    assert f"workspace finished rate 0 {HOSTILE} finished rate 1" in words
    assert "Seed 1: the same latents in each rate 0 rate 1" in words
    alts = [attributes["alt"] for tag, attributes in section.tags if tag == "img"]
    assert alts == ["Samples of dcgan: rate 0", "Samples of dcgan: rate 1"]


def test_empty_columns_are_left_out() -> None:
    few, all_of_them = ({"m": {"kid_lite2": 0.1} | more} for more in ({}, {"fid_inception": 40.0}))
    assert [metric.name for metric in models.columns(few)] == ["KID-lite2"]
    assert [metric.name for metric in models.columns(all_of_them)] == ["KID-lite2", "FID"]


def test_report_makes_no_claims_about_missing_results(project: Path, tmp_path: Path) -> None:
    """One image of each kind and one model, without metrics, near-duplicates or evaluations."""
    bare = tmp_path / "bare"
    shutil.copytree(project, bare)
    write_json(bare / "results/metrics/reference.json", {})
    clusters = pd.read_csv(bare / "data/clusters.csv", dtype=str)
    clusters["cluster"] = clusters["sha256"]
    clusters.to_csv(bare / "data/clusters.csv", index=False)
    slices = bare / "data/slices/index.parquet"
    pd.read_parquet(slices).head(1).assign(symmetry=0, angle=0.0).to_parquet(slices)
    path = bare / "results/models/dcgan/judgement.json"
    write_json(path, json.loads(path.read_text()) | {"looks": [], "alarms": [], "stopped": ""})
    loaded = params.load(bare / "params.yaml")
    write_json(bare / "results/enlarger/enlarger.json", {"enlarges": False})
    one = {"dcgan": loaded.models["dcgan"]}
    page = build(bare, loaded.report, one, loaded.fetch)
    read = Reader(page)
    targets = {str(a["href"]) for t, a in read.tags if t == "a" and "#" in str(a["href"])}
    assert targets <= {f"#{a['id']}" for _, a in read.tags if "id" in a} | {"#content"}
    for words in (
        *("The lower rows", "those of real images", "Near-duplicates", "enlarger"),
        *(
            "Comparison",
            "nor the samples raised",
            "of all models",
            "(best)",
        ),
        *("1 models", "1 training images", "1 different crops", "1 symmetries"),
    ):
        assert words not in read.text, words
    for words in ("model 1", "training image 1", "1 different crop, in 1 symmetry of the square"):
        assert words in read.text, words
    assert "Square crops of the originals, unchanged." in read.text
    (bare / "results/metrics/dcgan.json").unlink()
    read = Reader(build(bare, loaded.report, one, loaded.fetch))
    assert "dcgan: Not evaluated." in read.text
    assert "dvc repro evaluate@dcgan" in read.text
    assert not [tag for tag, attributes in read.tags if attributes.get("class") == "metrics"]


def test_report_is_readable_when_most_is_missing(project: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(project, bare)
    for optional in (
        "data/dropped.csv",
        "results/metrics/reference.json",
        "results/metrics/dcgan.json",
        "results/samples/dcgan",
        "results/animations/dcgan",
        "results/models/dcgan/timeline",
        "results/models/dcgan/history",
        "results/models/dcgan/judgement.json",
        "results/models/dcgan/run.json",
    ):
        path = bare / optional
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = Reader(page_of(bare)).text
    assert "dcgan 32 px" in text
    assert "Made outside of Git" in text


def test_report_names_commit_and_uncommitted_changes(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (
        ("init", "-q"),
        ("add", "params.yaml", "recipes"),
        (*identity, "commit", "-qm", "first", "--no-gpg-sign"),
    ):
        subprocess.run(["git", *command], cwd=copy, check=True)
    (copy / ".gitignore").write_text("/data\n/results\n")
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=copy, check=True, capture_output=True, text=True
    )
    text = Reader(page_of(copy)).text
    assert f"git checkout {head.stdout.strip()}" in text
    assert "Uncommitted changes (1 file)" in text
    assert "The search of this run" not in text


def test_lists_of_candidates_that_the_run_wrote_are_no_uncommitted_changes(
    project: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    (copy / ".gitignore").write_text("/data/*\n!/data/candidates\n/results\n/work\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", *command], cwd=copy, check=True)
    (copy / "data/candidates").mkdir(exist_ok=True)
    (copy / "data/candidates/mine.csv").write_text("id\n")
    text = Reader(page_of(copy)).text
    assert "changes that were not committed" not in text
    assert "Uncommitted changes" not in text
    assert "The search of this run wrote data/candidates/mine.csv . Commit this with" in text


def test_report_of_ten_models_stays_small(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for noise of 64 px, which cannot be compressed."""
    encode = figures.picture

    @functools.cache  # all ten have the same pictures
    def encoded(pixels: bytes, size: tuple[int, int], side: int, limit: int) -> EncodedImage:
        return encode(Image.frombytes("RGB", size, pixels), side, limit)

    for module in (figures, models):
        monkeypatch.setattr(
            module,
            "picture",
            lambda image, side, limit: encoded(image.tobytes(), image.size, side, limit),
        )
    copy = tmp_path / "ten"
    shutil.copytree(project, copy)
    loaded = params.load(copy / "params.yaml")
    rng = np.random.default_rng(1)
    for folder in ("animations", "models", "samples", "metrics", "inversions"):
        for path in (copy / "results" / folder / "dcgan").rglob("*.png"):
            encoding.save_png(rng.integers(0, 256, (512, 512, 3), np.uint8), path)
    home = copy / "results/models/dcgan/timeline"
    frames = [{"file": "kimg_000000.0.png", "kimg": n} for n in range(25)]
    write_json(home / "timeline.json", frames)
    for film in ("loop", "morph", "sweep"):
        (copy / f"results/animations/dcgan/{film}.mp4").write_bytes(bytes(200_000))
    (copy / "results/animations/dcgan/loop.webp").write_bytes(
        (project / "results/animations/dcgan/loop.webp").read_bytes()
    )
    specs = {}
    for n in range(10):
        specs[f"m{n}"] = loaded.models["dcgan"]
        for folder in ("animations", "models", "samples", "metrics", "inversions"):
            (copy / "results" / folder / f"m{n}").symlink_to(copy / "results" / folder / "dcgan")
        (copy / f"results/metrics/m{n}.json").symlink_to(copy / "results/metrics/dcgan.json")
    assert len(build(copy, loaded.report, specs, loaded.fetch)) < 15_000_000


def test_films_share_the_size_budget(project: Path) -> None:
    films = project / "results/animations/dcgan"
    size = (films / "loop.mp4").stat().st_size
    assert list(models._films(films, 3 * size)) == ["loop", "morph", "sweep"]
    assert list(models._films(films, 2 * size)) == ["loop", "morph"]
    assert models._films(films, size - 1) == {}


# --- its parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "general"),
    [
        ("too small: 60x48", "too small"),
        ("near-duplicate of 1a2b3c4d5e6f", "near-duplicate"),
        ("list kene: off topic", "list kene: off topic"),
        ("blank", "blank"),
    ],
)
def test_report_counts_reasons_by_category(reason: str, general: str) -> None:
    assert originals.general(reason) == general


def test_crop_outline_matches_the_index() -> None:
    assert originals.outline(50, 40, 20, 0) == "40.0,30.0 60.0,30.0 60.0,50.0 40.0,50.0"
    # A quarter turn counter-clockwise: the crop's top left corner lies at the bottom left.
    assert originals.outline(50, 40, 20, 90).startswith("40.0,50.0 40.0,30.0")


def test_crop_is_described_in_words() -> None:
    assert originals.turned(0, 0) == originals.turned(-1e-9, 0) == "unchanged"
    assert originals.turned(-3.25, 5) == "rotated by -3.2°, then turned by 90°, then mirrored"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (25000, "25,000"),
        (0.01234, "0.0123"),
        (0.25, "0.250"),
        (-0.00021, "−0.0002"),
        (62.5, "62.5"),
        (4e-7, "4.0e−07"),
        (0, "0"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, words: str) -> None:
    assert figures.number(value) == words


def test_chart_skips_values_that_are_not_finite() -> None:
    points = [(0.0, 1.0), (1.0, float("nan")), (2.0, 3.0)]
    drawn = figures.chart("loss", "kimg", {"a": points})
    assert drawn is not None
    assert drawn.lines[0].path.count("M") == 2
    assert [tick.label for tick in drawn.y_ticks] == ["1", "1.5", "2", "2.5", "3"]
    assert figures.chart("loss", "kimg", {"a": [(0.0, float("inf"))]}) is None


def test_small_images_are_enlarged_by_integer_factors() -> None:
    small = figures.picture(Image.new("RGB", (32, 16)), 200, 9000)
    assert (small.width, small.height, small.pixelated) == (128, 64, True)
    large = figures.picture(Image.new("RGB", (800, 400)), 200, 9000)
    assert (large.width, large.height, large.pixelated) == (200, 100, False)


# --- in a browser --------------------------------------------------------------------------------

CHROMIUM = Path("/usr/bin/chromium")
IMPACTS = ("serious", "critical")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)


@pytest.fixture(scope="module")
def address(page: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 900, 1600])
@pytest.mark.parametrize("scripts", [True, False])
def test_report_fits_the_screen(
    chromium: Browser, address: str, width: int, scheme: Any, scripts: bool
) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        java_script_enabled=scripts,
        offline=True,
    )
    view = context.new_page()
    complaints, requests = [], []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("request", lambda request: requests.append(request.url))
    view.goto(address)
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert view.evaluate("document.documentElement.scrollWidth") == width
    light = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(247, 242, 232)") is (scheme == "light")
    # All frames of a timeline are there to scroll to; with scripts one at a time.
    frames = view.locator("#model-dcgan .strip figure")
    shown = [frame for frame in frames.all() if frame.is_visible()]
    assert len(shown) == (1 if scripts else 5)
    assert view.locator("#moment-dcgan").is_visible() is scripts
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1600])
def test_report_passes_axe(chromium: Browser, address: str, width: int, scheme: Any) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    view = context.new_page()
    view.goto(address)
    found = Axe().run(view).response["violations"]
    serious = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in IMPACTS]
    assert serious == []
    context.close()


@pytest.mark.browser
def test_timeline_responds_to_the_keyboard(chromium: Browser, address: str) -> None:
    view = chromium.new_page()
    view.goto(address)
    current = view.locator("#model-dcgan .strip figure.current")
    assert current.inner_text() == ""  # its words stand beside the slider
    assert view.locator("#model-dcgan output").inner_text() == "10 kimg"
    slider = view.locator("#moment-dcgan")
    slider.focus()
    last = current.locator("img").get_attribute("src")
    slider.press("ArrowLeft")
    assert view.locator("#model-dcgan output").inner_text() == "7.5 kimg"
    assert current.locator("img").get_attribute("src") != last
    slider.press("Home")
    assert view.locator("#model-dcgan output").inner_text() == "0 kimg"
    assert slider.get_attribute("aria-valuetext") == "0 kimg"
    view.close()


@pytest.mark.browser
def test_click_on_a_column_sorts_models(chromium: Browser, address: str) -> None:
    view = chromium.new_page()
    view.goto(address)
    table = view.locator("#comparison table.metrics")

    def names() -> list[str]:
        return table.locator("tbody th").all_inner_texts()

    kid = table.locator("thead th").filter(has_text="KID-lite2")
    references = names()[2:]
    assert names()[:2] == ["dcgan", "compact"]
    kid.get_by_role("button").focus()
    view.keyboard.press("Enter")  # the lowest first: lower is better
    assert names() == ["compact", "dcgan", *references]
    assert kid.get_attribute("aria-sort") == "ascending"
    view.keyboard.press("Enter")
    assert names() == ["dcgan", "compact", *references]
    table.locator("thead th").filter(has_text="Density").get_by_role("button").click()
    assert names() == ["dcgan", "compact", *references]  # the highest first
    assert kid.get_attribute("aria-sort") is None
    view.close()


@pytest.mark.browser
def test_dvc_plots_page_works_offline(chromium: Browser, tmp_path: Path) -> None:
    """DVC's own template loads Vega from a CDN, so that it shows no curves offline."""
    rows = [
        {"step": str(step), "loss": str(step * slope), "rev": rev}
        for rev, slope in (("HEAD", 2), ("<b>half", 3))
        for step in (1, 2, 3)
    ]
    curve = VegaRenderer(rows, "loss.tsv", x="step", y="loss", template="linear", title="loss.tsv")
    config = dvc.config.Config.load_file(str(ROOT / ".dvc/config"))
    template = ROOT / ".dvc" / config["plots"]["html_template"]
    page_of_plots = tmp_path / "index.html"
    render_html([curve], page_of_plots, html_template=template)
    tab = chromium.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page_of_plots.as_uri())
    assert asked == [page_of_plots.as_uri()]
    lines = tab.locator("polyline").evaluate_all("all => all.map(e => e.points.length)")
    assert lines == [3, 3]
    assert tab.locator(".key").all_inner_texts() == ["HEAD 6.00", "<b>half 9.00"]
    tab.close()


@pytest.mark.browser
def test_report_prints_frames_and_collapsed_sections(chromium: Browser, address: str) -> None:
    view = chromium.new_page(viewport={"width": 680, "height": 960})  # A4 within its margins
    view.goto(address)
    view.emulate_media(media="print")
    assert view.evaluate("document.documentElement.scrollWidth") == 680
    frames = view.locator("#model-dcgan .strip figure")
    assert all(frame.is_visible() for frame in frames.all())
    assert view.get_by_text("images_per_second").first.is_visible()
    view.close()


def test_results_of_models_that_are_not_listed_are_removed(tmp_path: Path) -> None:
    for folder in leftovers.FOLDERS:
        for name in ("dcgan", "former"):
            (tmp_path / folder / name).mkdir(parents=True)
    for name in ("dcgan", "former", "reference"):
        write_json(tmp_path / f"metrics/{name}.json", {})
    assert leftovers.remove(tmp_path, {"dcgan"}) == ["former"]
    left = {path.relative_to(tmp_path).name for path in tmp_path.glob("*/*")}
    assert left == {"dcgan", "dcgan.json", "reference.json"}
    assert leftovers.remove(tmp_path, {"dcgan"}) == []
