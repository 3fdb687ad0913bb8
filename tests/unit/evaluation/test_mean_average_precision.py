"""Average precision: pycocotools' own figures, and resamples that mean what they say."""

import numpy as np
import pytest
from edgedet_evaluation.coco import read_coco
from edgedet_evaluation.errors import DataMismatch
from edgedet_evaluation.intervals import bootstrap_weights
from edgedet_evaluation.mean_average_precision import AreaScore, map50_by_area, score_detections
from edgedet_runtime.detection import Detections

CATEGORY_IDS = [1, 3, 7]
PHOTOS = 6


def random_boxes(rng: np.random.Generator) -> list[tuple[int, int, float, float, float, float]]:
    return [
        (int(rng.integers(PHOTOS)), int(rng.choice([1, 3])), *rng.uniform(0, 100, 2), *rng.uniform(20, 80, 2))
        for _ in range(20)
    ]


def noisy_answers(boxes, rng: np.random.Generator) -> list[Detections]:
    """Most boxes found, shifted a little, and false ones among them."""
    answers = []
    for photo in range(PHOTOS):
        rows = [
            (x + rng.normal(0, 4), y + rng.normal(0, 4), x + width, y + height, rng.uniform(), CATEGORY_IDS.index(c))
            for which, c, x, y, width, height in boxes
            if which == photo and rng.uniform() < 0.8
        ]
        rows += [(*rng.uniform(0, 50, 2), *rng.uniform(60, 150, 2), rng.uniform(), rng.integers(3)) for _ in range(4)]
        array = np.array(sorted(rows, key=lambda row: -row[4]), np.float32)
        answers.append(Detections(array[:, :4], array[:, 4], array[:, 5].astype(np.int64)))
    return answers


def repeated(boxes, answers, counts):
    """The same data set with every photo as often as `counts` says."""
    order = np.repeat(np.arange(PHOTOS), counts)
    more = [(new, *box[1:]) for new, old in enumerate(order) for box in boxes if box[0] == old]
    return more, [answers[old] for old in order]


def test_perfect_answers_score_one(make_dataset):
    boxes = [(0, 1, 10.0, 10.0, 50.0, 60.0), (1, 3, 0.0, 5.0, 30.0, 30.0)]
    dataset = read_coco(*make_dataset(2, boxes))
    answers = [
        Detections(np.array([[x, y, x + w, y + h]], np.float32), np.ones(1, np.float32), np.array([label]))
        for (_, _, x, y, w, h), label in zip(boxes, (0, 1), strict=True)
    ]
    score = score_detections(dataset, answers, CATEGORY_IDS)
    assert (score.map50, score.map50_95) == pytest.approx((1.0, 1.0))


def one_box(x: float, y: float, width: float, height: float, label: int = 0) -> Detections:
    return Detections(np.array([[x, y, x + width, y + height]], np.float32), np.ones(1, np.float32), np.array([label]))


def test_a_box_of_id_0_without_crowd_and_area_can_be_found(make_dataset):
    box = [10.0, 10.0, 50.0, 60.0]
    annotations = [{"id": 0, "image_id": 0, "category_id": 1, "bbox": box}]
    dataset = read_coco(*make_dataset(1, [], annotations=annotations))
    score = score_detections(dataset, [one_box(*box)], CATEGORY_IDS)
    assert score.map50 == pytest.approx(1)
    assert score.resampled(np.ones((1, 1), np.int64))[0] == pytest.approx(1)


def test_categories_are_told_one_by_one(make_dataset):
    mine, missed = (0, 1, 10.0, 10.0, 50.0, 60.0), (0, 3, 100.0, 100.0, 70.0, 70.0)
    dataset = read_coco(*make_dataset(1, [mine, missed]))
    score = score_detections(dataset, [one_box(*mine[2:])], CATEGORY_IDS)
    assert [(each.category_id, each.boxes) for each in score.categories] == [(1, 1), (3, 1)]
    assert [each.ap50 for each in score.categories] == pytest.approx([1, 0])
    assert score.map50 == pytest.approx(0.5)


def test_a_box_without_area_is_no_miss(make_dataset):
    box = (0, 1, 10.0, 10.0, 50.0, 60.0)
    dataset = read_coco(*make_dataset(1, [box, (0, 1, 80.0, 10.0, 0.0, 60.0)]))
    assert score_detections(dataset, [one_box(*box[2:])], CATEGORY_IDS).map50 == pytest.approx(1)


