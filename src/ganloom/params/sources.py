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
        description="Folder or file to read; for a source without one, its module",
    )

    @property
    def reads_path(self) -> bool:
        """Whether the images come from ``path``; otherwise ``path`` has to be the module."""
        return True


class SourceWithoutPath(_Source):
    """Base of the sources that generate images or find them on the web."""

    @property
    def reads_path(self) -> bool:
        return False


class KeneSource(SourceWithoutPath):
    """Geometric textile designs drawn by ganloom, with the faults of scraped images; CC0."""

    kind: Literal["kene"] = Field(description="Kind of source")
    designs: Count = Field(description="Number of different designs")
    size: Annotated[int, Field(ge=64, le=2048)] = Field(
        description="Longest side of an image, in px"
    )
    faults: Annotated[float, Field(ge=0, le=4)] = Field(
        description="Faulty images (near-duplicates, junk, broken files) per design"
    )
    palettes: Annotated[list[Palette], Field(min_length=1), Unique] = Field(
        description="Colour schemes of the designs"
    )
    motifs: Annotated[list[Motif], Field(min_length=1), Unique] = Field(
        description="Motifs of the designs"
    )


class FolderSource(_Source):
    """A folder of images and its sub-folders; the first level of sub-folders gives the classes."""

    kind: Literal["folder"] = Field(description="Kind of source")
    licence: str | None = Field(
        description="Licence of the images, for the manifest and the credits; null: unknown"
    )
    creator: str | None = Field(default=None, description="Author of the images, for the credits")


class TorchvisionSource(_Source):
    """A dataset of torchvision, downloaded or from local files, under the dataset's licence."""

    kind: Literal["torchvision"] = Field(description="Kind of source")
    dataset: Literal[
        "CIFAR10", "CIFAR100", "CelebA", "FashionMNIST", "Flowers102", "KMNIST", "MNIST", "SVHN"
    ] = Field(description="Name of the class in torchvision.datasets")
    split: Literal["train", "test", "valid", "all"] = Field(
        description="Split of the dataset; not every dataset has every split"
    )
    classes: Annotated[list[str], Unique] | None = Field(
        description="Names of the classes to use; null: all"
    )
    limit: Count | None = Field(
        description="Maximum number of images, from the first on; null: all"
    )
    download: bool = Field(
        description="true: download into work/torchvision (path is then the source's module); "
        "false: read path"
    )

    @property
    def reads_path(self) -> bool:
        return not self.download


class DigitsSource(SourceWithoutPath):
    """The 1,797 handwritten digits of 8x8 px that scikit-learn includes; CC BY 4.0."""

    kind: Literal["digits"] = Field(description="Kind of source")


