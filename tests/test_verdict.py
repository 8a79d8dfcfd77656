"""Verdicts: each rule, missing metrics, and valid commands."""

from __future__ import annotations

import copy
import functools
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ganloom import params, recipes
from ganloom.report import verdict as rules
from ganloom.report.copies import copying
from ganloom.report.verdict import RULES, Evidence, duration, verdict

ROOT = Path(__file__).parents[1]
RECIPES = recipes.paths(ROOT)
DCGAN = params.load(ROOT / "params.yaml").models["dcgan"].model_copy(update={"kimg": 56.0})
MATCHED = params.load(ROOT / "params.yaml").models["compact"]

REAL = {
    **{"kid_lite2": 0.03, "precision": 0.8, "coverage": 0.9, "recall": 0.7, "duplicates": 0.05},
    **{"authenticity": 0.6, "authenticity_pixels": 0.7},
}
NUMBERS = REAL | {"kid_lite2": 0.8, "recall": 0.1, "kimg": 56.0, "n": 500, "samples": 500}
LOOKS = [{"kimg": kimg, "kid": kid} for kimg, kid in ((14, 2.0), (28, 1.5), (42, 1.0), (56, 0.8))]
RUN = {"kimg": 56.0, "images_per_second": 200.0}


def evidence(
    metrics: dict[str, Any] | None = None, judgement: dict[str, Any] | None = None, **changes: Any
) -> Evidence:
    """Evidence of a model that is still learning, with changes."""
    numbers = NUMBERS | (metrics or {})
    judged = {"looks": LOOKS, "chosen": {"kimg": 56}, "alarms": [], **(judgement or {})}
    known = Evidence("dcgan", DCGAN, numbers, REAL, judged, RUN, copying(numbers, REAL))
    return replace(known, **changes)


def alarm(kimg: float, over: float | None) -> dict[str, Any]:
    return {"alarms": [{"kind": "collapse", "kimg": kimg, "over": over, "sentence": "It did."}]}


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (evidence(), "Still learning"),
        (evidence(metrics={"kimg": 0.5, "recall": 0.0}), "Not trained yet"),
        (evidence(metrics={"kimg": 12.0, "recall": 0.1}), "Still learning"),
        # 250 steps, after 6,250 of the warm-up.
        (evidence(metrics={"kimg": 2.0, "recall": 0.0}, spec=MATCHED), "Still learning"),
        # At its beginning every generator draws one picture.
        (evidence({"kimg": 0.5, "recall": 0.0}, alarm(0.3, None)), "Not trained yet"),
        (evidence(judgement=alarm(30, None)), "Collapsed"),
        (evidence(judgement=alarm(30, 40)), "Still learning"),
        (evidence(judgement=alarm(60, None)), "Still learning"),  # after the state that was kept
        (evidence(metrics={"duplicates": 0.8}), "Collapsed"),
        (evidence(metrics={"authenticity": 0.2}), "Copying"),
        (evidence(metrics={"authenticity_pixels": 0.2}), "Copying"),
        (evidence(metrics={"kid_lite2": 0.15, "recall": 0.3}), "Good for this collection"),
        (evidence(metrics={"kid_lite2": 0.15, "recall": 0.01}), "Still learning"),
        (evidence(metrics={"kid_lite2": 0.15, "recall": 0.3}, real={}), "Still learning"),
        (
            evidence(judgement={"looks": [*LOOKS, {"kimg": 90, "kid": 0.9}]}),
            "No longer improving",
        ),
        (evidence(judgement={"stopped": "Training ended at 56 of 90."}), "No longer improving"),
        (evidence(judgement={"looks": []}), "Still learning"),
        (Evidence("dcgan", DCGAN), "Not evaluated"),
    ],
)
def test_first_matching_rule_gives_the_verdict(known: Evidence, words: str) -> None:
    assert verdict(known).words == words


def test_verdict_reasons_include_reference_values() -> None:
    course, numbers = verdict(evidence()).reasons
    assert numbers.startswith("Measured: KID 0.800 (real images: 0.0300), precision 0.800")
    assert course == "Its KID was still falling when the training ended."
    alone = verdict(evidence(real={})).reasons
    assert "real images" not in alone[1]
    assert "set curate.holdout" in alone[-1]
    twins = verdict(evidence(metrics={"duplicates": 0.8}))
    assert twins.reasons == [
        "80% of its samples have a near-duplicate among the samples (real images: 5%)."
    ]
    few = verdict(evidence(metrics={"n": 16}))
    assert few.reasons[-1] == "These metrics are of 16 images only, a rough estimate."


