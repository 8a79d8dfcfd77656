"""Recipes: the whole params files that they become, their errors, and a training of each model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from ganloom import models, params, recipes
from ganloom.params import Keyword, Params, ParamsError, Report, Section, parse
from ganloom.params.loading import read
from ganloom.params.lookup import meaning, section_at, sections_in, tag_of
from ganloom.training import loop

ROOT = Path(__file__).parents[1]

NAMES = {
    "animals", "batik", "bob_ross", "cifar10", "cifar10_cars", "digits", "dropout", "faces", "kene",
    "kene_64", "mnist", "mnist_infogan", "pokemon", "shipibo", "tiny",
}  # fmt: skip
# What makes a network large.
SMALL = {"channels": 4, "dense": 8, "first": 4, "hidden": 8, "latent": 24, "local": 1}


def recipe(name: str) -> Any:
    """Values of a recipe, completed by those that only a user can set."""
    values = recipes.values(ROOT / f"recipes/{name}.yaml", ROOT)
    values["network"]["contact"] = "user@example.org"
    return values


MODELS = [(name, model) for name in sorted(NAMES) for model in recipe(name)["models"]]


def test_all_recipes_are_tested() -> None:
    assert {path.stem for path in recipes.paths(ROOT)} == NAMES


def keys(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each key of a params file, with indices where it has lists."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(data, dict):
            yield (*path, str(key))
        if isinstance(value, (dict, list)):
            yield from keys(value, (*path, str(key)))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_recipe_becomes_a_whole_file_that_explains_every_key(name: str, tmp_path: Path) -> None:
    path, written = ROOT / f"recipes/{name}.yaml", tmp_path / "params.yaml"
    text = recipes.whole(path, ROOT)
    data = YAML(typ="safe", pure=True).load(text)
    assert data == recipes.values(path, ROOT)
    assert parse(data | {"network": data["network"] | {"contact": "user@example.org"}})

    header = path.read_text(encoding="utf-8").partition("\nsources:")[0].partition("\nthreads:")[0]
    assert text.startswith(header)
    assert re.search(r"^#     make report", header, re.MULTILINE)
    # DVC edits lists only in block style; anchors and merge keys are for the short file.
    assert not re.search(r"(: |- )[&*{]|\[[^]]|<<", re.sub("#.*", "", text))
    for *above, key in keys(data):
        section = section_at(above, data)
        if section and key in section.model_fields:
            field = section.model_fields[key]
            inner = None if field.description else section_at([*above, key], data)
            words = re.escape((inner.__doc__ or "").strip() if inner else meaning(field))
            assert re.search(rf"^ *(- )?{key}:.*  # {words}$", text, re.MULTILINE), key

    written.write_text(f"{text}# my own\n", encoding="utf-8")
    assert recipes.whole(written, ROOT) == f"{text}# my own\n"


def test_params_yaml_is_the_default_recipe() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text == recipes.whole(ROOT / "recipes/kene.yaml", ROOT), (
        "run: ganloom recipe kene --out params.yaml"
    )


# --- the base ------------------------------------------------------------------------------------


def reachable(section: type[Section]) -> set[type[Section]]:
    inner = [s for field in section.model_fields.values() for s in sections_in(field.annotation)]
    return {section}.union(*map(reachable, inner))


def test_the_base_lists_and_explains_every_key_of_the_schema() -> None:
    base = read(ROOT / "recipes/base.yaml", "rt")
    listed: dict[type[Section], Any] = {}
    for section, values in recipes._sections(base, Params):
        listed.setdefault(section, values)
    # A recipe replaces the list of keywords.
    assert listed.keys() == reachable(Params) - {Keyword}
    explained = comments(base)
    for section, values in listed.items():
        tags = section.model_fields.keys() & {"kind", "mode"}
        assert values.keys() | tags == section.model_fields.keys(), section
        for tag in tags:
            assert (recipes._kind(section, tag), section.__doc__) in explained
        for key in values.keys() - tags:
            field = section.model_fields[key]
            has_kinds = tag_of(sections_in(field.annotation)) and not field.description
            assert has_kinds or (key, meaning(field)) in explained


def comments(data: Any) -> set[tuple[str, str]]:
    """Each key of a file with the comment behind it."""
    found = {
        (key, tokens[2].value.partition("\n")[0].removeprefix("# "))
        for key, tokens in data.ca.items.items()
        if tokens[2]
    }
    return found.union(*(comments(v) for v in data.values() if isinstance(v, CommentedMap)))


class Mirror(Section):
    """Mirrors in the studio."""

    width: int = Field(description="Width in px")
    height: int | None = Field(default=None, description="Height in px")


class WithMirror(Params):
    mirror: Mirror


def test_a_new_section_is_added_to_the_schema_and_to_the_base_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "Params", WithMirror)
    base = (ROOT / "recipes/base.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/base.yaml").write_text(f"{base}\nmirror: {{width: 5, height: 6}}\n")
    for name in ("tiny", "digits", "shipibo"):
        text = recipes.whole(ROOT / f"recipes/{name}.yaml", tmp_path)
        assert text.endswith("\n\nmirror:  # Mirrors in the studio.\n  width: 5  # Width in px\n")


# --- merging -------------------------------------------------------------------------------------

SHORT = """\
# mine: a folder
sources:
  mine: {kind: folder, path: pictures}
