"""Write a bundle: models, parameters, credits and an app to publish them."""

from __future__ import annotations

import importlib.metadata
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ruamel.yaml.error import YAMLError

from ganloom import tables
from ganloom.bundle.read import MAX_BYTES, BundleError, check
from ganloom.credits import attribution
from ganloom.files import write_whole
from ganloom.images.shards import sha256
from ganloom.models import GeneratorInfo, ModelError
from ganloom.privacy import shareable
from ganloom.sampling.saving import whole_folder
from ganloom.tables import KeptRow, ManifestRow, TableError
from ganloom.trained import trained
from ganloom.versions import UNKNOWN, version

SOURCE = Path(__file__).parents[1]
# Modules that the app imports, besides those of the networks, so that it runs without ganloom.
MODULES = [
    "__init__.py",
    "geometry.py",
    "images/__init__.py",
    "images/arrays.py",
    "images/encoding.py",
    "images/sheets.py",
    "models.py",
    "nets/__init__.py",
    "nets/blocks.py",
    "nets/conditioning.py",
    "nets/inputs.py",
    *(f"params/{path.name}" for path in (SOURCE / "params").glob("*.py")),
    "sampling/__init__.py",
    "sampling/generate.py",
    "sampling/latents.py",
    "sampling/mixing.py",
]
PACKAGES = ["numpy", "pillow", "pydantic", "safetensors", "torch"]
STREAMLIT = "streamlit>=1.40,<2"
THE_DAY = (1980, 1, 1, 0, 0, 0)  # of every file in a zip, so that equal bundles have equal bytes


def write(project: Path, names: Sequence[str], out: Path) -> int:
    """Write a bundle of trained models.

    Args:
        project: Folder with ``params.yaml``, ``data/`` and ``results/models/``.
        names: Names of the models.
        out: Path of a new or empty folder, or of a file that ends in ``.zip``.

    Returns:
        The size of all files in bytes.

    Raises:
        BundleError: If a file is missing, or the bundle is too large or cannot be written. Nothing
            is written then.
    """
    files = _files(project, names)
    sizes = {name: len(data) for name, data in files.items()}
    if (total := sum(sizes.values())) > MAX_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise BundleError(
            f"the bundle would have {total / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}; "
            f"the largest in it is {largest} with {sizes[largest] / 1e6:.0f} MB: "
            "leave it out, or train it with fewer channels"
        )
    try:
        if out.suffix == ".zip":
            write_whole(out, _zipped(files))
        else:
            _write_folder(out, files)
    except OSError as error:
        raise BundleError(f"{out} cannot be written: {error.strerror}") from None
    return total


def _files(project: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Content of each file by path, sorted by path."""
    models, infos = {}, {}
    available = trained(project)
    for name in names:
        if name not in available:
            names_here = ", ".join(available) or "none"
            raise BundleError(f"{name} is not trained; trained models: {names_here}")
        path = available[name].generator
        try:
            infos[name] = check(path)
        except ModelError as error:
            raise BundleError(str(error)) from None
        models[name] = path.read_bytes()
    kinds = {f"nets/{info.generator.kind}.py" for info in infos.values()}
    files = {f"models/{name}.safetensors": data for name, data in models.items()}
    files |= {f"ganloom/{name}": (SOURCE / name).read_bytes() for name in {*MODULES, *kinds}}
    files["streamlit_app.py"] = (Path(__file__).parent / "streamlit_app.py").read_bytes()
    texts = {
        "CREDITS.md": _credits(project),
        "LICENSE": _licence(),
        "README.md": _readme(infos, models),
        "params.yaml": _params(project / "params.yaml"),
        "requirements.txt": _requirements(),
    }
    return dict(sorted((files | {name: text.encode() for name, text in texts.items()}).items()))


def _credits(project: Path) -> str:
    try:
        manifest = tables.read(project / "data/manifest.csv", ManifestRow)
        kept = tables.read(project / "data/kept.csv", KeptRow)
    except FileNotFoundError as error:
        raise BundleError(
            f"{error.filename} does not exist, which is needed for the credits; to create it: "
            "dvc repro curate"
        ) from None
    except TableError as error:
        raise BundleError(f"{error}; to create it again: dvc repro curate") from None
    return attribution(manifest, kept, project / "data/slices")


def _licence() -> str:
    """Licence of ganloom, a part of which is in the bundle."""
    path = SOURCE.parents[1] / "LICENSE"
    if path.exists():
        return path.read_text(encoding="utf-8")
    return importlib.metadata.distribution("ganloom").read_text("licenses/LICENSE") or ""


def _params(path: Path) -> str:
    try:
        return shareable(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not YAML: {error}") from None


def _requirements() -> str:
    """Installed versions of the packages, with torch for CPUs."""
    versions = {name: version(name).partition("+")[0] for name in PACKAGES}
    pinned = [f"{name}=={v}" if v != UNKNOWN else name for name, v in versions.items()]
    index = "--extra-index-url https://download.pytorch.org/whl/cpu"
    return "\n".join([index, *pinned, STREAMLIT]) + "\n"


def _readme(infos: Mapping[str, GeneratorInfo], models: Mapping[str, bytes]) -> str:
    rows = [
        f"| {name} | {info.resolution} px | {len(info.classes) or '–'} "
        f"| {info.kimg:g} | `{sha256(models[name])}` |"
        for name, info in infos.items()
    ]
    table = "\n".join(
        ["| model | size | classes | kimg | sha256 |", "|---|---|---|---|---|", *rows]
    )
    return README.format(table=table)


README = """# Generators trained with ganloom

{table}

`params.yaml` has the parameters of their training, and `CREDITS.md` the credits of the training
images. `ganloom/` is the part of ganloom that runs the generators (Apache License 2.0, see
`LICENSE`).

## Run the app locally

```sh
python3 -m venv .venv
.venv/bin/pip install -r requirements.txt
.venv/bin/streamlit run streamlit_app.py
```

With ganloom installed: `ganloom studio --bundle .`

## Publish the app

1. Create a Git repository from this folder, and push it to GitHub.
2. On <https://share.streamlit.io>, choose "Create app", the repository and `streamlit_app.py`, and
   Python 3.11 or later under "Advanced settings".

Read `CREDITS.md` first: some licences require more than attribution.
"""


def _write_folder(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder, or replace an empty one, atomically."""
    with whole_folder(out) as new:
        for name, data in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, THE_DAY)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            bundle.writestr(member, content)
    return data.getvalue()