def _words(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise PydanticCustomError("words", "Input should be words, on one line")
    return text


class Keyword(Section):
    """A search."""

    text: Annotated[str, Field(max_length=200), AfterValidator(_words)] = Field(
        description="Search terms"
    )
    max: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Maximum number of results")


def _once(keywords: list[Keyword]) -> list[Keyword]:
    unique([keyword.text for keyword in keywords])
    return keywords


class KeywordSource(SourceWithoutPath):
    """Base of the sources that search by keyword; their path is their own module."""

    keywords: Annotated[list[Keyword], Field(min_length=1), AfterValidator(_once)] = Field(
        description="List of searches; results with the same URL are merged"
    )


class CommonsSource(KeywordSource):
    """Wikimedia Commons, with author and licence of each image; needs `network.contact`."""

    kind: Literal["commons"] = Field(description="Kind of source")
    # Wikimedia's servers answer no other width (mediawiki.org/wiki/Common_thumbnail_sizes).
    width: Literal[250, 330, 500, 960, 1280, 1920, 3840] | None = Field(
        description="Width of the scaled images to fetch, in px; null: full size"
    )


# The names of Openverse's API, such as `smithsonian_cooper_hewitt_museum`.
_Collection = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class OpenverseSource(KeywordSource):
    """Openverse: openly licensed images of many collections, with author and licence."""

    kind: Literal["openverse"] = Field(description="Kind of source")
    collections: Annotated[list[_Collection], Field(min_length=1), Unique] | None = Field(
        default=None,
        description="Collections to search one after the other, such as `flickr` and `met`, each "
        "with up to 240 results for each keyword; null or missing: all at once, 240 in total",
    )


_Type = Annotated[str, Field(max_length=100), AfterValidator(_words)]


class ClevelandSource(KeywordSource):
    """Cleveland Museum of Art: works in the public domain, CC0."""

    kind: Literal["cleveland"] = Field(description="Kind of source")
    type: _Type | None = Field(
        description="Type of the works, such as `Textile` or `Painting`; null: all"
    )
    size: Literal["web", "print"] = Field(
        description="Size of the images: web (900 px) or print (3400 px on the longer side)"
    )


class ArticSource(KeywordSource):
    """Art Institute of Chicago: works in the public domain, CC0; one image a second."""

    kind: Literal["artic"] = Field(description="Kind of source")
    type: _Type | None = Field(
        description="Type of the works, such as `Textile` or `Painting`; null: all"
    )
    width: Literal[400, 843, 1686] = Field(
        description="Width of the images, in px; the museum asks for 843"
    )


class InaturalistSource(KeywordSource):
    """iNaturalist: photographs of organisms, with author and licence; keywords are taxa."""

    kind: Literal["inaturalist"] = Field(description="Kind of source")
    size: Literal["small", "medium", "large", "original"] = Field(
        description="Longest side of the images: small (240 px), medium (500 px), large (1024 px) "
        "or original (up to 2048 px)"
    )
    licences: Annotated[
        list[
            Literal[
                "cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa", "cc-by-nd", "cc-by-nc-nd"
            ]
        ],
        Field(min_length=1),
        Unique,
    ] = Field(description="Licences of the photographs; most are `cc-by-nc`")


class EuropeanaSource(KeywordSource):
    """Europeana: openly licensed works of European museums and archives; needs a free key."""

    kind: Literal["europeana"] = Field(description="Kind of source")
    width: Literal[200, 400] | None = Field(
        description="Width of Europeana's own scaled images, in px; null: the file of the museum"
    )


class SmithsonianSource(KeywordSource):
    """Smithsonian: works and specimens of its museums, CC0; needs a free key."""

    kind: Literal["smithsonian"] = Field(description="Kind of source")
    size: Annotated[int, Field(ge=100, le=10_000)] | None = Field(
        description="Longest side of the images, in px; null: full size"
    )


class _SearchEngineSource(_Source):
    """Base of the sources that read result pages which the user saved, or search by keyword."""

    way: str
    keywords: Annotated[list[Keyword], Field(min_length=1), AfterValidator(_once)] | None = Field(
        default=None,
        description="List of searches, merged by URL; null or missing with `way: saved`",
    )

    @property
    def reads_path(self) -> bool:
        return self.way == "saved"


class GoogleSource(_SearchEngineSource):
    """Google Images: pages that you saved, a search in your browser, or SearXNG; no licences."""

    kind: Literal["google"] = Field(description="Kind of source")
    way: Literal["saved", "browser", "searxng"] = Field(
        description="saved: read pages and HAR files in path, or the table of `ganloom search`; "
        "browser: search in a window of Chrome or Chromium (needs `network.robots: false`); "
        "searxng: ask an instance of SearXNG"
    )
    instance: str | None = Field(
        default=None,
        description="Address of an instance of SearXNG; null or missing with another way",
    )


class BingSource(_SearchEngineSource):
    """Bing Images: pages that you saved, or requests (`network.robots: false`); no licences."""

    kind: Literal["bing"] = Field(description="Kind of source")
    way: Literal["saved", "requests"] = Field(
        description="saved: read pages and HAR files in path; requests: request result pages "
        "(needs `network.robots: false`)"
    )


class UrlsSource(_Source):
    """A list of URLs: a CSV or JSONL file, such as the data/manifest.csv of an earlier run."""

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
    """Images in a zip, tar or npz file, local or downloaded; top-level folders give the classes."""

    kind: Literal["archive"] = Field(description="Kind of source")
    url: str | None = Field(
        description="Address to download to work/archives (path is then the source's module); null:"
        " read path"
    )
    sha256: Sha256 | None = Field(
        description="Expected SHA-256 of the file, required with a url; null: not checked"
    )
    max_bytes: Count = Field(description="Maximum size of the archive, in bytes")
    encoding: Annotated[str, AfterValidator(_codec)] | None = Field(
        default=None,
        description="Encoding of file names that are not UTF-8; null or missing: detected",
    )
    licence: str | None = Field(
        description="Licence of the images, for the manifest and the credits; null: unknown"
    )
    creator: str | None = Field(default=None, description="Author of the images, for the credits")

    @property
    def reads_path(self) -> bool:
        return self.url is None


Source = Annotated[
    KeneSource
    | FolderSource
    | TorchvisionSource
    | DigitsSource
    | CommonsSource
    | OpenverseSource
    | ClevelandSource
    | ArticSource
    | InaturalistSource
    | EuropeanaSource
    | SmithsonianSource
    | GoogleSource
    | BingSource
    | UrlsSource
    | ArchiveSource,
    Field(discriminator="kind"),
]
