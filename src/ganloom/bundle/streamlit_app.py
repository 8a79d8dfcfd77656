"""Samples of the generators in models/, in a browser: `streamlit run streamlit_app.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
import torch
from torch.nn.functional import one_hot

from ganloom.images.encoding import png
from ganloom.images.sheets import grid
from ganloom.models import Generator, GeneratorInfo, load_generator
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import new
from ganloom.sampling.mixing import between

MODELS = Path(__file__).parent / "models"
WIDTH = 160  # px, least width of a sample


@st.cache_resource(show_spinner="Loading …", max_entries=2)
def load(path: str) -> tuple[Generator, GeneratorInfo]:
    torch.set_num_threads(1)  # the machine may be shared
    return load_generator(Path(path), "cpu")


def show(pictures: Any, columns: int, name: str) -> None:
    """Show samples (N, R, R, 3) as a grid, with a button to download it."""
    sheet = grid(pictures, columns)
    factor = -(-WIDTH // pictures.shape[1])
    st.image(sheet.repeat(factor, axis=0).repeat(factor, axis=1), output_format="PNG")
    st.download_button("PNG", png(sheet), f"{name}.png", "image/png", key=f"download_{name}")


def generate_page(net: Generator, classes: list[str]) -> None:
    count = st.slider("Number of samples", 1, 10, 5, key="count")
    seed = st.number_input("Seed", 0, 2**32 - 1, 0, key="seed")
    truncation = st.slider("Truncation", 0.1, 1.0, 1.0, 0.05, key="truncation")
    label = st.selectbox("Class", ["any", *classes], key="label") if classes else "any"
    number = None if label == "any" else classes.index(label)
    with st.spinner("Generating …"):
        v = new(net.inputs, count, int(seed), number)
        v[:, : net.inputs.latent] *= truncation
        show(generate(net, v), min(count, 5), "generated")


def mix_page(net: Generator, classes: list[str]) -> None:
    layout = net.inputs
    rows = st.slider("Transitions", 1, 10, 3, key="transitions")
    steps = st.slider("Interpolations", 1, 10, 5, key="interpolations") + 2
    spherical = st.radio("Path", ["spherical", "linear"], key="path") == "spherical"
    first = st.number_input("First seed", 0, 2**32 - 1, 0, key="from")
    a = drawn(net, int(first), rows)
    if classes:
        b = a.clone()
        columns = slice(layout.latent, layout.latent + layout.classes)
        for key, words, end in (("first", "First class", a), ("second", "Second class", b)):
            number = classes.index(
                st.selectbox(words, classes, min(int(key == "second"), len(classes) - 1), key=key)
            )
            end[:, columns] = one_hot(torch.tensor(number), layout.classes).float()
    else:
        last = st.number_input("Last seed", 0, 2**32 - 1, 100, key="to")
        b = drawn(net, int(last), rows)
    with st.spinner("Mixing …"):
        v = between(layout.latent, a, b, steps, spherical=spherical)
        show(generate(net, v.swapaxes(0, 1).flatten(0, 1)), steps, "mixed")


def drawn(net: Generator, seed: int, rows: int) -> torch.Tensor:
    """(rows, width) inputs from consecutive seeds."""
    seeds = [(seed + i) % 2**32 for i in range(rows)]
    return torch.cat([new(net.inputs, 1, each) for each in seeds])


def main() -> None:
    st.set_page_config("Generated images", layout="wide")
    paths = {path.stem: path for path in sorted(MODELS.glob("*.safetensors"))}
    name = st.sidebar.selectbox("Model", list(paths), key="model")
    net, info = load(str(paths[name]))
    st.sidebar.caption(f"{info.resolution} px. Credits of the training images: CREDITS.md")
    generated, mixed = st.tabs(["Generate", "Mix"])
    with generated:
        generate_page(net, info.classes)
    with mixed:
        mix_page(net, info.classes)


if __name__ == "__main__":
    main()
