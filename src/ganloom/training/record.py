"""Records of a training in addition to the weights: history, timeline and machine."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from dvclive.live import Live
from torch import Tensor, nn

from ganloom import __version__
from ganloom.files import write_json
from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.models import to_uint8


class _Live(Live):
    """dvclive without access to the repository.

    dvclive would fail in a Git repository without a commit, and create a missing DVC repository.
    """

    def _init_dvc(self) -> None:
        self._dvc_repo = None


def history(folder: Path, rows: Iterable[dict[str, float]]) -> Live:
    """Create a dvclive logger with ``rows``, the history up to a checkpoint.

    They are written again rather than resumed from files, since an engine deletes the outputs of a
    stage before it runs the stage again.
    """
    # Without `dvcyaml=None` dvclive would rewrite the project's dvc.yaml.
    live = _Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None)
    for row in rows:
        log(live, row)
    return live


def log(live: Live, row: dict[str, float]) -> None:
    """Append a tick: a row in the table of each metric. The step is the tick, from 1."""
    live.step = int(row["tick"])
    for name, value in row.items():
        if name != "tick":
            live.log_metric(name, value)
    live.make_summary()


def frame(average: nn.Module, latents: Tensor, kimg: float, folder: Path) -> dict[str, Any]:
    """Write a grid, as square as possible, of samples of the averaged generator.

    Returns:
        Its entry in timeline.json.
    """
    name = f"kimg_{kimg:010.3f}.png"
    with torch.no_grad():
        images = torch.cat([average(part) for part in latents.split(64)])
    folder.mkdir(parents=True, exist_ok=True)
    save_png(grid(to_uint8(images), round(len(latents) ** 0.5)), folder / name)
    return {"file": name, "kimg": kimg}


def timeline(frames: list[dict[str, Any]], source: Path, folder: Path) -> None:
    """Copy ``frames`` from ``source`` and list them in timeline.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in frames:
        if not (folder / entry["file"]).exists():
            shutil.copyfile(source / entry["file"], folder / entry["file"])
    write_json(folder / "timeline.json", frames, sort_keys=True)


def architecture(net: nn.Module, *example: Tensor | None) -> list[dict[str, Any]]:
    """List the layers of a network in the order in which data pass through them.

    Args:
        net: Network; it is left in eval mode.
        *example: Its arguments, for a batch of two.

    Returns:
        ``name`` and ``kind`` of each layer, the ``output`` shapes of one item, and its number of
        ``parameters``.
    """
    layers: dict[str, dict[str, Any]] = {}

    def note(name: str, module: nn.Module, given: object) -> None:
        several = given if isinstance(given, list | tuple) else [given]
        layers[name] = {
            "name": name,
            "kind": type(module).__name__.removeprefix("Parametrized"),
            "output": [list(t.shape[1:]) for t in several if isinstance(t, Tensor)],
            "parameters": sum(p.numel() for p in module.parameters()),
        }

    # A layer is a module without child modules, apart from the parametrisation of its weights.
    inside = [
        module.register_forward_hook(lambda m, _, given, name=name: note(name, m, given))
        for name, module in net.named_modules()
        if not set(dict(module.named_children())) - {"parametrizations"}
        and "parametrizations" not in name
    ]
    with torch.no_grad():
        net.eval()(*example)
    for hook in inside:
        hook.remove()
    return list(layers.values())


def machine(device: torch.device) -> dict[str, str]:
    """Describe the hardware and versions on which bits and speed depend."""
    return {
        "machine": platform.platform(),
        "cpu": _cpu(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ganloom": __version__,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
