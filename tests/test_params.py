"""params.yaml: validation, messages and documentation."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ganloom import recipes
from ganloom.docs_tables import with_tables
from ganloom.geometry import doublings, resolutions
from ganloom.params import Params, ParamsError, Section, load, parse
from ganloom.params_docs import markdown

ROOT = Path(__file__).parents[1]
RECIPES = recipes.paths(ROOT)
KENE: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")

COMMONS: dict[str, Any] = {
    "kind": "commons",
    "path": "src/ganloom/sources/commons.py",
    "keywords": [{"text": "kené", "max": 10}],
    "width": None,
}
ARCHIVE: dict[str, Any] = {
    "kind": "archive",
    "path": "pictures.zip",
    "url": None,
    "sha256": None,
    "max_bytes": 10**9,
    "licence": "CC0",
}
PREDICTOR: dict[str, Any] = {
    "channels": 8,
    "steps": 10,
    "image_steps": 0,
    "image_loss": "mse",
    "lr": 0.001,
    "batch": 8,
}


def changed(key: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(KENE)
    *parents, last = key.split(".")
    section = data
    for parent in parents:
        section = section[parent]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return data


def message(data: Any) -> str:
    with pytest.raises(ParamsError) as raised:
        parse(data, "params.yaml")
    return str(raised.value)


@pytest.mark.parametrize(
    "key, value, parts",
    [
        ("augmnt", {}, ["augmnt: unknown key", "did you mean 'augment'"]),
        ("sources.kene.designz", 1, ["sources.kene.designz: unknown", "'designs'", "palettes"]),
        (
            "models.dcgan.discriminator.dropuot",
            0.5,
            ["models.dcgan.discriminator.dropuot: unknown", "'dropout'", "channels"],
        ),
        ("models.dcgan.generator.kind", "dcgna", ["'dcgna'", "did you mean 'dcgan'"]),
        ("network.contact", "me\r\nCookie: a=b", ["network.contact", "one line of ASCII text"]),
        ("network.contact", " ", ["network.contact", "one line of ASCII text"]),
        ("network.attempts", 0, ["network.attempts: 0", "greater than or equal to 1"]),
        ("fetch.licences", [], ["fetch.licences", "at least 1 item"]),
        ("fetch.max_lost", 1.5, ["fetch.max_lost: 1.5", "less than or equal to 1"]),
        ("sources.kene.kind", "keen", ["sources.kene.kind", "'keen'", "'kene'", "'folder'"]),
        ("models.dcgan.diffaugment", ["colour"], ["diffaugment.0", "'colour'", "'color'"]),
        ("models.dcgan.discriminator.dropout", 1.0, ["dropout: 1.0", "0 <= rate < 1"]),
        ("models.dcgan.discriminator.dropout", [0.1], ["dropout: [0.1]", "3 rates"]),
        ("models.dcgan.generator.dropout", [0.1] * 4, ["generator.dropout", "3 rates"]),
        ("models.dcgan.resolution", 36, ["models.dcgan", "36", "4, 5, 6 or 7 doubled"]),
        ("models.dcgan.resolution", 64, ["models.dcgan.resolution: 64", "augment.resolution (32)"]),
        ("models.dcgan.optimizer.lr", "3e-5", ["optimizer.lr", "'3e-5'", "number"]),
        ("models.dcgan.kimg", ..., ["models.dcgan.kimg: missing key", "thousands of real images"]),
        ("models.dcgan.kimg", 0.001, ["models.dcgan.kimg", "0.001", "one batch"]),
        ("models.my-model", KENE["models"]["dcgan"], ["'my-model' is not a name"]),
        ("models", {}, ["models", "at least 1"]),
        ("report.title", None, ["report.title: null is not possible; give a value (text)"]),
        ("report.title", 2024, ["report.title: 2024", "text: put it in quotes"]),
        ("train", None, ["train: null is not possible; give a value (a section)"]),
        ("enlarge", None, ["enlarge: None is not possible", "delete the line"]),
        ("evaluate.inception", None, ["evaluate.inception: null", "delete the line"]),
        ("sources.zip", ARCHIVE | {"encoding": "hex"}, ["zip.encoding: 'hex'", "such as 'cp949'"]),
        ("seed", -1, ["seed: -1", "greater than or equal to 0"]),
        ("threads", True, ["threads: True", "integer"]),
        ("augment.mode", "slice", ["augment.mode: 'slice'", "did you mean 'slices'"]),
        ("augment.sizes", [16, 64], ["augment.sizes: [16, 64]", "at least augment.resolution"]),
        ("sources.kene.path", "x", ["sources.kene.path: 'x'", "src/ganloom/sources/kene.py"]),
        ("models", {0: {}}, ["models.0: a key must be text"]),
        ("models.dcgan.kimg", float("inf"), ["models.dcgan.kimg: inf", "finite"]),
        ("sources.web", COMMONS, ["network.contact: None", "e-mail", "Commons", "'web'"]),
        ("sources.web", COMMONS | {"width": 600}, ["sources.web.width: 600", "330, 500", "960"]),
        ("sources.web", COMMONS | {"path": "x"}, ["sources.web.path", "sources/commons.py"]),
        ("sources.web", COMMONS | {"keywords": []}, ["sources.web.keywords", "at least 1"]),
        (
            "sources.web",
            COMMONS | {"keywords": [{"text": "a", "max": 9}, {"text": "a", "max": 8}]},
            ["sources.web.keywords", "twice"],
        ),
        (
            "sources.web",
            COMMONS | {"keywords": [{"text": "a", "maximum": 9}]},
            ["keywords.0.maximum: unknown key", "did you mean 'max'"],
        ),
        (
            "sources.zip",
            ARCHIVE | {"url": "https://a.org/b.zip"},
            ["sources.zip.path", "archive.py"],
        ),
        (
            "sources.zip",
            ARCHIVE | {"url": "https://a.org/b.zip", "path": "src/ganloom/sources/archive.py"},
            ["sources.zip.sha256: None", "hash of the file"],
        ),
        (
            "invert.predictors",
            {"dcgna": PREDICTOR},
            ["invert.predictors: 'dcgna'", "the models: dcgan, compact"],
        ),
        ("models", {"reference": KENE["models"]["dcgan"]}, ["models: 'reference'", "another name"]),
        ("augment.count", "many", ["augment.count: 'many' is not possible"]),
        ("models.dcgan.resolution", 48, ["models.dcgan.resolution: 48", "or a half"]),
        ("sources.zip", ARCHIVE | {"sha256": "abc"}, ["sources.zip.sha256: 'abc'", "hexadecimal"]),
    ],
)
def test_error_names_key_value_and_remedy(key: str, value: Any, parts: list[str]) -> None:
    text = message(changed(key, value))
    for part in parts:
        assert part in text


JUDGES: dict[str, dict[str, Any]] = {
    "dcgan": {},
    "projected": {"kind": "projected", "channels": 8, "side": 64},
    "began": {"kind": "began", "channels": 8, "hidden": 16},
}
WASSERSTEIN = {"kind": "wasserstein", "critic_steps": 5}
BEGAN = {"kind": "began", "reconstruction": "mse", "gamma": 0.5, "lambda_k": 0.001}
CODE = {
    "categorical": [10],
    "continuous": 2,
    "weight": 1.0,
    "weight_continuous": 0.1,
    "weight_latent": 0.0,
}
TEXTURE = {"kind": "texture", "channels": 8, "latent": 64, "local": 4, "palette": 4}
RESNET = {"kind": "resnet", "channels": 8}
WARM_UP = {
    "kimg": 1.0,
    "batch": 8,
    "discriminator": {
        "kind": "dcgan",
        "channels": 8,
        "norm": "batch",
        "dropout": 0.0,
        "dropout_kind": "element",
        "minibatch_stddev": False,
    },
    "objective": {"kind": "hinge"},
    "optimizer": {"kind": "adam", "lr": 2.0e-4, "betas": [0.5, 0.999]},
    "diffaugment": [],
}
START = {
    "folder": "results",
    "generator": "0" * 64,
    "discriminator": "0" * 64,
    "freeze": 2,
    "keep_statistics": False,
}


def combined(judge: str, discriminator: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """The default recipe with another discriminator for `dcgan`, or changes to its own."""
    data = changed("models.compact", ...)
    own = data["models"]["dcgan"]
    plain = own["discriminator"] | {"minibatch_stddev": False}  # which a critic cannot have
    own["discriminator"] = (JUDGES[judge] or plain) | discriminator
    own |= model
    return data


@pytest.mark.parametrize(
    "judge, discriminator, model, parts",
    [
        ("began", {}, {}, ["objective.kind: 'nonsaturating'", "what an autoencoder reproduces"]),
        ("dcgan", {}, {"objective": BEGAN}, ["objective.kind: 'began'", "only with it"]),
        ("projected", {}, {"objective": WASSERSTEIN}, ["'wasserstein'", "frozen network changes"]),
        ("projected", {}, {"penalties": {"r1": 1.0}}, ["penalties", "no penalty can change"]),
        ("projected", {}, {"condition": "onehot"}, ["'projected'", "sees colours only"]),
        ("projected", {}, {"code": CODE}, ["'projected'", "sees colours only"]),
        ("projected", {}, {"init_from": START}, ["init_from.freeze: 2", "frozen as it is"]),
        (
            "dcgan",
            {},
            {"init_from": START | {"discriminator": None}},
            ["init_from.freeze: 2", "random weights would be kept"],
        ),
        (
            "began",
            {},
            {"objective": BEGAN, "penalties": {"gradient": 10.0}},
            ["penalties", "balance k"],
        ),
        (
            "began",
            {},
            {"objective": BEGAN, "diffaugment": ["color"]},
            ["diffaugment: ['color']", "reproduces what it is shown"],
        ),
        ("began", {}, {"objective": BEGAN, "input_noise": 0.1}, ["no input_noise"]),
        ("began", {}, {"objective": BEGAN, "condition": "onehot"}, ["condition", "has no class"]),
        (
            "began",
            {},
            {"resolution": 8, "objective": BEGAN | {"reconstruction": "ms_ssim"}},
            ["objective.reconstruction: 'ms_ssim'", "below 11 px"],
        ),
        ("dcgan", {}, {"penalties": {"r1": 1.0}}, ["norm: 'batch'", "each image alone"]),
        ("dcgan", {}, {"penalties": {"gradient": 10.0}}, ["norm: 'batch'", "each image alone"]),
        ("dcgan", {}, {"objective": WASSERSTEIN}, ["norm: 'batch'", "each image alone"]),
        (
            "dcgan",
            {"norm": "layer", "minibatch_stddev": True},
            {"penalties": {"gradient": 10.0}},
            ["minibatch_stddev: True", "not how a batch varies"],
        ),
        (
            "dcgan",
            {"norm": "spectral"},
            {"objective": WASSERSTEIN, "penalties": {"clip": 0.01}},
            ["penalties.clip: 0.01", "takes the size of weights off"],
        ),
        (
            "dcgan",
            {"norm": "layer"},
            {"objective": WASSERSTEIN},
            ["objective.kind: 'wasserstein'", "nothing else bounds the critic"],
        ),
        (
            "dcgan",
            {},
            {"code": CODE | {"categorical": [], "continuous": 0}},
            ["code.continuous: 0", "at least one code"],
        ),
        (
            "dcgan",
            {},
            {"generator": TEXTURE},
            ["generator.latent: 64", "more than 64", "4 x 4 cells"],
        ),
        (
            "projected",
            {},
            {"warm_up": WARM_UP | {"objective": WASSERSTEIN}},
            ["warm_up.discriminator.norm: 'batch'", "judges each image alone"],
        ),
        (
            "dcgan",
            {},
            {"warm_up": WARM_UP | {"discriminator": RESNET}},
            ["warm_up.discriminator.kind: 'resnet'", "'dcgan', a kind that the model has"],
        ),
    ],
)
def test_invalid_combinations_are_refused_with_the_reason(
    judge: str, discriminator: dict[str, Any], model: dict[str, Any], parts: list[str]
) -> None:
    text = message(combined(judge, discriminator, model))
    for part in ["models.dcgan.", *parts]:
        assert part in text


@pytest.mark.parametrize(
    "judge, discriminator, model",
    [
        ("dcgan", {"norm": "none", "minibatch_stddev": True}, {"penalties": {"r1": 1.0}}),
        ("dcgan", {"norm": "spectral"}, {"objective": WASSERSTEIN}),
        ("dcgan", {"norm": "layer"}, {"objective": WASSERSTEIN, "penalties": {"clip": 0.01}}),
        ("dcgan", {}, {"condition": "embedding", "code": CODE, "objective": {"kind": "hinge"}}),
        ("dcgan", {"norm": "spectral"}, {"objective": {"kind": "relativistic"}}),
        ("dcgan", {}, {"init_from": START, "input_noise": 0.1, "diffaugment": ["symmetry"]}),
        ("projected", {}, {"objective": {"kind": "relativistic"}, "diffaugment": ["shift"]}),
        ("projected", {}, {"resolution": 16}),
        ("projected", {"pixels": 8}, {"warm_up": WARM_UP, "objective": {"kind": "hinge"}}),
        ("dcgan", {}, {"generator": TEXTURE | {"latent": 96}, "warm_up": WARM_UP}),
        ("began", {}, {"objective": BEGAN | {"reconstruction": "ms_ssim"}, "code": CODE}),
    ],
)
def test_all_other_combinations_are_allowed(
    judge: str, discriminator: dict[str, Any], model: dict[str, Any]
) -> None:
    assert isinstance(parse(combined(judge, discriminator, model)), Params)


@pytest.mark.parametrize(
    "key, value, line",
    [
        (
            "augment.mode",
            "whole",
            "augment.mode: 'whole' does not have the keys count, holdout_count, sizes, max_angle: "
            "delete them and add fit (How to make an image square: crop the centre, "
            "pad with the border colour, or stretch; allowed: 'crop', 'pad', 'stretch')",
        ),
        (
            "models.dcgan.discriminator.kind",
            "resnet",
            "models.dcgan.discriminator.kind: 'resnet' does not have the keys norm, dropout, "
            "dropout_kind, minibatch_stddev: delete them",
        ),
        (
            "models.dcgan.objective.kind",
            "hinge",
            "models.dcgan.objective.kind: 'hinge' does not have the key label_noise: delete it",
        ),
        (
            "sources.kene.kind",
            "folder",
            "sources.kene.kind: 'folder' does not have the keys designs, size, faults, palettes, "
            "motifs: delete them and add licence (Licence of the images, for the manifest and "
            "the credits; null: unknown)",
        ),
    ],
)
def test_changed_kind_lists_lines_to_delete_and_add(key: str, value: str, line: str) -> None:
    assert message(changed(key, value)) == f"params.yaml: {line}"


def test_misspelt_key_is_reported_next_to_a_changed_kind() -> None:
    data = changed("augment.mode", "whole")
    data["augment"] |= {"fit": "centre crop", "counts": 2}
    lines = message(data).split("\n")
    assert len(lines) == 3
    assert "did you mean 'crop'" in lines[1]
    assert "augment.counts: unknown key (allowed" in lines[2]  # it is not like `symmetries`


def test_all_problems_are_reported_at_once() -> None:
    data = changed("seed", "x")
    del data["report"]
    assert {line.split(": ")[1] for line in message(data).splitlines()} == {"seed", "report"}


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    ),
    st.sampled_from(["models", "sources", "augment", "models.dcgan", "models.dcgan.generator"]),
)
def test_arbitrary_values_raise_only_params_errors(value: Any, key: str) -> None:
    for data in (value, changed(key, value)):
        try:
            parse(data)
        except ParamsError as error:
            assert "params" in str(error)


def test_invalid_yaml_is_refused_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for text in (
        b"a: [",
        b"\xff\xfe\x00",
        b"seed: 1\nseed: 2\n",
        b"seed: 2001-99-99\n",
        b"[" * 5000,
        b"seed: " + b"9" * 5000,
    ):
        path.write_bytes(text)
        with pytest.raises(ParamsError, match="not YAML"):
            load(path)
    with pytest.raises(ParamsError, match=r"ganloom recipe kene --out "):
        load(tmp_path / "missing.yaml")


def test_exponential_yaml_aliases_are_refused(tmp_path: Path) -> None:
    laughs = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "params.yaml"
    for text in ("\n".join(["a0: &a0 ha", *laughs]), "seed: &a {b: *a}\n"):
        path.write_text(text)
        with pytest.raises(ParamsError, match="nested too deeply, or too much of it repeated"):
            load(path)


@given(st.integers(4, 7), st.integers(1, 8))
def test_resolutions_are_doubled_bases(base: int, k: int) -> None:
    assert doublings(base * 2**k) == k


def test_resolutions_are_reached_by_halving() -> None:
    assert resolutions(64) == [64, 32, 16, 8]
    assert resolutions(28) == [28, 14]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_schema_neither_changes_values_nor_switches_anything_on(recipe: Path) -> None:
    """No stage depends on the schema, so DVC would not notice a value that it changes or adds."""
    data = recipes.values(recipe, ROOT)
    data["network"]["contact"] = "me@example.org"
    checked = parse(data)
    assert checked.model_dump(exclude_unset=True) == data
    assert added(checked.model_dump(), data) <= {None, False}


def added(values: dict[str, Any], data: dict[str, Any]) -> set[Any]:
    """Values that ``data`` does not have, in nested sections."""
    new = {values[key] for key in values.keys() - data.keys()}
    shared = [(values[key], data[key]) for key in values.keys() & data.keys()]
    return new.union(*(added(*pair) for pair in shared if isinstance(pair[0], dict)))


def test_pairs_need_originals_and_an_even_batch() -> None:
    data = changed("models.compact.discriminator.pairs", True)
    own = data["models"]["compact"]
    parse(data)
    own["batch"] = 7
    assert "models.compact.batch: 7" in message(data) and "even" in message(data)
    del own["condition"]
    assert "models.compact.discriminator.pairs: True" in message(data)


def test_schema_refuses_defaults_other_than_off() -> None:
    with pytest.raises(TypeError, match=r"Smooth\.kernel: .* values belong in params\.yaml"):

        class Smooth(Section):
            kernel: int = 3

    class Optional(Section):
        kernel: int | None = None
        is_smooth: bool = False

    assert Optional().kernel is None


def test_generated_pages_and_tables_are_up_to_date() -> None:
    page = (ROOT / "docs" / "params.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: ganloom docs"
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    assert "| `dcgan` | Strided" in pages[ROOT / "docs/models.md"]
    assert {path: with_tables(page) for path, page in pages.items()} == pages, "run: ganloom docs"


def test_help_imports_no_heavy_libraries() -> None:
    code = (
        "import sys; from ganloom.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'dvc', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "COMMAND" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_enlarge_and_weave_are_optional() -> None:
    data = changed("enlarge", ...)
    del data["weave"]
    loaded = parse(data)
    assert loaded.enlarge is None
    assert loaded.weave is None


def test_cloth_smaller_than_two_tiles_is_refused() -> None:
    assert "weave.size: 600 is not possible; allowed: at least twice weave.tile (512)" in message(
        changed("weave.size", 600)
    )


def test_unknown_groups_are_refused() -> None:
    text = message(changed("weave.groups", ["p4m", "p4"]))
    assert "weave.groups.1: 'p4' is not possible; did you mean 'p4m'?" in text
    assert "weave.border: 'pmm2' is not possible" in message(changed("weave.border", "pmm2"))
