"""Reads detection data sets in COCO's JSON format ("instances")."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from edgedet_evaluation.annotated_size import check_size
from edgedet_evaluation.errors import DataMismatch, DataMissing, DataUnreadable

_AS_WRITTEN = ConfigDict(extra="allow", coerce_numbers_to_str=True)
_Pixels = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e5, le=1e5)]
"""Beyond these no photo goes, and pycocotools leaves out boxes of more than 1e10 pixels."""
_Area = Annotated[float, Field(ge=0, le=1e10)]
"""It leaves out those below 0, too: whoever counts the corners of an outline clockwise gets such."""


@with_config(_AS_WRITTEN)
class _Image(TypedDict):
    id: int
    file_name: str
    width: NotRequired[float | None]
    height: NotRequired[float | None]


@with_config(_AS_WRITTEN)
class _Category(TypedDict):
    id: int
    name: str


@with_config(_AS_WRITTEN)
class _Annotation(TypedDict):
    image_id: int
    category_id: int
    bbox: Annotated[list[_Pixels], Field(min_length=4, max_length=4)]
    """x, y, width, height."""
    iscrowd: NotRequired[int | None]
    difficult: NotRequired[int | None]
    area: NotRequired[_Area | None]


@with_config(_AS_WRITTEN)
class _Instances(TypedDict):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


_INSTANCES = TypeAdapter(_Instances)


@dataclass(frozen=True, slots=True)
class CocoPhoto:
    """A photo and its id in the annotations."""

    id: int
    file: Path


@dataclass(frozen=True, slots=True)
class CocoDataset:
    """Photos in the order of the annotations; categories (id, name) in order of id; `content` in COCO's fields.

    Every annotation has an id from 1 on, `iscrowd` and `area`: pycocotools reads them, and takes 0 for no box at all.
    One that is `difficult` (VOC) need not be found: whoever finds it gains and loses nothing.
    """

    name: str
    photos: tuple[CocoPhoto, ...]
    categories: tuple[tuple[int, str], ...]
    content: dict[str, Any]
    sha256: str
    """Over the annotations and every photo."""

    def category_ids(self, labels: Sequence[str]) -> list[int]:
        """The category id of every label of a package: by name, or by place where both lists have the same order.

        Darknet calls some of COCO's categories by other names ("sofa" for "couch") but keeps their order: at least nine
        names of ten must stand in the same place in both, and none in another.

        Raises:
            DataMismatch: a label stands twice, or is no category, and the lists differ in length, order or more names.
        """
        if twice := next((label for label, count in Counter(labels).items() if count > 1), None):
            raise DataMismatch(f"label {twice!r} stands twice, and boxes tell which is meant by its name: rename one")
        by_name = {name: category for category, name in self.categories}
        if all(label in by_name for label in labels):
            return [by_name[label] for label in labels]
        by_place = [category for category, _ in self.categories]
        places = [by_name.get(label) for label in labels]
        if len(labels) == len(by_place):
            same = sum(named == category for named, category in zip(places, by_place, strict=True))
            if 10 * same >= 9 * len(labels) and same == sum(named is not None for named in places):
                return by_place
        strange = next(label for label in labels if label not in by_name)
        raise DataMismatch(
            f"label {strange!r} is none of the {len(by_place)} categories of {self.name}, which are not the "
            f"{len(labels)} labels in their order either: rename the annotations' categories, or correct the labels"
        )


def read_coco(annotations: Path, photos: Path, name: str | None = None) -> CocoDataset:
    """Read `annotations` (instances JSON) of the photos in folder `photos`.

    Annotations are numbered anew; one without `iscrowd` is a single object, one without `area` has its box's. Boxes of
    no width or height, and of photos that are not listed, are left out; one that goes beyond its photo's edges counts
    as it is written: so does pycocotools. Numbers of ids, sizes and marks in quotes are taken as such.

    Raises:
        DataMissing: the file, or a photo that it lists.
        DataUnreadable: not COCO's format; the message names the item and its field. Or an id, a photo's file or a
            category's name twice, or a photo of another size than it lists.
    """
    if not annotations.is_file():
        raise DataMissing(f"no annotations at {annotations}")
    text = annotations.read_bytes()
    try:
        read = _INSTANCES.validate_json(text)
    except ValidationError as error:
        raise DataUnreadable(f"{annotations} is not COCO's JSON: {_first_fault(error)}") from error
    listed = tuple(CocoPhoto(image["id"], photos / image["file_name"]) for image in read["images"])
    categories = tuple(sorted((category["id"], category["name"]) for category in read["categories"]))
    # Where there is no area nothing can be found, and pycocotools would count a miss.
    ids = {photo.id for photo in listed}
    numbered = (_completed(item, number) for number, item in enumerate(read["annotations"], start=1))
    boxes = [item for item in numbered if min(item["bbox"][2:]) > 0 and item["image_id"] in ids]
    content = {**read, "annotations": boxes}
    for field, what, values in (
        ("images", "id", [photo.id for photo in listed]),
        ("images", "file_name", [image["file_name"] for image in read["images"]]),
        ("categories", "id", [number for number, _ in categories]),
        ("categories", "name", [label for _, label in categories]),
    ):
        twice = next((value for value, count in Counter(values).items() if count > 1), None)
        if twice is not None:
            raise DataUnreadable(f"{annotations}: {field} has the {what} {twice} twice: each may stand once")
    if not listed or not boxes:
        raise DataUnreadable(
            f"{annotations} lists {len(listed)} images and {len(boxes)} boxes that have an area: nothing to measure"
        )
    total = hashlib.sha256(hashlib.sha256(text).digest())
    for photo, image in zip(listed, read["images"], strict=True):
        if not photo.file.is_file():
            raise DataMissing(f"{annotations.name} lists {photo.file.name}, which is not in {photos}")
        pixels = photo.file.read_bytes()
        check_size(photo.file, pixels, image.get("width"), image.get("height"))
        total.update(hashlib.sha256(pixels).digest())
    return CocoDataset(name or annotations.stem, listed, categories, content, total.hexdigest())


def is_object(annotation: Mapping[str, Any]) -> bool:
    """Whether a network has to find it: neither a crowd nor a difficult one."""
    return not annotation.get("iscrowd") and not annotation.get("difficult")


def _completed(annotation: _Annotation, number: int) -> dict[str, Any]:
    """With the fields that pycocotools reads."""
    area, (_, _, width, height) = annotation.get("area"), annotation["bbox"]
    return {
        **annotation,
        "id": number,
        "iscrowd": annotation.get("iscrowd") or 0,
        "area": width * height if area is None else area,
    }


def _first_fault(error: ValidationError) -> str:
    """What the first value that does not fit should be, behind its place: ``annotations[3].bbox``."""
    first = error.errors()[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    return f"{place}: {first['msg']}" if place else first["msg"]