def test_a_difficult_box_forgives_who_finds_it_and_nobody_who_finds_something_in_it(make_dataset):
    mine, difficult = (0, 1, 10.0, 10.0, 20.0, 20.0), (0, 1, 100.0, 100.0, 200.0, 200.0)
    dataset = read_coco(*make_dataset(1, [mine, difficult]))
    dataset.content["annotations"][1]["difficult"] = 1
    found = [(100.0, 100.0, 300.0, 300.0, 0.95), (10.0, 10.0, 30.0, 30.0, 0.5)]
    false = [(120.0 + 30 * k, 150.0, 140.0 + 30 * k, 170.0, 0.9 - 0.01 * k) for k in range(5)]

    def map50(rows: list[tuple[float, ...]]) -> float:
        rows = sorted(rows, key=lambda row: -row[4])
        array = np.array(rows, np.float32)
        answer = Detections(array[:, :4], array[:, 4], np.zeros(len(rows), np.int64))
        return score_detections(dataset, [answer], CATEGORY_IDS).map50

    assert map50(found) == pytest.approx(1)
    assert map50([*found, *false]) == pytest.approx(1 / 6)
    assert map50_by_area(dataset, [one_box(*mine[2:])], CATEGORY_IDS)["large"] == AreaScore(0, None)


def test_boxes_of_photos_that_are_not_listed_do_not_count(make_dataset):
    mine, foreign = (0, 1, 10.0, 10.0, 50.0, 60.0), (5, 1, 0.0, 0.0, 300.0, 300.0)
    dataset = read_coco(*make_dataset(1, [mine, foreign]))
    assert score_detections(dataset, [one_box(*mine[2:])], CATEGORY_IDS).map50 == pytest.approx(1)
    assert map50_by_area(dataset, [one_box(*mine[2:])], CATEGORY_IDS)["large"] == AreaScore(0, None)


def test_boxes_of_categories_that_are_no_labels_do_not_count(make_dataset):
    mine, other = (0, 3, 10.0, 10.0, 50.0, 60.0), (0, 1, 100.0, 100.0, 70.0, 70.0)
    dataset = read_coco(*make_dataset(1, [mine, other]))
    answers, ids = [one_box(*mine[2:])], dataset.category_ids(["cat"])
    score = score_detections(dataset, answers, ids)
    assert (score.map50, score.map50_95) == pytest.approx((1, 1))
    assert [figure[0] for figure in score.resampled(np.ones((1, 1), np.int64))] == pytest.approx([1, 1])
    medium = map50_by_area(dataset, answers, ids)["medium"]
    assert (medium.boxes, medium.map50) == (1, pytest.approx(1))


def test_a_data_set_without_a_box_of_the_labels_is_refused(make_dataset):
    dataset = read_coco(*make_dataset(1, [(0, 1, 0.0, 0.0, 9.0, 9.0)]))
    with pytest.raises(DataMismatch, match="instances has no box of the 1 labels"):
        score_detections(dataset, [one_box(0, 0, 9, 9)], dataset.category_ids(["cow"]))


def test_no_answers_score_zero(make_dataset):
    dataset = read_coco(*make_dataset(1, [(0, 1, 0.0, 0.0, 9.0, 9.0)]))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    score = score_detections(dataset, [nothing], CATEGORY_IDS)
    assert (score.map50, score.map50_95) == (0.0, 0.0)
    assert score.resampled(np.ones((1, 1), np.int64))[0] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_each_photo_once_gives_pycocotools_figures(make_dataset, seed: int):
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng)
    dataset = read_coco(*make_dataset(PHOTOS, boxes))
    score = score_detections(dataset, noisy_answers(boxes, rng), CATEGORY_IDS)
    map50, map50_95 = score.resampled(np.ones((1, PHOTOS), np.int64))
    assert 0 < score.map50_95 < score.map50 < 1
    assert map50[0] == pytest.approx(score.map50, abs=1e-12)
    assert map50_95[0] == pytest.approx(score.map50_95, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_weights_count_like_photos_that_are_there_several_times(make_dataset, seed: int):
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng)
    answers = noisy_answers(boxes, rng)
    counts = rng.integers(0, 4, PHOTOS)
    weighted = score_detections(read_coco(*make_dataset(PHOTOS, boxes)), answers, CATEGORY_IDS)
    more, their_answers = repeated(boxes, answers, counts)
    real = score_detections(read_coco(*make_dataset(int(counts.sum()), more)), their_answers, CATEGORY_IDS)
    map50, map50_95 = weighted.resampled(counts[np.newaxis])
    assert map50[0] == pytest.approx(real.map50, abs=1e-12)
    assert map50_95[0] == pytest.approx(real.map50_95, abs=1e-12)


