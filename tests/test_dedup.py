"""Near-duplicates: found in all symmetries, without chains of similar images."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import drawings
import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from ganloom.dedup import analysis, detail, fingerprint, group, quality, search
from ganloom.images import arrays, decoding, encoding
from ganloom.images.shards import Shards, sha256, write_shards
from ganloom.params import Dedup

SECTION = Dedup(
    hash_size=8,
    max_distance=12,
    max_difference=16.0,
    min_contrast=4.0,
    symmetries=True,
    deep=False,
    deep_similarity=0.7,
    deep_correlation=0.7,
)


def blobs(seed: int, size: tuple[int, int] = (120, 120)) -> Image.Image:
    """A smooth random image."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, level: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=level)
    return Image.open(file).convert("RGB")


def turned(image: Image.Image, k: int) -> Image.Image:
    return Image.fromarray(arrays.apply_symmetry(np.asarray(image), k))


def printed(name: str, image: Image.Image, hash_size: int = 8) -> fingerprint.Fingerprint:
    return of_file(name, encoding.png(image), hash_size)


def of_file(name: str, data: bytes, hash_size: int = 8) -> fingerprint.Fingerprint:
    seen = decoding.preview(data, 10**8, fingerprint.SIDE)
    return fingerprint.describe({name: seen}, hash_size)[0]


def grouped(
    prints: Sequence[fingerprint.Fingerprint],
    section: Dedup = SECTION,
    pixels: Mapping[str, str] | None = None,
    parts: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, group.Member]:
    """Members by name; ``pixels`` names those that are equal when decoded."""
    known = pixels or {p.sha256: p.pixels for p in prints}
    table = fingerprint.table(prints, len(prints), section.hash_size)
    members = group.group(table, section, lambda names: [known[n] for n in names], parts or {})
    return {member.sha256: member for member in members}


def of(section: Dedup = SECTION, **pictures: Image.Image) -> dict[str, group.Member]:
    """Members by name; names stand for the sha256."""
    return grouped([printed(n, p, section.hash_size) for n, p in pictures.items()], section)


def bare(name: str, bits: int, rank: int = 0) -> fingerprint.Fingerprint:
    """A fingerprint whose hash has the first ``bits`` bits set; rank 0 is the best."""
    pattern = np.arange(64) < bits
    hashes = np.packbits(np.stack([pattern] * 8), axis=1)
    return hashed(name, hashes, rank)


def hashed(name: str, hashes: arrays.Array, rank: int) -> fingerprint.Fingerprint:
    grey = np.full((fingerprint.THUMBNAIL, fingerprint.THUMBNAIL, 3), 128, np.uint8)
    return printed(name, blobs(0))._replace(
        pixels=name, width=100_000 - rank, height=100, contrast=50, hashes=hashes, thumbnail=grey
    )


@pytest.mark.parametrize("k", range(8))
@pytest.mark.parametrize("size", [(120, 120), (150, 100)])
def test_recompressed_smaller_copy_is_found_in_all_symmetries(
    k: int, size: tuple[int, int]
) -> None:
    original = blobs(1, size)
    copy = jpeg(turned(original, k).resize((70, 70)), 60)
    found = of(original=original, copy=copy, other=blobs(2))
    assert found["copy"].cluster == "original"
    assert found["copy"].kind == "hash"
    assert found["copy"].distance <= SECTION.max_distance
    assert found["original"].kind == found["other"].kind == "keeper"


def test_symmetries_can_be_switched_off() -> None:
    section = SECTION.model_copy(update={"symmetries": False})
    original = blobs(1)
    found = of(section, a=original, b=jpeg(turned(original, 1), 80), c=jpeg(original, 80))
    assert found["b"].kind == "keeper"
    assert {found["a"].cluster, found["c"].cluster} == {found["a"].cluster}


