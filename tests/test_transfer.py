"""Transfer of weights from another training: copied, kept and refused weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from ganloom import models, params
from ganloom.nets import blocks
from ganloom.nets.inputs import Inputs
from ganloom.training import ema, transfer
from ganloom.training.state import TrainingState, fresh

CPU = torch.device("cpu")


def model(start: dict[str, Any] | None = None, **changes: Any) -> params.Model:
    dcgan = {"kind": "dcgan", "channels": 4, "norm": "batch"}
    dropout = {"dropout": 0.0, "dropout_kind": "element"}
    told: dict[str, Any] = {
        "resolution": 32,
        "kimg": 1,
        "batch": 4,
        "ema_kimg": 1,
        "generator": dcgan | dropout | {"latent": 5},
        "discriminator": dcgan | dropout | {"minibatch_stddev": False},
        "objective": {"kind": "hinge"},
        "optimizer": {"kind": "adam", "lr": 1e-3, "betas": [0.5, 0.9]},
        "diffaugment": [],
    }
    return params.Model.model_validate(told | changes | ({"init_from": start} if start else {}))


def begun(spec: params.Model, seed: int = 2) -> TrainingState:
    torch.manual_seed(seed)
    return fresh(spec, Inputs(5), CPU)


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, Any]:
    """Files of another training, and the section that refers to them."""
    state = begun(model(), seed=1)
    start: dict[str, Any] = {"folder": str(tmp_path), "freeze": 0, "keep_statistics": False}
    for player in ("generator", "discriminator"):
        path = tmp_path / f"{player}.safetensors"
        models.save(state.networks[player], models.Metadata(), path)
        start[player] = hashlib.sha256(path.read_bytes()).hexdigest()
    return start


def test_init_from_copies_all_weights_and_the_average(
    trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    state, other = begun(model(trained)), begun(model(), seed=1)
    for player in ("generator", "discriminator", "average"):
        for key, value in other.networks[player].state_dict().items():
            assert torch.equal(state.networks[player].state_dict()[key], value)
    assert "generator.safetensors: 20 of 20 tensors" in capsys.readouterr().err


def test_unmatched_layers_keep_random_weights(
    trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = model(trained).generator.model_dump() | {"latent": 7}
    spec = model(trained, generator=narrow)
    torch.manual_seed(2)
    state = fresh(spec, Inputs(7), CPU)
    other = begun(model(), seed=1).networks["generator"].state_dict()
    for key, value in state.networks["generator"].state_dict().items():
        assert (value.shape != other[key].shape) == (key == "net.0.weight")
        if value.shape == other[key].shape:
            assert torch.equal(value, other[key])
    assert "generator.safetensors: 19 of 20 tensors" in capsys.readouterr().err


def test_init_from_with_another_hash_is_refused(trained: dict[str, Any]) -> None:
    with pytest.raises(
        transfer.TransferError, match=r"init_from\.discriminator: .* has the sha256"
    ):
        begun(model(trained | {"discriminator": "0" * 64}))
    with pytest.raises(transfer.TransferError, match=r"init_from\.folder: .*no such file"):
        begun(model(trained | {"folder": "nowhere"}))


def test_file_without_matching_tensors_is_refused(trained: dict[str, Any]) -> None:
    plain = {"kind": "began", "channels": 3, "latent": 5}
    with pytest.raises(transfer.TransferError, match=r"no tensor in .* kind, channels"):
        begun(model(trained, generator=plain))


def test_invalid_safetensors_file_is_refused(trained: dict[str, Any]) -> None:
    path = Path(trained["folder"]) / "generator.safetensors"
    path.write_bytes(b"PK")
    start = trained | {"generator": hashlib.sha256(b"PK").hexdigest()}
    with pytest.raises(transfer.TransferError, match="not a safetensors file"):
        begun(model(start))


@pytest.mark.parametrize("norm", ["batch", "spectral"])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_frozen_layers_of_d_do_not_change(
    trained: dict[str, Any], layers: int, norm: str, tmp_path: Path
) -> None:
    judge = model().discriminator.model_dump() | {"norm": norm}
    path = tmp_path / "discriminator.safetensors"
    net = begun(model(discriminator=judge), 1).networks["discriminator"]
    models.save(net, models.Metadata(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    start = trained | {"freeze": layers, "discriminator": sha256}
    state = begun(model(start, discriminator=judge))
    net = state.networks["discriminator"]
    before = [p.clone() for p in net.parameters()]
    net(torch.randn(4, 3, 32, 32)).logits.square().sum().backward()
    state.optimizers["discriminator"].step()
    moved = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    found = [
        any(p.requires_grad for p in m.parameters())
        for m in net.modules()
        if isinstance(m, blocks.LAYERS)
    ]
    assert found == [False] * layers + [True] * (4 - layers)
    kept = sum(not p.requires_grad for p in net.parameters())
    assert moved == [False] * kept + [True] * (len(moved) - kept)


def test_freezing_all_layers_is_refused(trained: dict[str, Any]) -> None:
    with pytest.raises(transfer.TransferError, match=r"freeze: .* has 4 layers; at most 3"):
        begun(model(trained | {"freeze": 4}))


def test_freezing_random_weights_is_refused(trained: dict[str, Any]) -> None:
    """With classes, the first layer has another number of input planes."""
    spec = model(trained | {"freeze": 1}, condition="onehot")
    with pytest.raises(
        transfer.TransferError, match=r"freeze: net\.net\.0\.weight .* layer 1 .* freeze 0, or"
    ):
        fresh(spec, Inputs(5, classes=3), CPU)


def test_kept_statistics_make_samples_independent_of_the_batch(trained: dict[str, Any]) -> None:
    spec = model(trained | {"keep_statistics": True})
    state, usual = begun(spec), begun(model(trained))
    generator, average = state.networks["generator"], state.networks["average"]
    before = {key: value.clone() for key, value in generator.named_buffers()}
    v = torch.randn(8, 5)
    assert torch.allclose(generator(v)[:2], generator(v[:2]), atol=1e-6)
    assert not torch.allclose(
        usual.networks["generator"](v)[:2], usual.networks["generator"](v[:2]), atol=1e-3
    )
    ema.calibrate(average, v, 4)
    for net in (generator, average):
        assert all(torch.equal(value, before[key]) for key, value in net.named_buffers())
    generator(v).square().sum().backward()
    assert all(p.grad is not None for p in generator.parameters())  # scales and shifts learn


def test_keeping_missing_statistics_is_refused(trained: dict[str, Any]) -> None:
    wide = model(trained).generator.model_dump() | {"channels": 6}
    with pytest.raises(transfer.TransferError, match=r"keep_statistics: net\.2 .* set it to false"):
        begun(model(trained | {"keep_statistics": True}, generator=wide))
