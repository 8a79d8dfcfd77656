"""The training loop: one for every model, from top to bottom."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.utils import parametrize
from tqdm import tqdm

from ganloom import matching, models, objectives, params
from ganloom.device import best_device
from ganloom.files import write_json
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.nets.inputs import Inputs
from ganloom.sampling.latents import inputs
from ganloom.slices import HOLDOUT, TRAINING, in_proportion
from ganloom.training import checkpoint, data, ema, energy, graphs, judge, record
from ganloom.training.diffaugment import augment
from ganloom.training.state import TrainingState, fresh

# Seconds between checkpoints, and the largest share of time that they may take. Results do not
# depend on either, except for the last good state of a training that diverges.
CHECKPOINT_SECONDS = 20.0
CHECKPOINT_SHARE = 0.02

# Side in px from which a CPU trains in bf16, which is 1.5 times as fast at 64 and 128 px. At 32 px
# the gain is mostly a fifth, and its effect on quality is not known (docs/performance.md).
BF16_FROM = 64

# Latents for calibrating the averaged generator, and their batch size.
CALIBRATION = 512
CALIBRATION_BATCH = 32

# Maximum number of real images from which the statistics for matching are computed.
MEASURED = 2048


class DivergedError(RuntimeError):
    """A loss or a weight is not finite; the message says when, and where the last good state is."""


def train(  # noqa: PLR0912, PLR0915 (one loop, from top to bottom)
    name: str,
    model: params.Model,
    settings: params.Train,
    *,
    seed: int,
    threads: int,
    slices: Path,
    out: Path,
    work: Path,
) -> None:
    """Train a model, or resume a training of it that was interrupted.

    Args:
        name: Name of the model.
        model: Networks, objective and optimiser.
        settings: Number of ticks, grid of the timeline, and evaluations during training.
        seed: Seed of every random draw.
        threads: Threads of torch and BLAS; bits of the result depend on their number.
        slices: Folder with the training images and, for evaluations, the holdout.
        out: Folder for weights, history, timeline, judgement.json, architecture.json and run.json;
            its content is removed.
        work: Folder for checkpoints, which are removed at the end, and for cached features.

    Raises:
        DataError: There are fewer images than a batch.
        BusyError: Another process runs the same training.
        DamagedError: The checkpoint cannot be read.
        DivergedError: A loss or weight is not finite; ``out`` has the last good state.
    """
    device = best_device()
    _make_reproducible(seed, threads)

    by_picture = model.condition == "picture"
    of = "sha256" if by_picture else "label"
    pairs = model.discriminator.kind == "compact" and model.discriminator.pairs
    images = data.load(slices, model.resolution, model.batch, seed, device, of, pairs=pairs)
    if model.condition and "" in images.classes and len(images.classes) > 1:
        raise data.DataError(
            f"models.{name}.condition: {int((images.label == 0).sum())} of {len(images)} "
            "training images have no class, such as images next to class folders; move them into a "
            "folder, or remove the condition"
        )
    if by_picture and len(images.classes) < 2:
        raise data.DataError(
            f"models.{name}.condition: there is one original only; keep more images, or remove the "
            "condition"
        )
    if model.condition and len(images.classes) < 2:
        raise data.DataError(
            f"models.{name}.condition: all training images have one label, {images.classes[0]!r}; "
            "sort the images into one folder per class, or remove the condition"
        )
    layout = models.inputs(model, len(images.classes))
    state = fresh(model, layout, device)
    generator, discriminator, average = state.networks.values()
    objective = objectives.objective(model, layout, device)
    state.memory = objective.memory
    steps = max(1, round(model.kimg * 1000 / model.batch))
    ticks = {round(steps * (part + 1) / settings.ticks) for part in range(settings.ticks)}

    # Inputs of the timeline, a class in each column, and inputs for calibrating the average, with
    # classes in the proportions of the training set.
    cells = settings.grid**2
    columns = shares = None
    if layout.classes:
        columns = torch.arange(cells) % settings.grid % layout.classes
        shares = torch.from_numpy(in_proportion(images.label.numpy(force=True), CALIBRATION, seed))
    followed = inputs(layout, cells, seed, "timeline", labels=columns).to(device)
    calibration = inputs(layout, CALIBRATION, seed, "calibration", labels=shares).to(device)

    half = _gains_by_bf16(device, model.resolution)
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=half)

    def discriminate(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        x = augment(x, model.diffaugment)
        if model.input_noise:
            x = x + model.input_noise * torch.randn_like(x)
        with autocast():
            output = discriminator(x, condition)
        return output.float()

    def update(due: tuple[objectives.Phase, ...], shown: Tensor, labels: Tensor) -> None:
        """Run the phases of one step on a batch of real images and a batch of fakes.

        All phases use the same fakes, generated before any update. Fakes have the classes of the
        real images, which gradient penalties at mixtures of both need.
        """
        v = layout.draw(model.batch, labels, device=device)
        condition = layout.parts(v)[1] if layout.conditions else None
        updates_g = any(phase.network == "generator" for phase in due)
        with torch.set_grad_enabled(updates_g), autocast():
            made = generator(v).float()
        if updates_g:
            for prepare in objective.prepare:
                prepare(made)
        real = objectives.Batch(shown, condition)
        fakes = {
            "generator": objectives.Batch(made, condition, v),
            "discriminator": objectives.Batch(made.detach(), condition, v),
        }
        for phase in due:
            optimizer = state.optimizers[phase.network]
            optimizer.zero_grad(set_to_none=True)
            with parametrize.cached():  # the same normalised weights for real and fake images
                loss, logged = phase.loss(discriminate, real, fakes[phase.network])
            # Only for this network's weights: a phase of G needs no gradients of D's.
            loss.backward(inputs=optimizer.param_groups[0]["params"])
            optimizer.step()
            phase.constrain(state.networks[phase.network])
            state.note(logged)

    def due(step: int) -> tuple[objectives.Phase, ...]:
        return tuple(phase for phase in objective.phases if step % phase.interval == 0)

    def add_frame() -> None:
        kimg = state.step * model.batch / 1000
        ema.calibrate(average, calibration, CALIBRATION_BATCH)
        state.frames.append(record.frame(average, followed, kimg, folder))
        record.timeline(state.frames, folder, out / "timeline")

    facts = {
        "model": model.model_dump(),
        "train": settings.model_dump(),
        "seed": seed,
        "threads": threads,
        **record.machine(device),
    }
    files = [slices / name for name in (*TRAINING, *(HOLDOUT if settings.judge else ()))]
    folder = work / f"{name}-{checkpoint.fingerprint(facts, files)}"
    with checkpoint.hold(folder, f"train@{name}"):
        shutil.rmtree(out, ignore_errors=True)  # written again, from the checkpoint
        resumes = state.load(folder)
        if resumes:
            record.timeline(state.frames, folder, out / "timeline")
        else:
            state.started = _now()
            add_frame()
            _initial_statistics(state.memory, model, images, average, calibration, seed)
            state.save(folder)
        take_step: graphs.Step[tuple[objectives.Phase, ...]] = update
        if device.type == "cuda":
            period = math.lcm(*(phase.interval for phase in objective.phases))
            sets = {due(step) for step in range(period)}
            take_step = graphs.recorded(update, sets, *images.batch(0, model.batch))
            state.load(folder)  # undo the warm-up steps
        state.resumed += resumes
        judging = None
        if settings.judge:
            judging = judge.prepare(
                settings.judge, slices, work / "features", model.resolution, layout, seed
            )
        live = record.history(out / "history", state.history)
        progress = tqdm(
            desc=name,
            total=steps * model.batch,
            initial=state.step * model.batch,
            unit="img",
            mininterval=1,
        )
        saved, pause = time.monotonic(), CHECKPOINT_SECONDS
        meter = energy.Meter()
        reported: set[str] = set()  # kinds of alarm

        while state.step < steps and not (judging and judging.is_enough(state.history)):
            take_step(due(state.step), *images.batch(state.step, model.batch))
            state.step += 1
            shown_images = state.step * model.batch
            ramp = math.inf if model.init_from else shown_images
            ema.update(average, generator, ema.decay(ramp, model.batch, model.ema_kimg * 1000))
            progress.update(model.batch)

            # Checkpoints, and at ticks also history, frame and evaluation. Numbers are read back
            # only here, because that waits for the GPU.
            if state.step not in ticks and time.monotonic() < saved + pause:
                continue
            if not state.finite():
                state.load(folder)
                ema.calibrate(average, calibration, CALIBRATION_BATCH)  # done at ticks only
                _write(state, name, model, judging, images.classes, threads, out)
                raise DivergedError(_diverged(name, shown_images / 1000, state, model, out))
            if state.step in ticks:
                add_frame()
                tick = len(state.history) + 1
                row = {"tick": tick, "kimg": shown_images / 1000, **state.means()}
                state.history.append(row)
                if judging and judging.is_due(tick, last=state.step == steps):
                    row |= judging.evaluate(average)
                    if judging.section.keep == "best" and judge.best(state.history) is row:
                        state.keep()
                for alarm in judge.alarms(state.history, model):
                    if alarm.kind not in reported:  # a resumed training may start after its tick
                        reported.add(alarm.kind)
                        progress.write(f"warning: {name}: {alarm.sentence}")
                record.log(live, row)
                progress.set_postfix({k: f"{v:.2f}" for k, v in row.items() if "loss" in k})
            state.seconds += time.monotonic() - saved
            state.joules += meter.joules()
            saved = time.monotonic()
            state.save(folder)
            pause = max(CHECKPOINT_SECONDS, (time.monotonic() - saved) / CHECKPOINT_SHARE)

        progress.close()
        _write(state, name, model, judging, images.classes, threads, out)


def _gains_by_bf16(device: torch.device, resolution: int) -> bool:
    """Tell whether networks are much faster in bf16.

    A CPU without bf16 instructions emulates them, at a third of the speed of fp32. Small images
    gain little.
    """
    if device.type == "cuda":
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])  # since torch 2.11
    return resolution >= BF16_FROM and bool(capabilities().get("avx512_bf16"))


def _make_reproducible(seed: int, threads: int) -> None:
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is reproducible with it
    # Operations without a deterministic kernel warn. Filling empty tensors would only cost time.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)


def _initial_statistics(  # noqa: PLR0917
    memory: dict[str, Tensor],
    model: params.Model,
    images: data.Images,
    average: nn.Module,
    calibration: Tensor,
    seed: int,
) -> None:
    """Compute the initial statistics for matching."""

    def real() -> Iterator[Tensor]:
        batches = math.ceil(min(len(images), MEASURED) / model.batch)
        return (images.batch(part, model.batch)[0] for part in range(batches))

    def fake() -> Iterator[Tensor]:
        return (average(v) for v in calibration[: len(images)].split(CALIBRATION_BATCH))

    if model.feature_matching:
        matching.remember_features(memory, real(), fake())
    if model.patch_matching:
        matching.remember_patches(memory, real(), fake(), seed)


def _write(  # noqa: PLR0917
    state: TrainingState,
    name: str,
    model: params.Model,
    judging: judge.CheckpointJudge | None,
    classes: list[str],
    threads: int,
    out: Path,
) -> None:
    """Write weights, judgement.json, architecture.json and run.json, the only file with times."""
    kimg = state.step * model.batch / 1000
    judgement = judge.judgement(state.history, model, judging, kimg)
    layout = models.inputs(model, len(classes))
    common: dict[str, Any] = {
        "model": name,
        "resolution": model.resolution,
        "kimg": judgement["chosen"]["kimg"],
        "inputs": layout,
        "condition": model.condition,
        "classes": classes if layout.classes else [],
        "pictures": classes if layout.pictures else [],
    }
    generator = models.GeneratorInfo(**common, generator=model.generator)
    discriminator = models.DiscriminatorInfo(
        **common, discriminator=model.discriminator, outputs=models.outputs(model, layout)
    )
    last = generator.model_copy(update={"kimg": kimg})
    models.save(state.networks["average"], last, out / "last.safetensors")
    for player, tensors in state.best.items():
        state.networks[player].load_state_dict(tensors)
    models.save(state.networks["average"], generator, out / "generator.safetensors")
    models.save(state.networks["discriminator"], discriminator, out / "discriminator.safetensors")
    write_json(out / "judgement.json", judgement, sort_keys=True)
    layers = _architecture(state, layout, model.resolution)
    write_json(out / "architecture.json", layers, sort_keys=True)
    # Of the whole machine, including other programs.
    used = {"watt_hours_of_the_machine": round(state.joules / 3600, 2)} if state.joules else {}
    write_json(
        out / "run.json",
        {
            "kimg": kimg,
            "started": state.started,
            "finished": _now(),
            "seconds": round(state.seconds, 1),
            "images_per_second": round(1000 * kimg / max(state.seconds, 1e-3), 1),
            **used,
            "resumed": state.resumed,
            "threads": threads,
            "parameters": {
                player: sum(p.numel() for p in state.networks[player].parameters())
                for player in ("generator", "discriminator")
            },
            **record.machine(state.device),
        },
        sort_keys=True,
    )


def _architecture(state: TrainingState, layout: Inputs, resolution: int) -> dict[str, Any]:
    v = torch.zeros(2, layout.width, device=state.device)
    x = torch.zeros(2, 3, resolution, resolution, device=state.device)
    condition = layout.parts(v)[1] if layout.conditions else None
    return {
        "generator": record.architecture(state.networks["average"], v),
        "discriminator": record.architecture(state.networks["discriminator"], x, condition),
    }


def _diverged(name: str, kimg: float, state: TrainingState, model: params.Model, out: Path) -> str:
    good = state.step * model.batch / 1000
    return (
        f"{name}: at {kimg:g} kimg a loss or weight is not finite (NaN or infinity). The last good "
        f"state, at {good:g} kimg, is in {out / 'last.safetensors'}; to get further, lower "
        f"models.{name}.optimizer.lr (now {model.optimizer.lr:g}) or change the objective"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