def test_brighter_copy_is_found_but_not_a_recoloured_one() -> None:
    original = blobs(1).point(lambda value: 40 + value // 2)
    brighter = original.point(lambda value: value + 40)
    recoloured = Image.merge("RGB", original.split()[::-1])
    grey_alike = printed("y", original)
    swapped = printed("z", recoloured)._replace(hashes=grey_alike.hashes)
    assert of(a=original, b=brighter)["b"].cluster == of(a=original, b=brighter)["a"].cluster
    assert all(m.kind == "keeper" for m in grouped([grey_alike, swapped]).values())


def test_greyscale_copy_is_found_but_is_not_keeper() -> None:
    original = blobs(1)
    grey = original.filter(ImageFilter.UnsharpMask(1, 200)).convert("L").convert("RGB")
    assert of(a=grey, b=original)["a"].cluster == "b"


def test_keeper_has_most_pixels_then_detail_then_smallest_hash() -> None:
    large = blobs(1, (200, 200))
    found = of(a=jpeg(large.resize((100, 100)), 90), b=large)
    assert found["a"].cluster == "b"
    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8))
    sharp = Image.blend(blobs(1), fine, 0.15)
    found = of(a=sharp.filter(ImageFilter.GaussianBlur(1)), b=sharp)
    assert found["a"].cluster == "b"
    found = of(c=sharp, b=sharp.copy(), d=sharp.copy())
    assert [(m.sha256, m.cluster, m.kind) for m in found.values()] == [
        ("b", "b", "keeper"),
        ("c", "b", "pixels"),
        ("d", "b", "pixels"),
    ]


def test_files_with_equal_pixels_join_the_same_group() -> None:
    small = jpeg(blobs(1).resize((60, 60)), 80)
    found = of(large=blobs(1), small=small, twin=small.copy())
    assert found["small"].cluster == found["twin"].cluster == "large"
    assert found["small"].distance == found["twin"].distance


def test_similar_images_do_not_form_chains() -> None:
    """Each is 10 bits from the next one; 20 are too many for a copy."""
    chain = [bare(f"p{i}", bits=10 * i, rank=i) for i in range(5)]
    members = grouped(chain)
    assert [members[f"p{i}"].cluster for i in range(5)] == ["p0", "p0", "p2", "p2", "p4"]
    assert all(m.distance <= SECTION.max_distance for m in members.values())
    keepers = {m.sha256 for m in members.values() if m.kind == "keeper"}
    assert {m.cluster for m in members.values()} == keepers


def test_diameter_is_the_largest_distance_in_a_group() -> None:
    """Two copies on either side of their keeper are 20 bits apart."""
    prints = [bare("keeper", 20, 0), bare("less", 10, 1), bare("more", 30, 2), bare("far", 60, 3)]
    members = grouped(prints)
    assert [(m.cluster, m.diameter) for m in members.values()] == [
        ("far", 0),
        ("keeper", 20),
        ("keeper", 20),
        ("keeper", 20),
    ]


words = st.binary(min_size=8, max_size=8).map(lambda word: np.frombuffer(word, np.uint8))


