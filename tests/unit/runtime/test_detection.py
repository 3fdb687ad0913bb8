"""Suppression against a naive one, and decoding against YOLOv3's formulas."""

import numpy as np
import pytest
from edgedet_runtime.answer import Finisher
from edgedet_runtime.detection import Detections, DetectThresholds, YoloDecoder, suppress
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.letterbox import geometry_of
from edgedet_runtime.package import Package
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

coordinates = st.integers(0, 40).map(float)
boxes_in = st.integers(0, 30).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, (n, 4), elements=coordinates),
        # Few different scores and labels: ties and neighbors are the hard cases.
        hnp.arrays(np.float32, n, elements=st.sampled_from([0.25, 0.5, 0.75, 1.0])),
        hnp.arrays(np.int64, n, elements=st.integers(0, 2)),
    )
)


def overlap_too_much(a: np.ndarray, b: np.ndarray, threshold: float) -> bool:
    """IoU above the threshold, in whole numbers and a binary fraction: nothing is rounded."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.tolist(), b.tolist()
    overlap = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - overlap
    return overlap > threshold * union


def naive_suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [other for other in kept if labels[other] == labels[index]]
        if not any(overlap_too_much(boxes[other], boxes[index], threshold) for other in rivals):
            kept.append(index)
    return kept


def in_order(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)


@given(boxes_in, st.sampled_from([0.0, 0.25, 0.4375, 0.75, 1.0]), st.integers(1, 40))
def test_suppression_keeps_what_a_naive_one_keeps(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, most: int
):
    boxes, scores, labels = in_order(drawn[0]), drawn[1], drawn[2]
    kept = naive_suppress(boxes, scores, labels, threshold)[:most]
    found = suppress(boxes, scores, labels, threshold, most)
    assert np.array_equal(found.boxes, boxes[kept])
    assert np.array_equal(found.scores, scores[kept])
    assert np.array_equal(found.labels, labels[kept])


@given(boxes_in, st.floats(0, 1))
def test_suppression_is_idempotent_and_best_first(drawn: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float):
    once = suppress(in_order(drawn[0]), drawn[1], drawn[2], threshold, 1000)
    twice = suppress(once.boxes, once.scores, once.labels, threshold, 1000)
    assert np.array_equal(once.to_rows(), twice.to_rows())
    assert (np.diff(once.scores) <= 0).all()


def test_a_box_of_another_class_suppresses_nothing():
    box = np.array([[0, 0, 10, 10]] * 3, np.float32)
    found = suppress(box, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0]), 0.45, 100)
    assert found.labels.tolist() == [0, 1]


@given(boxes_in)
def test_rows_carry_detections_without_loss(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]):
    detections = Detections(*drawn)
    back = Detections.from_rows(detections.to_rows())
    assert np.array_equal(back.boxes, detections.boxes)
    assert np.array_equal(back.scores, detections.scores)
    assert np.array_equal(back.labels, detections.labels)


@pytest.fixture(scope="module")
def decoder(package: Package) -> YoloDecoder:
    loaded = Finisher.load(package).decoder
    assert isinstance(loaded, YoloDecoder)
    return loaded


def by_place(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort((rows[:, 1], rows[:, 0], rows[:, 5]))]


def test_decoding_follows_the_formulas_of_yolov3(decoder: YoloDecoder):
    """x = (σ(t_x) + column)·stride, w = anchor·exp(t_w), score = σ(objectness)·σ(class), in float64."""
    rng = np.random.default_rng(3)
    outputs = {
        head.tensor: rng.integers(0, 256, (1, 416 // head.stride, 416 // head.stride, 256), np.uint8)
        for head in decoder.decoding.heads
    }
    threshold = 0.999
    expected = []
    for head in decoder.decoding.heads:
        grid = outputs[head.tensor][0, :, :, : 3 * 85].reshape(*outputs[head.tensor].shape[1:3], 3, 85)
        values = head.scale * (grid.astype(np.float64) - head.zero_point)
        groups = np.repeat(head.multipliers, [2, 2, 1, 80])
        values *= groups
        sigmoid = 1 / (1 + np.exp(-values))
        scores = sigmoid[..., 4:5] * sigmoid[..., 5:]
        for row, column, anchor, label in zip(*np.nonzero(scores > threshold), strict=True):
            x, y = (sigmoid[row, column, anchor, :2] + [column, row]) * head.stride
            width, height = np.exp(values[row, column, anchor, 2:4]) * head.anchors[anchor]
            box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            expected.append([*box, scores[row, column, anchor, label], label])
    assert 50 < len(expected) < 2000
    # With an IoU threshold of 1 nothing is suppressed.
    found = decoder(outputs, DetectThresholds(threshold, 1.0, 5000)).to_rows()
    np.testing.assert_allclose(by_place(found), by_place(np.array(expected)), rtol=2e-5, atol=2e-3)


def test_a_threshold_of_one_finds_nothing(decoder: YoloDecoder):
    outputs = {
        head.tensor: np.full((1, 416 // head.stride, 416 // head.stride, 256), 255, np.uint8)
        for head in decoder.decoding.heads
    }
    found = decoder(outputs, DetectThresholds(1.0, 0.45, 100))
    assert found.to_rows().shape == (0, 6)


def test_answers_are_in_pixels_of_the_photo(package: Package, decoder: YoloDecoder):
    head = decoder.decoding.heads[0]
    outputs = {h.tensor: np.zeros((1, 416 // h.stride, 416 // h.stride, 256), np.uint8) for h in decoder.decoding.heads}
    cell = outputs[head.tensor][0, 6, 6]
    cell[:4] = head.zero_point  # the middle of the cell, the anchor's size
    cell[4] = cell[5] = 255
    finisher = Finisher.load(package)
    answer = finisher.finish(outputs, geometry_of(832, 416, package.manifest.input), DetectThresholds(0.5, 0.45, 10))
    assert isinstance(answer, Detections)
    width, height = head.anchors[0]
    center = (6.5 * 32) * 2, (6.5 * 32 - 104) * 2
    expected = [center[0] - width, center[1] - height, center[0] + width, center[1] + height]
    np.testing.assert_allclose(answer.boxes[0], expected, rtol=1e-5)
    assert package.manifest.labels[answer.labels[0]] == "person"


def test_what_lies_in_the_bars_beside_the_photo_is_not_answered(package: Package, decoder: YoloDecoder):
    head = decoder.decoding.heads[1]
    outputs = {h.tensor: np.zeros((1, 416 // h.stride, 416 // h.stride, 256), np.uint8) for h in decoder.decoding.heads}
    for row, objectness in ((1, 255), (13, 230)):  # of 26; the upper bar has 104 of 416 pixels
        cell = outputs[head.tensor][0, row, 5]
        cell[:4] = head.zero_point
        cell[4:6] = (objectness, 255)
    finisher, geometry = Finisher.load(package), geometry_of(832, 416, package.manifest.input)
    assert len(decoder(outputs, DetectThresholds(0.5, 0.45, 10))) == 2
    answer = finisher.finish(outputs, geometry, DetectThresholds(0.5, 0.45, 1))
    assert isinstance(answer, Detections)
    assert len(answer) == len(answer.boxes) == len(answer.labels) == 1
    assert np.all(answer.boxes[:, 2:] > answer.boxes[:, :2])


def test_tables_of_another_form_are_refused(package: Package, tmp_path):
    decoding = Finisher.load(package).manifest.decoding
    (tmp_path / "junk.npy").write_bytes(b"junk")
    np.save(tmp_path / "short.npy", np.zeros((1, 4, 256), np.float32))
    np.save(tmp_path / "double.npy", np.zeros((2, 4, 256)))
    np.savez(tmp_path / "archive.npy.npz", np.zeros((2, 4, 256), np.float32))
    (tmp_path / "junk.zip").write_bytes(b"PK\x03\x04 junk")
    for name in ("junk.npy", "short.npy", "double.npy", "archive.npy.npz", "junk.zip"):
        with pytest.raises(PackageRefused):
            YoloDecoder.load(decoding, tmp_path / name, 80)


def test_a_detector_asked_for_classes_says_so(package: Package):
    with pytest.raises(TypeError, match="thresholds"):
        Finisher.load(package).finish({}, geometry_of(10, 10, package.manifest.input), 5)