augment: {mode: whole}
models:
  a: &a
    generator: {kind: dcgan, dropout: [0.1, 0.1, 0.1]}
    discriminator: {kind: sngan}
    objective: {kind: hinge}
    optimizer: {kind: adam, lr: 1.0e-5}
  b:
    <<: *a
    warm_up:
      kimg: 5
      discriminator: {kind: dcgan, channels: 7}
      objective: {kind: nonsaturating}
      optimizer: {kind: rmsprop}
report: {title: Mine, about: ""}
"""


def short(folder: Path, old: str = "", new: str = "") -> Path:
    """A file with ``SHORT``, in which ``old`` is replaced."""
    assert old in SHORT
    path = folder / "mine.yaml"
    path.write_text(SHORT.replace(old, new, 1), encoding="utf-8")
    return path


def test_a_recipe_differs_from_the_base_of_its_kinds(tmp_path: Path) -> None:
    values = recipes.values(short(tmp_path), ROOT)
    base = read(ROOT / "recipes/base.yaml")
    assert values["network"] == base["network"]
    folder = {"kind": "folder", "path": "pictures", "licence": None}  # `creator` is optional
    assert values["sources"] == {"mine": folder}
    assert values["augment"] == {"mode": "whole", **base["augment"]["whole"]}
    assert not {"weave", "enlarge"} & values.keys()

    a, b = values["models"]["a"], values["models"]["b"]
    assert a["kimg"] == base["models"]["kimg"]
    dcgan = {"kind": "dcgan", **base["models"]["generator"]["dcgan"]}
    assert a["generator"] == dcgan | {"dropout": [0.1, 0.1, 0.1]}
    adam = {"kind": "adam", "lr": 1e-5, "betas": base["models"]["optimizer"]["adam"]["betas"]}
    assert a["optimizer"] == adam
    assert b.pop("warm_up") == {
        "kimg": 5,
        "batch": base["models"]["warm_up"]["batch"],
        "discriminator": {
            "kind": "dcgan",
            **base["models"]["discriminator"]["dcgan"],
            "channels": 7,
        },
        "objective": {"kind": "nonsaturating", **base["models"]["objective"]["nonsaturating"]},
        "optimizer": {"kind": "rmsprop", "lr": base["models"]["optimizer"]["rmsprop"]["lr"]},
        "diffaugment": [],
    }
    assert a == b


def test_numbers_and_text_keep_their_notation(tmp_path: Path) -> None:
    path = short(
        tmp_path,
        'about: ""}',
        'about: "\\u00e9 # \\"so\\""} # end',
    )
    path.write_text(
        path.read_text().replace("lr: 1.0e-5", "lr: &lr 1.0e-5").replace("Mine", "'0x10'")
    )
    text = recipes.whole(path, ROOT)
    assert "      lr: 1.0e-5  # " in text
    assert YAML(typ="safe", pure=True).load(text)["report"] == {
        "title": "0x10",
        "about": 'é # "so"',
    }


def test_a_name_that_is_a_word_of_yaml_stays_text(tmp_path: Path) -> None:
    path = short(tmp_path, "  a: &a\n", "  'null': &a\n")
    written = YAML(typ="safe", pure=True).load(recipes.whole(path, ROOT))
    assert list(written["models"]) == ["null", "b"]


LETTERS = st.text("a #:\n\t-'\"{}[]&*!|>%@`~,?0.1\u00e9\u2028\f\x85", min_size=1, max_size=12)


@given(LETTERS | st.sampled_from(["null", "true", "0x10"]), st.sampled_from(["", "|", ">"]))
def test_text_is_the_same_after_writing(text: str, style: str) -> None:
    """In quotes, or as a block of literal or folded lines."""
    block = f"title: {style}\n" + "".join(f"  {line}\n" for line in text.split("\n"))
    source = block if style else f"title: {json.dumps(text)}\n"
    try:
        data = YAML().load(source)
    except YAMLError:
        reject()
    assume(isinstance(data["title"], str))
    lines = recipes._Writer().lines(recipes._plain(data), Report)
    assert YAML(typ="safe", pure=True).load("\n".join(lines) + "\n") == data


def test_the_example_of_the_documentation_is_a_recipe(tmp_path: Path) -> None:
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    path = tmp_path / "flowers.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    written = YAML(typ="safe", pure=True).load(recipes.whole(path, ROOT))
    assert parse(written).models["cgan"].condition == "onehot"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("dropout:", "dropuot:", 7, "generator.dropuot: unknown key; did you mean 'dropout'?"),
        ("report:", "weaves: {}\nreport:", 18, "weaves: unknown key; did you mean 'weave'?"),
        ("kind: sngan", "kind: sngam", 8, "'sngam' is not possible; did you mean 'sngan'?"),
        ("mode: whole", "mode: hole", 4, "'hole' is not possible; did you mean 'whole'?"),
        ("kind: hinge", "{}", 9, "models.a.objective.kind: missing key"),
        ("path: pictures", "", 3, "sources.mine.path: missing key (Folder or file"),
        ("title: Mine, ", "", 18, "report.title: missing key (Title"),
        ("lr: 1.0e-5", "lr: -1", 10, "models.a.optimizer.lr: -1 is not possible"),
        ("{mode: whole}", "", 4, "augment: null is not possible"),
        ("[0.1, 0.1, 0.1]", "7", 7, "generator.dropout: 7 is not possible"),
        ("channels: 7", "channels: x", 15, "warm_up.discriminator.channels: 'x'"),
    ],
)
def test_an_error_names_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    new = new.strip("{}") if "kind: hinge" in old else new
    with pytest.raises(ParamsError) as refused:
        recipes.whole(short(tmp_path, old, new), ROOT)
    assert words in next(
        text for text in str(refused.value).splitlines() if f"mine.yaml:{line}: " in text
    )


LAUGHS = "a0: &a0 ha\n" + "\n".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a mapping of sections"),
        ("seed: [", "not YAML: while parsing a flow node"),
        ("1: 2", "1: a key must be text"),
        (LAUGHS, "too much of it repeated by aliases"),
        ("seed: 1\nseed: 2", "found duplicate key"),
        ("seed: 1", "sources: "),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=re.escape(words)):
        recipes.whole(path, ROOT)


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, model", MODELS)
def test_recipe_models_train_for_two_ticks(
    name: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CALIBRATION", 8)
    values = recipe(name)["models"][model]
    for part in ("generator", "discriminator"):
        values[part] |= {
            key: SMALL[key] for key in values[part].keys() & SMALL if values[part][key]
        }
    values |= {"kimg": 0.016, "batch": 4, "ema_kimg": 0.01}
    spec = params.Model.model_validate(values)

    slices = tmp_path / "slices"
    slices.mkdir()
    side = spec.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    np.save(slices / "images.npy", pixels)
    np.save(slices / "holdout.npy", pixels)
    labels = pd.DataFrame({"label": ["a", "b"] * 4, "sha256": [f"{n:064}" for n in range(8)]})
    labels.to_parquet(slices / "holdout.parquet")
    labels.assign(image=np.arange(8), symmetry=0).to_parquet(slices / "index.parquet")

    out = tmp_path / "out"
    loop.train(
        model,
        spec,
        params.Train(ticks=2, grid=2),
        seed=1,
        threads=1,
        slices=slices,
        out=out,
        work=tmp_path / "work",
    )
    net, about = models.load_generator(out / "generator.safetensors", "cpu")
    with torch.inference_mode():
        images = net(net.inputs.draw(3))
    assert images.shape == (3, 3, side, side)
    assert images.isfinite().all()
    is_picture = spec.condition == "picture"
    assert about.classes == (["a", "b"] if spec.condition and not is_picture else [])
    assert len(about.pictures) == (8 if is_picture else 0)