@given(st.lists(words, min_size=2, max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_search_equals_exhaustive_comparison(
    plain: list[arrays.Array], data: st.DataObject
) -> None:
    """The hashes are similar in some symmetries as well."""
    forms = [np.stack([word] * 8) for word in plain]
    for _ in range(data.draw(st.integers(0, 6))):
        a, b = (data.draw(st.integers(0, len(plain) - 1)) for _ in range(2))
        flips = data.draw(st.sets(st.integers(0, 63), max_size=16))
        mask = np.packbits(np.isin(np.arange(64), list(flips)))
        forms[a] = forms[a].copy()
        forms[a][data.draw(st.integers(0, 7))] = forms[b][0] ^ mask
    prints = [hashed(f"{i:02}", form, i) for i, form in enumerate(forms)]
    table = fingerprint.table(prints, len(prints), 8)
    rows = np.arange(len(prints))
    index = search.Index(table, SECTION)
    index.add(rows)
    alike = index.search(rows)
    found = {(int(a), int(b)): int(n) for a, b, n in zip(*alike[:3], strict=True)}
    for a in range(len(prints)):
        for b in range(a):
            bits = min(
                sum((int(x) ^ int(y)).bit_count() for x, y in zip(turned, forms[b][0], strict=True))
                for turned in forms[a]
            )
            assert ((a, b) in found) == (bits <= SECTION.max_distance), (a, b, bits)
            assert bits == search.distances(forms[a], forms[b][:1], symmetries=True)[0]


@pytest.mark.parametrize("k", range(8))
@pytest.mark.parametrize("hash_size", [8, 16])
def test_one_dct_gives_the_hashes_of_all_symmetries(k: int, hash_size: int) -> None:
    grey = blobs(3, (150, 100)).convert("L")
    ours = fingerprint.hashes([blobs(4).convert("L"), grey], hash_size)[1, k]
    side = 4 * hash_size
    small = np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))[..., None]
    theirs = imagehash.phash(Image.fromarray(arrays.apply_symmetry(small, k)[..., 0]), hash_size)
    assert ours.tolist() == np.packbits(theirs.hash.ravel()).tolist()


def test_similar_images_are_compared_only_with_keepers(monkeypatch: pytest.MonkeyPatch) -> None:
    """For n similar images, no search may return n squared pairs."""
    monkeypatch.setattr(group, "ROWS", 10)
    largest = 0
    honest = search.Index.search

    def spy(index: search.Index, rows: search.Rows) -> search.Likenesses:
        nonlocal largest
        alike = honest(index, rows)
        largest = max(largest, len(alike.worse))
        return alike

    monkeypatch.setattr(search.Index, "search", spy)
    members = grouped([bare(f"{i:03}", 20, i) for i in range(100)])
    assert {m.cluster for m in members.values()} == {"000"}
    assert largest <= 8 * 10 * 10


def test_pixels_are_compared_only_for_files_with_equal_previews() -> None:
    asked: list[str] = []
    prints = [bare("a", 0, 0), bare("b", 30, 1), bare("c", 60, 2)]
    prints[2] = prints[2]._replace(pixels="b")
    table = fingerprint.table(prints, 3, 8)

    def pixels(names: Sequence[str]) -> list[str]:
        asked.extend(names)
        return ["equal"] * len(names)

    members = group.group(table, SECTION, pixels, {})
    assert sorted(asked) == ["b", "c"]
    assert [(m.sha256, m.cluster, m.kind) for m in members][2] == ("c", "b", "pixels")


def test_equal_previews_alone_are_not_equal_pixels() -> None:
    twins = [bare("a", 0, 0), bare("b", 40, 1)._replace(pixels="a")]
    members = grouped(twins, pixels={"a": "one", "b": "another"})
    assert [m.kind for m in members.values()] == ["keeper", "keeper"]


def test_copy_in_another_format_has_equal_pixels() -> None:
    """A JPEG that is decoded at a fraction of its size differs slightly from its PNG."""
    prints = [bare("jpeg", 20, 0), bare("png", 21, 0), bare("other", 22, 0)]
    members = grouped(prints, pixels={"jpeg": "same", "png": "same", "other": "other"})
    assert {name: m.kind for name, m in members.items()} == {
        "jpeg": "keeper",
        "other": "hash",
        "png": "pixels",
    }


def test_overlap_joins_groups_only_without_a_hash_match() -> None:
    prints = [bare("whole", 0, 0), bare("part", 40, 1), bare("alike", 42, 2), bare("else", 60, 3)]
    parts = {"part": ["whole"], "whole": ["part"], "alike": ["whole"]}
    members = grouped(prints, parts=parts)
    assert members["part"].cluster == members["alike"].cluster == "whole"
    assert members["part"].kind == members["alike"].kind == "deep"
    assert members["part"].diameter == 42
    assert members["else"].kind == "keeper"


