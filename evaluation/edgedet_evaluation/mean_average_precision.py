"""Mean average precision of detections by pycocotools, and its bootstrap over photos."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgedet_runtime.detection import Detections, DetectThresholds
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgedet_evaluation.coco import CocoDataset, is_object
from edgedet_evaluation.errors import DataMismatch

# COCO's protocol keeps 100 boxes a photo; the low score threshold leaves the whole precision-recall curve.
THRESHOLDS = DetectThresholds(score=0.005, iou=0.45, max_detections=100)

COCO_AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""In square pixels of the photo."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_EPSILON = float(np.spacing(1))
_AT_ONCE = 2**22
"""Resampled detections computed at once, 32 MB an array: COCO's val2017 has 200,000 of its commonest category."""


@dataclass(frozen=True, slots=True)
class CategoryMatches:
    """One category's detections d, best first, at IoU thresholds t: which photo, true or false; boxes to find."""

    category_id: int
    photo: NDArray[np.int64]
    true: NDArray[np.bool_]
    false: NDArray[np.bool_]
    positives: NDArray[np.int64]
    """Of each photo."""

    @property
    def boxes(self) -> int:
        """To find in all photos."""
        return int(self.positives.sum())

    @property
    def ap50(self) -> float:
        """Average precision at an IoU of 0.5."""
        return float(_average_precision(self, np.ones((1, len(self.positives)), np.int64))[0, 0])