def test_untrained_collapsed_or_copying_model_is_never_best() -> None:
    worse = {"Not evaluated", "Not trained yet", "Collapsed", "Copying"}
    assert {rule.words for rule in RULES if not rule.may_be_best} == worse


def test_next_step_duration_follows_the_last_training() -> None:
    longer = verdict(evidence()).next
    assert "Train for 64 kimg more, 120 in all" in longer.advice  # 112, rounded
    assert longer.time == "about 10 min"  # 120,000 images at 200 a second
    assert longer.command == "dvc exp run -S models.dcgan.kimg=120"
    assert verdict(evidence(run={})).next.time == ""
    first = verdict(evidence(metrics={"kimg": 0.5, "recall": 0.0})).next
    assert first.command == "dvc exp run -S models.dcgan.kimg=120"


def test_a_longer_training_has_a_longer_warm_up() -> None:
    run = {"kimg": 7.0, "images_per_second": 50.0, "warm_up": {"kimg": 50.0, "seconds": 200.0}}
    longer = verdict(evidence(name="compact", spec=MATCHED, run=run)).next
    assert "100 kimg of warm-up, and 14 kimg after it" in longer.advice
    changes = "-S models.compact.warm_up.kimg=100 -S models.compact.kimg=14"
    assert longer.command == f"dvc exp run {changes}"
    assert longer.time == "about 11 min"  # 400 s and 280 s


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (99, "99 s"), (100, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_duration_has_one_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


STEPS = (rules._train, rules._train_longer, rules._diversify, rules._forget)


def options(known: Evidence, step: Callable[[Evidence], rules.NextStep]) -> list[str]:
    """The change that a suggested command makes: "models.dcgan.kimg=120"."""
    words = shlex.split(step(known).command)
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) == {"-S"}
    return words[4::2]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_suggested_commands_give_valid_models(recipe: Path) -> None:
    yaml = YAML(typ="safe", pure=True)
    for name, values in recipes.values(recipe, ROOT)["models"].items():
        spec = params.Model.model_validate(values)
        known = Evidence(name, spec, run=RUN)
        for step in STEPS:
            if step is rules._diversify and spec.condition == "picture":
                continue  # advice without a command: the key `pairs` may be missing
            changed = copy.deepcopy(values)
            for option in options(known, step):
                key, value = option.removeprefix(f"models.{name}.").split("=")
                *sections, last = key.split(".")
                section = functools.reduce(lambda inner, part: inner[part], sections, changed)
                assert last in section
                section[last] = yaml.load(value)
            assert params.Model.model_validate(changed) != spec, step


def test_a_model_of_originals_that_collapsed_gets_pairs() -> None:
    collapsed = evidence(metrics={"duplicates": 0.8}, name="compact", spec=MATCHED)
    step = verdict(collapsed).next.advice
    for key in ("models.compact.discriminator.pairs", "models.compact.warm_up.discriminator.pairs"):
        assert key in step
    spec = MATCHED.model_copy(
        update={"discriminator": MATCHED.discriminator.model_copy(update={"pairs": True})}
    )
    assert "pairs" not in verdict(replace(collapsed, spec=spec)).next.advice


def test_dvc_accepts_suggested_changes(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    known = Evidence("dcgan", DCGAN, run=RUN)
    stddev = "models.dcgan.discriminator.minibatch_stddev=true"
    apply_overrides(path, [*options(known, rules._augment), *options(known, rules._train), stddev])
    changed = params.load(path).models["dcgan"]
    assert changed.diffaugment == ["translation"]
    assert changed.kimg == 120


KEYS = ("kid_lite2", "precision", "recall", "coverage", "duplicates", "authenticity", "kimg")


@given(
    metrics=st.dictionaries(st.sampled_from(KEYS), st.floats(0, 1)),
    real=st.dictionaries(st.sampled_from(KEYS), st.floats(0, 1)),
    looks=st.lists(st.sampled_from(LOOKS)),
    run=st.sampled_from([{}, RUN]),
)
def test_verdict_handles_missing_metrics(
    metrics: dict[str, float], real: dict[str, float], looks: list[dict[str, float]], run: Any
) -> None:
    known = Evidence("dcgan", DCGAN, metrics, real, {"looks": looks}, run, copying(metrics, real))
    found = verdict(known)
    assert found.words and found.next.advice
    assert all(reason.endswith(".") for reason in found.reasons)
    if found.words == "Good for this collection":
        assert metrics["recall"] >= real["recall"] / 4
