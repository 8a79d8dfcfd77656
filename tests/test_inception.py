"""FID and KID on Inception features: download of the weights, and values."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Server
from torch_fidelity import metric_fid
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganloom import params
from ganloom.metrics.inception import WEIGHTS, File, Inception, InceptionError, inception, weights

NETWORK = params.Network(
    contact=None,
    connections=2,
    connections_per_host=2,
    timeout=5.0,
    file_deadline=5.0,
    deadline=20.0,
    attempts=1,
    robots=True,
    loopback=True,
)
DATA = b"weights, or so they say" * 100


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of torch's download folder."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub/checkpoints"


def of(data: bytes, url: str) -> File:
    return File(url, sha256(data).hexdigest(), len(data))


def test_inception_weights_are_downloaded_once(
    hub: Path, server: Server, outside: list[str]
) -> None:
    file = of(DATA, server.serve("/release/inception.pth", DATA))
    for _ in range(2):
        path = weights(NETWORK, file)
        assert path == hub / "inception.pth"
        assert path.read_bytes() == DATA
    assert server.asked() == {"/release/inception.pth": 1}
    path.write_bytes(DATA[:-1])  # damaged on the disk
    assert weights(NETWORK, file).read_bytes() == DATA
    assert list(hub.iterdir()) == [path]


@pytest.mark.parametrize("sent", [DATA[:-1], DATA[:-1] + b"!", DATA + b"!", b""])
def test_unexpected_weights_are_not_kept(hub: Path, server: Server, sent: bytes) -> None:
    file = of(DATA, server.serve("/inception.pth", sent))
    with pytest.raises(InceptionError, match=r"not the known file|file too large"):
        weights(NETWORK, file)
    assert not hub.exists()


def test_inception_without_network_names_the_remedy(hub: Path, server: Server) -> None:
    file = of(DATA, server.url("/gone.pth"))
    with pytest.raises(InceptionError) as error:
        weights(NETWORK, file)
    assert f"HTTP 404: Not Found. Get {file.url} on a machine that can" in str(error.value)
    assert f"copy it to {hub / 'gone.pth'}" in str(error.value)
    assert "evaluate.inception" in str(error.value)
    server.stop()
    with pytest.raises(InceptionError, match="cannot connect"):
        weights(NETWORK, file)
    # Copied there by hand, it is enough.
    hub.mkdir(parents=True)
    (hub / "gone.pth").write_bytes(DATA)
    assert weights(NETWORK, file) == hub / "gone.pth"


def test_inception_weights_match_torch_fidelity() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert WEIGHTS.url == URL_INCEPTION_V3
    assert WEIGHTS.url.endswith(f"-{WEIGHTS.sha256[:8]}.pth")


def test_missing_torch_fidelity_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity", None)
    with pytest.raises(InceptionError, match=r"pip install --editable '\.\[inception\]'"):
        inception(NETWORK, tmp_path)


@pytest.fixture(scope="module")
def random_weights() -> bytes:
    """An untrained state of the network."""
    torch.manual_seed(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path="")
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    return file.getvalue()


def test_inception_metrics_match_torch_fidelity(
    tmp_path: Path, hub: Path, random_weights: bytes
) -> None:
    """Extractor, distance and memory with random weights, since the real ones are not available."""
    hub.mkdir(parents=True)
    (hub / "random.pth").write_bytes(random_weights)
    file = of(random_weights, "https://example.org/random.pth")
    rng = np.random.default_rng(1)
    real, fake = rng.integers(0, 256, (2, 6, 40, 40, 3), np.uint8)
    network = inception(NETWORK, tmp_path / "cache", file)
    found = network.compare(real, fake)

    theirs = FeatureExtractorInceptionV3(
        "theirs", ["2048"], feature_extractor_weights_path=str(hub / "random.pth")
    )
    a, b = (theirs(torch.from_numpy(x).permute(0, 3, 1, 2))[0] for x in (real, fake))
    torch.testing.assert_close(network.features(real), a)
    statistics = [metric_fid.fid_features_to_statistics(x.double()) for x in (a, b)]
    expected = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert found["fid_inception"] == pytest.approx(expected[metric_fid.KEY_METRIC_FID], rel=1e-4)

    # Of real pictures they are kept.
    again = Inception(lambda x: network.features(fake), network.cache, network.facts)
    assert again.compare(real, fake) == found
