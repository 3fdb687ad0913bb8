"""Reads detection data sets in Pascal VOC's format: JPEGImages, Annotations (XML) and lists in ImageSets/Main."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, parse

from edgedet_evaluation.annotated_size import check_size
from edgedet_evaluation.coco import CocoDataset, CocoPhoto
from edgedet_evaluation.errors import DataMissing, DataUnreadable

_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
_Corners = tuple[float, float, float, float]
_Object = tuple[str, _Corners, bool]
_MARK = re.compile(r"\s+(-1|0|1)$")
"""Of a list that is about one label: the photo has none, a difficult one, one."""


def read_voc(folder: Path, split: str, labels: Sequence[str] = (), name: str | None = None) -> CocoDataset:
    """The photos of the list ImageSets/Main/`split`.txt, with or without their suffix, as COCO would hold them.

    Categories are numbered from 1 in the order of `labels`; without them, all names that occur, sorted. Boxes are cut
    at the photo's edges, as a network's answers are; those without area are left out, difficult ones do not count.
    Pixels of VOC are counted from 1, both ends included.

    Raises:
        DataMissing: the list, or a photo or an annotation that it names.
        DataUnreadable: an annotation that is not VOC's XML, a label that is none of `labels`, a box that lies outside
            of its photo, a photo of another size than its annotation tells, or one that is listed twice.
    """
    listed = folder / "ImageSets" / "Main" / f"{split}.txt"
    listing = _read_list(folder, listed)
    photos = [CocoPhoto(number, file) for number, file in enumerate(listing.values(), start=1)]
    files = [folder / "Annotations" / f"{stem}.xml" for stem in listing]
    found = [_read(file, listed) for file in files]
    names = tuple(labels) or tuple(sorted({label for objects, _ in found for label, _, _ in objects}))
    number = {label: place for place, label in enumerate(names, start=1)}
    rows: list[dict[str, Any]] = []
    total = hashlib.sha256()
    for photo, (objects, size), file in zip(photos, found, files, strict=True):
        pixels = photo.file.read_bytes()
        sides = check_size(photo.file, pixels, *size)
        total.update(hashlib.sha256(pixels).digest() + hashlib.sha256(file.read_bytes()).digest())
        for label, (x1, y1, x2, y2), difficult in objects:
            if label not in number:
                raise DataUnreadable(
                    f"{file}: label {label!r} is none of {', '.join(names)}: correct it, or the labels"
                )
            if x2 == x1 or y2 == y1:
                continue
            left, top, right, bottom = _cut(file, label, (x1 - 1, y1 - 1, x2, y2), sides)
            width, height = right - left, bottom - top
            rows.append(
                {"id": len(rows) + 1, "image_id": photo.id, "category_id": number[label],
                 "bbox": [left, top, width, height], "area": width * height, "iscrowd": 0, "difficult": int(difficult)}
            )  # fmt: skip
    if not rows:
        raise DataUnreadable(f"{listed} names photos without a single box")
    content = {
        "images": [{"id": photo.id, "file_name": photo.file.name} for photo in photos],
        "categories": [{"id": place, "name": label} for label, place in number.items()],
        "annotations": rows,
    }
    categories = tuple((place, label) for label, place in number.items())
    return CocoDataset(name or f"{folder.name} {split}", tuple(photos), categories, content, total.hexdigest())


def _cut(file: Path, label: str, box: _Corners, sides: tuple[int, int] | None) -> _Corners:
    """What a photo of these sides shows of a box (x1, y1, x2, y2)."""
    if sides is None:
        return box
    x1, x2 = (min(max(x, 0.0), sides[0]) for x in box[::2])
    y1, y2 = (min(max(y, 0.0), sides[1]) for y in box[1::2])
    if x2 <= x1 or y2 <= y1:
        raise DataUnreadable(
            f"{file}: a box of {label!r} lies outside of the photo's {sides[0]} × {sides[1]} pixels: correct it, or "
            "take it out"
        )
    return x1, y1, x2, y2


def _read_list(folder: Path, listed: Path) -> dict[str, Path]:
    """The photos of a list by the stems of their annotations, in the list's order."""
    if not listed.is_file():
        raise DataMissing(f"no list of photos at {listed}")
    try:
        lines = listed.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataUnreadable(f"{listed} is no list of photos in UTF-8: {error}") from error
    photos: dict[str, Path] = {}
    for stem, file in (_entry(folder, line.strip()) for line in lines if line.strip()):
        if stem in photos:  # it could be learned and held out at once
            raise DataUnreadable(f"{listed} names {stem} twice: take one of the lines out")
        if file is None:
            raise DataMissing(f"{listed.name} lists {stem}, which is not in {folder / 'JPEGImages'}")
        photos[stem] = file
    if not photos:
        raise DataUnreadable(f"{listed} names no photo")
    return photos


def _entry(folder: Path, line: str) -> tuple[str, Path | None]:
    """What a line names, and the photo, if it is there.

    Its name may have spaces, so that a mark is one only where nothing is called so; it may be that of the very file.
    """
    file = _file(folder, line)
    if file or (folder / "Annotations" / f"{line}.xml").is_file():
        return line, file
    name = _MARK.sub("", line)
    named = folder / "JPEGImages" / name
    if named.suffix in _SUFFIXES and named.is_file():
        return named.stem, named
    return name, _file(folder, name)


def _file(folder: Path, stem: str) -> Path | None:
    files = (folder / "JPEGImages" / f"{stem}{suffix}" for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _read(file: Path, listed: Path) -> tuple[list[_Object], tuple[float, float]]:
    """Of every object its label, corners as written, and whether it is marked difficult; width and height, or 0."""
    if not file.is_file():
        raise DataMissing(f"{listed.name} lists {file.stem}, which has no annotation at {file}")
    try:
        root = parse(file).getroot()
        width, height = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        return [_object(item) for item in root.iter("object")], (width, height)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise DataUnreadable(f"{file} is not an annotation of Pascal VOC: {error}") from error


def _object(item: Element) -> _Object:
    name, box = (item.findtext("name") or "").strip(), item.find("bndbox")
    if not name or box is None:
        raise ValueError("an <object> lacks <name> or <bndbox>")
    x1, y1, x2, y2 = (float(box.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax"))
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise ValueError(f"a <bndbox> has corners {x1:g}, {y1:g}, {x2:g}, {y2:g}")
    if x2 < x1 or y2 < y1:
        raise ValueError(f"a <bndbox> has its corners swapped: x from {x1:g} to {x2:g}, y from {y1:g} to {y2:g}")
    return name, (x1, y1, x2, y2), (item.findtext("difficult") or "0").strip() == "1"
