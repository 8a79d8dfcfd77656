"""FID and KID on Inception features, as in the literature.

The network and its weights are those of torch-fidelity, whose values agree with the original
implementation (Heusel et al., 2017). The weights, 96 MB, are downloaded once from GitHub.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ganloom import params
from ganloom.device import best_device
from ganloom.files import write_whole
from ganloom.metrics.cache import kept
from ganloom.metrics.frechet import frechet
from ganloom.metrics.kid import kid
from ganloom.web.client import WebError, browser

WIDTH = 2048
BATCH = 32


class File(NamedTuple):
    """A file on the web with a known hash.

    Attributes:
        url: Address.
        sha256: Hash of the content.
        size: Size in bytes.
    """

    url: str
    sha256: str
    size: int


WEIGHTS = File(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    95_628_359,
)


class InceptionError(RuntimeError):
    """The weights or torch-fidelity are missing; the message gives a remedy."""


class Inception(NamedTuple):
    """Feature extractor from images (N, H, W, 3) to features (N, 2048) float32.

    Attributes:
        features: Function from images to features.
        cache: Folder of the cache for features of real images.
        facts: Everything that features depend on besides images and device.
    """

    features: Callable[[NDArray[np.uint8]], Tensor]
    cache: Path
    facts: tuple[str, ...]

    def compare(self, real: NDArray[np.uint8], fake: NDArray[np.uint8]) -> dict[str, float]:
        """Compute ``fid_inception`` and ``kid_inception`` on sets cut to equal size.

        KID is the estimate over all pairs, which torch-fidelity's mean over subsets approximates.
        """
        n = min(len(real), len(fake))
        a = kept(real[:n], self.features, WIDTH, self.facts, self.cache)
        b = self.features(fake[:n])
        return {"fid_inception": frechet(a, b), "kid_inception": kid(a, b)}


def inception(network: params.Network, cache: Path, file: File = WEIGHTS) -> Inception:
    """Find or download the weights, and load them.

    Args:
        network: Section ``network``.
        cache: Folder of the cache for features of real images.
        file: Weight file.

    Raises:
        InceptionError: torch-fidelity is not installed, or the weights cannot be downloaded.
    """
    try:
        import torch_fidelity  # noqa: PLC0415
        from torch_fidelity.feature_extractor_inceptionv3 import (  # noqa: PLC0415
            FeatureExtractorInceptionV3,
        )
    except ModuleNotFoundError:
        raise InceptionError(
            "evaluate.inception needs torch-fidelity: pip install --editable '.[inception]'"
        ) from None
    path = weights(network, file)
    device = best_device()
    # torch-fidelity unpickles the file, but only after its hash was verified here.
    net = FeatureExtractorInceptionV3(
        "inception-v3-compat", [str(WIDTH)], feature_extractor_weights_path=str(path)
    ).to(device)

    @torch.inference_mode()
    def features(images: NDArray[np.uint8]) -> Tensor:
        found = [torch.empty(0, WIDTH)]
        with torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
            starts = range(0, len(images), BATCH)
            for start in tqdm(starts, desc="Inception", mininterval=1, leave=False):
                x = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))
                found.append(net(x.permute(0, 3, 1, 2).to(device))[0].cpu())
        return torch.cat(found)

    facts = (file.sha256, torch_fidelity.__version__, Path(__file__).read_text(encoding="utf-8"))
    return Inception(features, cache, facts)


def weights(network: params.Network, file: File = WEIGHTS) -> Path:
    """Return the path of the weights, shared with torch-fidelity; download them if needed.

    Raises:
        InceptionError: The weights cannot be downloaded, or the file is not the expected one.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / file.url.rpartition("/")[2]
    if path.is_file() and _is(path.read_bytes(), file):
        return path
    # A single requested file is no crawl, and it may take as long as all others together.
    patient = network.model_copy(update={"robots": False, "file_deadline": network.deadline})
    try:
        with browser(patient, file.size) as get:
            data = get(file.url).data
    except WebError as error:
        raise InceptionError(
            f"Inception's weights cannot be downloaded: {error}. Get {file.url} on a machine that "
            f"can, and copy it to {path}; or take evaluate.inception out of params.yaml"
        ) from None
    if not _is(data, file):
        raise InceptionError(
            f"{file.url} is not the known file: {len(data)} bytes, sha256 "
            f"{sha256(data).hexdigest()}; expected {file.size} bytes, {file.sha256}"
        )
    write_whole(path, data)
    return path


def _is(data: bytes, file: File) -> bool:
    return len(data) == file.size and sha256(data).hexdigest() == file.sha256