@dataclass(frozen=True, slots=True)
class DetectionScore:
    """mAP50 and mAP50-95 (0…1) as pycocotools computes them, and what a bootstrap needs to compute them again."""

    map50: float
    map50_95: float
    categories: tuple[CategoryMatches, ...]
    """Those that have boxes."""

    def resampled(self, weights: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """mAP50 [r] and mAP50-95 [r] with each photo counted `weights` [r, photos] times.

        Categories without a box in a resample are left out of its mean, as pycocotools leaves them out; a resample
        without any box has NaN.
        """
        found = np.stack([_average_precisions(category, weights) for category in self.categories])
        counted = (~np.isnan(found[:, :, 0])).any(axis=0)
        map50, map50_95 = np.full((2, len(weights)), np.nan)
        map50[counted] = np.nanmean(found[:, counted, 0], axis=0)
        map50_95[counted] = np.nanmean(found[:, counted], axis=(0, 2))
        return map50, map50_95


@dataclass(frozen=True, slots=True)
class AreaScore:
    """mAP50 (0…1) of boxes of a size, and how many there are; None where there is none."""

    boxes: int
    map50: float | None


def refuse_without_boxes(dataset: CocoDataset, category_ids: Sequence[int]) -> None:
    """Find out before the answers whether there is anything to find.

    Raises:
        DataMismatch: no object of these categories on the photos of the data set, which may be some of those listed.
    """
    photos, boxes = {photo.id for photo in dataset.photos}, dataset.content["annotations"]
    wanted = (box for box in boxes if box["image_id"] in photos and box["category_id"] in category_ids)
    if not any(map(is_object, wanted)):
        raise DataMismatch(
            f"{dataset.name} has no box of the {len(category_ids)} labels in {len(photos)} photos: nothing to measure"
        )


def score_detections(
    dataset: CocoDataset, answers: Sequence[Detections], category_ids: Sequence[int]
) -> DetectionScore:
    """Compare answers (photo pixels, one per photo of the data set) with the data set's boxes.

    `category_ids` are those of the answers' labels; boxes of other categories, which no answer can name, do not count.
    All areas, at most 100 detections a photo and category.

    Raises:
        DataMismatch: not as many answers as photos, or no box of these categories.
    """
    refuse_without_boxes(dataset, category_ids)
    evaluation = _evaluate(dataset, answers, category_ids, {"all": (0.0, 1e10)})
    matches = tuple(_matches(evaluation, {photo.id: place for place, photo in enumerate(dataset.photos)}))
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # [IoU thresholds, recalls, categories]
    return DetectionScore(_mean(precision[0]), _mean(precision), matches)


def map50_by_area(
    dataset: CocoDataset, answers: Sequence[Detections], category_ids: Sequence[int]
) -> dict[str, AreaScore]:
    """mAP50 of small, medium and large boxes of these categories alone, by `COCO_AREAS`.

    As in COCO's protocol, detections of another size that find no box count for nothing.
    """
    evaluation = _evaluate(dataset, answers, category_ids, COCO_AREAS)
    precision = evaluation.eval["precision"][0, :, :, :, 0]  # [recalls, categories, areas]
    counted = [
        item["area"]
        for item in dataset.content["annotations"]
        if item["category_id"] in category_ids and is_object(item)
    ]
    scores = {}
    for place, (name, (low, high)) in enumerate(COCO_AREAS.items()):
        boxes = sum(low <= area <= high for area in counted)
        scores[name] = AreaScore(boxes, _mean(precision[:, :, place]) if boxes else None)
    return scores


def _evaluate(
    dataset: CocoDataset,
    answers: Sequence[Detections],
    category_ids: Sequence[int],
    areas: Mapping[str, tuple[float, float]],
) -> COCOeval:
    if len(answers) != len(dataset.photos):
        raise DataMismatch(f"{len(answers)} answers for {len(dataset.photos)} photos of {dataset.name}")
    rows = [
        row
        for photo, detections in zip(dataset.photos, answers, strict=True)
        for row in _rows(photo.id, detections, category_ids)
    ]
    for number, row in enumerate(rows, start=1):
        row["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports to standard output
        found = {"images": dataset.content["images"], "categories": dataset.content["categories"], "annotations": rows}
        evaluation = _Evaluation(_index(dataset.content), _index(found), "bbox")
        evaluation.params.imgIds = [photo.id for photo in dataset.photos]
        evaluation.params.catIds = list(category_ids)  # others, all missed, would lower the mean
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(area) for area in areas.values()], list(areas)
        evaluation.params.maxDets = [THRESHOLDS.max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


class _Evaluation(COCOeval):  # type: ignore[misc]  # pycocotools has no types
    """Ignores difficult boxes, each at the IoU of an object: what lies within a crowd is right, in one of them not."""

    def _prepare(self) -> None:
        super()._prepare()
        for boxes in self._gts.values():
            for box in boxes:
                box["ignore"] = box["ignore"] or box.get("difficult", 0)


def _rows(photo: int, detections: Detections, category_ids: Sequence[int]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for box, score, label in zip(detections.boxes, detections.scores, detections.labels, strict=True):
        x1, y1, x2, y2 = (float(part) for part in box)
        size = (x2 - x1, y2 - y1)
        rows.append(
            {
                "image_id": photo,
                "category_id": category_ids[int(label)],
                "bbox": [x1, y1, *size],
                "area": size[0] * size[1],
                "iscrowd": 0,
                "score": float(score),
            }
        )
    return rows


def _index(content: dict[str, object]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def _mean(precision: NDArray[np.float64]) -> float:
    """The mean over categories that have boxes; pycocotools marks the others by -1."""
    return float(precision[precision > -1].mean())


def _matches(evaluation: COCOeval, order: Mapping[int, int]) -> list[CategoryMatches]:
    """Per category with boxes; `order`: place in the data set by photo id. evalImgs is ordered [category, area, id]."""
    categories = []
    photos = len(order)
    for place, category_id in enumerate(evaluation.params.catIds):  # sorted by `evaluate`
        entries = evaluation.evalImgs[place * photos : (place + 1) * photos]
        entries = [entry for entry in entries if entry is not None]
        positives = np.zeros(photos, np.int64)
        for entry in entries:
            positives[order[entry["image_id"]]] = int(np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0))
        if not positives.sum():
            continue
        scores = np.concatenate([entry["dtScores"] for entry in entries])
        best = np.argsort(-scores, kind="mergesort")  # as pycocotools sorts, so that ties fall alike
        places = [order[entry["image_id"]] for entry in entries]
        photo = np.repeat(places, [len(entry["dtScores"]) for entry in entries])[best]
        matched = np.concatenate([entry["dtMatches"] for entry in entries], axis=1)[:, best] != 0
        ignored = np.concatenate([entry["dtIgnore"] for entry in entries], axis=1)[:, best] != 0
        true, false = matched & ~ignored, ~matched & ~ignored
        categories.append(CategoryMatches(int(category_id), photo.astype(np.int64), true, false, positives))
    return categories


def _average_precisions(category: CategoryMatches, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """`_average_precision` of as many resamples at a time as memory should be given to."""
    rows = max(1, _AT_ONCE // max(1, len(category.photo)))
    return np.concatenate(
        [_average_precision(category, weights[start : start + rows]) for start in range(0, len(weights), rows)]
    )


def _average_precision(category: CategoryMatches, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """[resamples, IoU thresholds]: the mean over 101 recalls of the precision reached there or beyond."""
    counts = weights[:, category.photo]
    positives = weights @ category.positives
    result = np.full((len(weights), len(category.true)), np.nan)
    for threshold, (true, false) in enumerate(zip(category.true, category.false, strict=True)):
        found = np.cumsum(counts * true, axis=1)
        wrong = np.cumsum(counts * false, axis=1)
        precision = found / (found + wrong + _EPSILON)
        reached = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for resample in np.flatnonzero(positives):
            place = np.searchsorted(found[resample] / positives[resample], _RECALLS, side="left")
            result[resample, threshold] = reached[resample, place[place < reached.shape[1]]].sum() / len(_RECALLS)
    return result