def test_heavily_compressed_copy_is_not_keeper() -> None:
    """The blocks of strong compression have sharp edges."""
    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8))
    original = Image.blend(blobs(2), fine, 0.02)
    files = {}
    for name, level in (("poor", 40), ("good", 92)):
        file = io.BytesIO()
        original.save(file, "JPEG", quality=level)
        files[name] = of_file(name, file.getvalue())
    assert grouped(list(files.values()))["poor"].cluster == "good"


# --- drawings ------------------------------------------------------------------------------------

# What the hash of a pattern as fine as this does not survive.
TOO_MUCH = {"code": {"4 % cut off", "3 % cut off at the top"}}


@pytest.mark.parametrize("kind", drawings.KINDS)
def test_distinct_drawings_are_kept_and_copies_found(kind: str) -> None:
    """Drawings of one kind share paper, layout and style; most are similar at low resolution."""
    distinct = [drawings.drawing(kind, number) for number in range(6)]
    prints = [printed(str(number), picture) for number, picture in enumerate(distinct)]
    assert all(m.kind == "keeper" for m in grouped(prints).values())
    for change in drawings.COPIES.keys() - TOO_MUCH.get(kind, set()):
        copy = of_file("copy", drawings.COPIES[change](distinct[0]))
        members = grouped([*prints, copy])
        assert members["copy"].cluster == members["0"].cluster, change
        assert len({member.cluster for member in members.values()}) == len(distinct), change


def test_thin_line_drawings_are_not_blank_but_empty_sheets_are() -> None:
    rng = np.random.default_rng(0)
    across = np.linspace(232, 250, 400)
    shaded = np.broadcast_to(across, (300, 400)) + rng.normal(0, 2, (300, 400))
    sheet = Image.fromarray(shaded.round().astype(np.uint8)).convert("RGB")
    for kind in drawings.KINDS:
        assert looks(drawings.drawing(kind, 0)).contrast > 8, kind
    for empty in (sheet, jpeg(sheet, 40), Image.new("RGB", (400, 300), (250, 250, 248))):
        assert looks(empty).contrast < 8


