"""Sources of images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ganloom.params.types import Count, Section, Sha256, Unique, unique

Palette = Literal["ayahuasca", "river", "clay", "night"]
Motif = Literal["meander", "cross", "hexagon", "maze"]


class _Source(Section):
    path: str = Field(
        min_length=1,
        description="Folder or file to read, watched for changes; the source's own module if none",
    )


class KeneSource(_Source):
    """Geometric textile designs, drawn, "photographed" and scraped with the usual faults."""

    kind: Literal["kene"] = Field(description="Kind of source")
    designs: Count = Field(description="Distinct designs")
    size: Annotated[int, Field(ge=64, le=2048)] = Field(
        description="Longest side of a photograph in px"
    )
    faults: Annotated[float, Field(ge=0, le=4)] = Field(
        description="Faulty candidates (near-duplicates, junk, broken files) per design"
    )
    palettes: Annotated[list[Palette], Field(min_length=1), Unique] = Field(
        description="Colour schemes to draw from"
    )
    motifs: Annotated[list[Motif], Field(min_length=1), Unique] = Field(
        description="Motif families to draw from"
    )


class FolderSource(_Source):
    """A folder of pictures, read recursively; the first sub-folder is the class."""

    kind: Literal["folder"] = Field(description="Kind of source")
    licence: str | None = Field(
        description="Licence of the pictures, for the manifest and the credits; null: not known"
    )
    creator: str | None = Field(default=None, description="Author of the pictures, for the credits")


class TorchvisionSource(_Source):
    """A data set of torchvision, from a local root or downloaded."""

    kind: Literal["torchvision"] = Field(description="Kind of source")
    dataset: Literal[
        "CIFAR10", "CIFAR100", "CelebA", "FashionMNIST", "Flowers102", "KMNIST", "MNIST", "SVHN"
    ] = Field(description="Class in torchvision.datasets")
    split: Literal["train", "test", "valid", "all"] = Field(
        description="Part of the data set; which ones exist depends on it"
    )
    classes: Annotated[list[str], Unique] | None = Field(
        description="Class names to take; null: all"
    )
    limit: Count | None = Field(description="Take only the first so many; null: all")
    download: bool = Field(
        description="Download into work/torchvision instead of reading path (which is then "
        "the source's own module)"
    )


class DigitsSource(_Source):
    """The 1,797 handwritten digits of 8x8 px that scikit-learn ships."""

    kind: Literal["digits"] = Field(description="Kind of source")


def _words(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise PydanticCustomError("words", "Input should be words, on one line")
    return text


class Keyword(Section):
    """What to search for."""

    text: Annotated[str, Field(max_length=200), AfterValidator(_words)] = Field(
        description="Words to search for"
    )
    max: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Pictures to take of what they find, at most"
    )


def _once(keywords: list[Keyword]) -> list[Keyword]:
    unique([keyword.text for keyword in keywords])
    return keywords


class KeywordSource(_Source):
    """What the kinds that search the web by keyword share; their path is their own module."""

    keywords: Annotated[list[Keyword], Field(min_length=1), AfterValidator(_once)] = Field(
        description="Searches, merged by URL"
    )


class CommonsSource(KeywordSource):
    """Wikimedia Commons: free pictures with author and licence, through its API."""

    kind: Literal["commons"] = Field(description="Kind of source")
    # Wikimedia's servers answer no other width (mediawiki.org/wiki/Common_thumbnail_sizes).
    width: Literal[250, 330, 500, 960, 1280, 1920, 3840] | None = Field(
        description="Width in px of the scaled pictures to fetch; null: the originals"
    )


class OpenverseSource(KeywordSource):
    """Openverse: openly licensed pictures of many collections, through its API."""

    kind: Literal["openverse"] = Field(description="Kind of source")


class GoogleSource(KeywordSource):
    """Google Images: the search page as it is served without JavaScript, if it is."""

    kind: Literal["google"] = Field(description="Kind of source")


class BingSource(KeywordSource):
    """Bing Images: the search page as it is served without JavaScript."""

    kind: Literal["bing"] = Field(description="Kind of source")


class UrlsSource(_Source):
    """A list of addresses: a CSV or JSONL file, such as an earlier data/manifest.csv."""

    kind: Literal["urls"] = Field(description="Kind of source")


def _codec(name: str) -> str:
    try:
        is_usable = b"a.png".decode(name, "replace") == "a.png"
    except (LookupError, ValueError):  # not known, or not an encoding of text
        is_usable = False
    if not is_usable:
        raise PydanticCustomError(
            "codec", "Input should be an encoding that Python knows, such as 'cp949' or 'euc_jp'"
        )
    return name


class ArchiveSource(_Source):
    """Pictures in a zip, tar or npz file, local or downloaded; the first folder is the class."""

    kind: Literal["archive"] = Field(description="Kind of source")
    url: str | None = Field(
        description="Download it into work/archives instead of reading path (which is then the "
        "source's own module)"
    )
    sha256: Sha256 | None = Field(
        description="Refuse any other file; needed with a url; null: not checked"
    )
    max_bytes: Count = Field(description="Refuse a larger archive, in bytes")
    encoding: Annotated[str, AfterValidator(_codec)] | None = Field(
        default=None,
        description="Encoding of the names that are not UTF-8; null or missing: guessed from them",
    )
    licence: str | None = Field(
        description="Licence of the pictures, for the manifest and the credits; null: not known"
    )
    creator: str | None = Field(default=None, description="Author of the pictures, for the credits")


Source = Annotated[
    KeneSource
    | FolderSource
    | TorchvisionSource
    | DigitsSource
    | CommonsSource
    | OpenverseSource
    | GoogleSource
    | BingSource
    | UrlsSource
    | ArchiveSource,
    Field(discriminator="kind"),
]