def test_a_resample_without_a_box_has_no_figure_and_the_others_theirs(make_dataset):
    dataset = read_coco(*make_dataset(3, [(0, 1, 10.0, 10.0, 50.0, 60.0)]))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    score = score_detections(dataset, [one_box(10, 10, 50, 60), nothing, nothing], CATEGORY_IDS)
    for figures in score.resampled(np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]])):
        np.testing.assert_allclose(figures, [1, np.nan, 1])


def test_weights_count_photos_in_the_order_of_the_data_set_whatever_their_ids(make_dataset):
    images = [{"id": 9, "file_name": "0.jpg"}, {"id": 2, "file_name": "1.jpg"}]
    dataset = read_coco(*make_dataset(2, [(9, 1, 0.0, 0.0, 40.0, 40.0), (2, 1, 0.0, 0.0, 40.0, 40.0)], images=images))
    score = score_detections(dataset, [one_box(0, 0, 40, 40), one_box(50, 50, 40, 40)], CATEGORY_IDS)
    np.testing.assert_allclose(score.resampled(np.array([[1, 0], [0, 1]]))[0], [1, 0])


def test_many_resamples_of_many_detections_are_computed_part_by_part(make_dataset, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng)
    score = score_detections(read_coco(*make_dataset(PHOTOS, boxes)), noisy_answers(boxes, rng), CATEGORY_IDS)
    weights = bootstrap_weights(PHOTOS, resamples=20)
    at_once = score.resampled(weights)
    monkeypatch.setattr("edgedet_evaluation.mean_average_precision._AT_ONCE", 50)
    np.testing.assert_array_equal(score.resampled(weights), at_once)


def test_answers_must_be_as_many_as_photos(make_dataset):
    dataset = read_coco(*make_dataset(2, [(0, 1, 0.0, 0.0, 9.0, 9.0)]))
    with pytest.raises(DataMismatch, match="0 answers for 2 photos"):
        score_detections(dataset, [], CATEGORY_IDS)


def test_sizes_are_scored_apart_by_cocos_areas(make_dataset):
    small, medium, large = (
        (0, 1, 5.0, 5.0, 20.0, 20.0),
        (1, 1, 10.0, 10.0, 60.0, 60.0),
        (1, 3, 10.0, 90.0, 120.0, 120.0),
    )
    dataset = read_coco(*make_dataset(2, [small, medium, large]))
    found = Detections(np.array([[10, 10, 70, 70]], np.float32), np.ones(1, np.float32), np.array([0]))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    scores = map50_by_area(dataset, [nothing, found], CATEGORY_IDS)
    assert {name: score.boxes for name, score in scores.items()} == {"small": 1, "medium": 1, "large": 1}
    assert {name: score.map50 for name, score in scores.items()} == pytest.approx({"small": 0, "medium": 1, "large": 0})


def test_a_size_without_boxes_has_no_score(make_dataset):
    dataset = read_coco(*make_dataset(1, [(0, 1, 5.0, 5.0, 20.0, 20.0)]))
    found = Detections(np.array([[5, 5, 25, 25]], np.float32), np.ones(1, np.float32), np.array([0]))
    scores = map50_by_area(dataset, [found], CATEGORY_IDS)
    assert scores["small"].map50 == pytest.approx(1)
    assert scores["large"] == AreaScore(0, None)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_of_one_size_alone_score_as_all_boxes_do(make_dataset, seed: int):
    rng = np.random.default_rng(seed)
    boxes = [(photo, c, x, y, 40 + w % 40, 40 + h % 40) for photo, c, x, y, w, h in random_boxes(rng)]
    dataset = read_coco(*make_dataset(PHOTOS, boxes))
    # All detections are of medium size too, or they would count for all areas alone.
    answers = [
        Detections(found.boxes[keep], found.scores[keep], found.labels[keep])
        for found in noisy_answers(boxes, rng)
        for sides in [found.boxes[:, 2:] - found.boxes[:, :2]]
        for keep in [(sides.prod(1) > 32**2) & (sides.prod(1) < 96**2) & (sides > 0).all(1)]
    ]
    medium = map50_by_area(dataset, answers, CATEGORY_IDS)["medium"]
    assert medium.boxes == len(boxes)
    assert medium.map50 == pytest.approx(score_detections(dataset, answers, CATEGORY_IDS).map50)