def test_details_agree_despite_brightness_and_small_rotation() -> None:
    def small(image: Image.Image) -> arrays.Array:
        return np.asarray(
            image.convert("L").resize((fingerprint.DETAIL,) * 2, Image.Resampling.LANCZOS)
        )

    original, other = drawings.drawing("comic", 0), drawings.drawing("comic", 1)
    pale = original.point(lambda value: 120 + value // 2)
    askew = original.rotate(2, Image.Resampling.BICUBIC, fillcolor="white")
    stamped = original.copy()
    stamped.paste("red", (500, 770, 570, 785))
    for copy in (pale, askew, stamped):
        assert detail.agree(small(copy), small(original))
        assert detail.agree(small(original), small(copy))
        assert not detail.agree(small(copy), small(other))


@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_details_of_flat_and_noisy_images_can_be_compared(level: int, seed: int) -> None:
    flat = np.full((fingerprint.DETAIL,) * 2, level, np.uint8)
    noise = np.random.default_rng(seed).integers(0, 256, flat.shape, np.uint8)
    assert detail.agree(noise, noise)
    assert not detail.agree(noise, flat)
    assert not detail.agree(flat, noise)


def test_number_of_detail_comparisons_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def differ(a: arrays.Array, b: arrays.Array) -> bool:
        nonlocal compared
        compared += 1
        return False

    monkeypatch.setattr(detail, "agree", differ)
    members = grouped([bare(f"{i:03}", 20, i) for i in range(60)])
    assert all(m.kind == "keeper" for m in members.values())
    assert compared <= 60 * group.ATTEMPTS


# --- looks ---------------------------------------------------------------------------------------


def looks(image: Image.Image) -> quality.Measures:
    seen = decoding.preview(encoding.png(image), 10**8, fingerprint.SIDE)
    return quality.measure(seen.image.convert("L"))


def test_blur_flag_does_not_depend_on_contrast() -> None:
    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    sharp = Image.blend(blobs(1, (160, 120)), fine, 0.3)
    soft = sharp.filter(ImageFilter.GaussianBlur(3))
    pale = soft.point(lambda value: 60 + value // 2)
    assert looks(sharp).blurred < 0.4
    assert looks(soft).blurred > 0.6
    assert abs(looks(pale).blurred - looks(soft).blurred) < 0.15
    assert looks(soft).sharpness < looks(sharp).sharpness


def test_information_is_higher_for_patterns_than_for_plain_images() -> None:
    fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    blank = Image.new("RGB", (160, 120), (200, 10, 10))
    assert looks(blank).information < looks(blobs(1)).information < looks(fine).information
    assert looks(blank).blurred == 1.0
    assert looks(blank).contrast == 0


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_images_of_any_size_have_a_fingerprint(width: int, height: int) -> None:
    print_ = printed("x", Image.new("RGB", (width, height), (9, 99, 199)))
    assert (print_.width, print_.height) == (width, height)
    numbers = print_[3:4] + print_[5:10]
    assert np.isfinite(np.array(numbers, float)).all()
    assert abs(float(np.linalg.norm(print_.descriptor.astype(float))) - 1) < 0.01


def test_outlier_has_a_high_off_topic_score() -> None:
    prints = [printed(str(i), blobs(i)) for i in range(20)]
    page = Image.new("RGB", (120, 120), "white")
    page.paste("black", (10, 10, 110, 14))
    features = np.stack([p.descriptor for p in [*prints, printed("page", page)]])
    away = analysis.off_topic(features)
    assert int(away.argmax()) == 20
    assert away[20] > 3
    assert analysis.off_topic(features[:3]).tolist() == [0, 0, 0]


# --- crops ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 3, 6])
def test_crop_is_located_in_its_original_only(k: int) -> None:
    from ganloom.dedup import deep

    whole = Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    ).resize((160, 120), Image.Resampling.BICUBIC)
    part = jpeg(turned(whole.crop((30, 20, 140, 100)), k), 70)
    for a, b in ((whole, part), (part, whole)):
        seen = deep.overlap(a, b, symmetries=True)
        assert seen.correlation > 0.7
        assert seen.difference < SECTION.max_difference
    stranger = deep.overlap(blobs(5, (160, 120)), part, symmetries=True)
    assert stranger.difference > SECTION.max_difference or stranger.correlation < 0.7


def test_deep_pass_joins_only_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    wholes = [
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
            (240, 180), Image.Resampling.BICUBIC
        )
        for _ in range(6)
    ]
    crops = [jpeg(whole.crop((40, 30, 220, 165)), 80) for whole in wholes[:3]]
    files = [encoding.png(picture) for picture in [*wholes, *crops]]
    names = [sha256(data) for data in files]
    write_shards(tmp_path, [(sha256(data), "png", data) for data in files])
    section = SECTION.model_copy(update={"deep": True, "symmetries": False})
    with ThreadPoolExecutor(2) as pool:
        found = analysis.find(Shards(tmp_path), section, 10**6, pool)
    members = {m.sha256: m for m in found.members}
    assert [members[name].cluster for name in names] == [*names[:6], *names[:3]]
    assert [members[name].kind for name in names[6:]] == ["deep"] * 3
    assert found.features.shape == (9, 1280)
    assert found.features.dtype == np.float16
    rows = list(analysis.rows(found))
    assert [row["sha256"] for row in rows] == sorted(names) == found.prints["sha256"].tolist()


def test_copy_joins_the_most_similar_keeper() -> None:
    prints = [bare("far", 0, 0), bare("near", 20, 1), bare("copy", 11, 2)]
    members = grouped(prints)
    assert (members["copy"].cluster, members["copy"].distance) == ("near", 9)


def test_flat_images_are_grouped_only_if_equal() -> None:
    flat: dict[str, Any] = {
        f"p{i}": Image.new("RGB", (50, 50), (250 - i, 250, 250)) for i in range(4)
    }
    assert all(m.kind == "keeper" for m in of(**flat).values())
    assert of(a=flat["p0"], b=flat["p0"].copy())["b"].kind == "pixels"


@pytest.mark.parametrize("hash_size", [8, 16])
def test_dedup_of_an_empty_collection(hash_size: int) -> None:
    section = SECTION.model_copy(update={"hash_size": hash_size})
    assert grouped([], section) == {}
    assert [m.kind for m in of(section, only=blobs(1)).values()] == ["keeper"]


def test_fingerprints_are_sorted_for_any_number_of_workers(tmp_path: Path) -> None:
    files = [encoding.png(blobs(seed, (30, 20))) for seed in range(12)]
    write_shards(tmp_path, [(sha256(data), "png", data) for data in files])
    shards = Shards(tmp_path)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as three:
        first = list(fingerprint.fingerprints(shards, 8, 10**6, one))
        second = list(fingerprint.fingerprints(shards, 8, 10**6, three))
    assert [p.sha256 for p in first] == sorted(sha256(data) for data in files)
    assert repr(first) == repr(second)


def member(name: str, cluster: str, distance: int, kind: str) -> group.Member:
    return group.Member(name, cluster, distance, kind, 0)


def test_sheet_shows_largest_groups_with_keeper_first() -> None:
    members = [
        member("alone", "alone", 0, "keeper"),
        member("a", "b", 3, "hash"),
        member("b", "b", 0, "keeper"),
        member("c", "d", 0, "pixels"),
        member("d", "d", 0, "keeper"),
        member("e", "d", 2, "hash"),
    ]
    shown: list[str] = []

    def load(digest: str) -> Image.Image:
        shown.append(digest)
        return blobs(0)

    sheet = group.sheet(members, load, groups=2, columns=4, tile=20)
    assert shown == ["d", "c", "e", "b", "a"]
    assert sheet.height < 3 * 24 < sheet.width
    assert group.sheet(members[:1], load).height > 0


@pytest.mark.data
def test_rotated_batik_is_found_but_not_other_cloth(shared_data: Path) -> None:
    """The two pairs of equal files share a sha256; the quarter turns were confirmed by eye."""
    with (shared_data / "batik_groups.csv").open() as file:
        parents = {row["file"]: row["parent"] for row in csv.DictReader(file)}
    names = [name for name in parents if name.startswith(("B97", "B1", "B2"))]
    assert len(names) > 100
    prints = [of_file(name, (shared_data / "batik" / name).read_bytes()) for name in names]
    members = grouped(prints)
    turns = [
        ("B97559_10.jpg", "B97559_9.jpg"),
        ("B97559_13.jpg", "B97559_14.jpg"),
        ("B97478_7.jpg", "B97478_8.jpg"),
        ("B97829_11.jpg", "B97829_12.jpg"),
        ("B97826_11.jpg", "B97826_12.jpg"),
        ("B9741_10.jpg", "B9741_9.jpg"),
        ("B16_1.jpg", "B9715_7.jpg"),
        ("B9715_7.jpg", "B9715_8.jpg"),
    ]
    for a, b in turns:
        assert members[a].cluster == members[b].cluster, (a, b)
    sizes = Counter(m.cluster for m in members.values())
    assert max(sizes.values()) <= 4
    assert sum(m.kind != "keeper" for m in members.values()) < 25


@pytest.mark.data
def test_flipped_and_resized_photographs_are_found(shared_data: Path) -> None:
    folder = shared_data / "dedup_fixtures"
    names = ["ukbench00120.jpg", "ukbench00120_hflip.jpg", "ukbench00120_resize.jpg"]
    files = {name: (folder / "mixed_images" / name).read_bytes() for name in names}
    others = sorted((folder / "base_images").iterdir())
    files |= {p.name: p.read_bytes() for p in others if p.name != names[0]}
    prints = [of_file(n, data) for n, data in files.items()]
    members = grouped(prints)
    assert {members[name].cluster for name in names} == {members[names[0]].cluster}
    assert sum(m.kind == "keeper" for m in members.values()) == len(others)
