"""The YOLO loss: CIoU by its definition, a loss that falls toward the target, finite gradients."""

import math

import pytest
import torch
from edgedet_compression.networks.darknet_module import YoloHead
from edgedet_compression.training.yolo_loss import YoloLoss, complete_iou
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.needs_torch

HEADS = (
    YoloHead(layer=0, stride=16, anchors=((24.0, 20.0), (40.0, 44.0)), classes=3),
    YoloHead(layer=1, stride=8, anchors=((8.0, 10.0), (14.0, 12.0)), classes=3),
)
SIZE = 64

sides = st.floats(4, 60)
places = st.floats(4, 60)
boxes = st.tuples(places, places, sides, sides)
labeled = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), boxes), max_size=5)


def as_targets(rows) -> torch.Tensor:
    flat = [[photo, label, *box] for photo, label, box in rows]
    return torch.tensor(flat, dtype=torch.float32).reshape(-1, 6)


def random_maps(seed: int, photos: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(
            photos,
            len(head.anchors) * (5 + head.classes),
            SIZE // head.stride,
            SIZE // head.stride,
            generator=generator,
        )
        for head in HEADS
    ]


def ideal_maps(targets: torch.Tensor, photos: int = 2) -> list[torch.Tensor]:
    """Raw values that say exactly what the targets are, wherever an anchor may learn them; nothing elsewhere."""
    maps = []
    for head in HEADS:
        side = SIZE // head.stride
        raw = torch.zeros(photos, len(head.anchors), 5 + head.classes, side, side)
        raw[:, :, 4:] = -12.0
        for photo, label, x, y, width, height in targets.tolist():
            column, row = int(x // head.stride), int(y // head.stride)
            for place, (anchor_width, anchor_height) in enumerate(head.anchors):
                offsets = (x / head.stride - column, y / head.stride - row)
                values = [math.log(max(o, 1e-4) / max(1 - o, 1e-4)) for o in offsets]
                values += [math.log(width / anchor_width), math.log(height / anchor_height), 12.0]
                raw[int(photo), place, :5, row, column] = torch.tensor(values)
                raw[int(photo), place, 5:, row, column] = -12.0
                raw[int(photo), place, 5 + int(label), row, column] = 12.0
        maps.append(raw.flatten(1, 2))
    return maps


def test_a_box_is_learned_by_anchors_within_a_factor_of_four():
    head = YoloHead(0, 16, ((24.0, 24.0), (6.0, 24.0)), 1)
    raw = torch.zeros(1, 12, 4, 4, requires_grad=True)
    YoloLoss(objectness=0)([raw], [head], torch.tensor([[0, 0, 40.0, 24.0, 30.0, 24.0]]))["loss"].backward()
    assert raw.grad.view(2, 6, 4, 4)[:, 2].nonzero().tolist() == [[0, 1, 2]], "of the other, 30 / 6 = 5"


@given(boxes)
def test_ciou_of_equal_boxes_is_one(box):
    same = torch.tensor([box], dtype=torch.float64)
    assert float(complete_iou(same, same)) == pytest.approx(1, abs=1e-5)


@given(boxes, boxes)
def test_ciou_is_symmetric_in_sign_and_lies_between_minus_two_and_one(one, other):
    first, second = torch.tensor([one], dtype=torch.float64), torch.tensor([other], dtype=torch.float64)
    found = float(complete_iou(first, second))
    assert found == pytest.approx(float(complete_iou(second, first)), abs=1e-6)
    assert -2 <= found <= 1


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        # half over each other: IoU 1/3, centers 1 apart, hull 3 x 2 of diagonal² 13
        ((1, 1, 2, 2), (2, 1, 2, 2), 1 / 3 - 1 / 13),
        # apart: IoU 0, centers 4 apart, hull 6 x 2 of diagonal² 40
        ((1, 1, 2, 2), (5, 1, 2, 2), -16 / 40),
    ],
)
def test_ciou_by_hand(one, other, wanted: float):
    first, second = (torch.tensor([box], dtype=torch.float64) for box in (one, other))
    assert float(complete_iou(first, second)) == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=30)
@given(labeled, st.integers(0, 100))
def test_loss_and_gradient_are_finite(rows, seed: int):
    maps = [raw.requires_grad_() for raw in random_maps(seed)]
    parts = YoloLoss(label_smoothing=0.1)(maps, HEADS, as_targets(rows))
    parts["loss"].backward()
    assert torch.isfinite(parts["loss"])
    assert all(torch.isfinite(raw.grad).all() for raw in maps)


def test_values_far_off_give_finite_gradients_too():
    maps = [(1e4 * raw).requires_grad_() for raw in random_maps(0)]
    loss = YoloLoss()(maps, HEADS, as_targets([(0, 1, (20.0, 20.0, 24.0, 20.0))]))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(raw.grad).all() for raw in maps)


@settings(max_examples=30)
@given(st.tuples(st.integers(0, 1), st.integers(0, 2), boxes), st.integers(0, 100))
def test_the_loss_falls_on_the_way_to_the_target(row, seed: int):
    targets = as_targets([row])
    start, ideal = random_maps(seed), ideal_maps(targets)
    losses = [
        float(YoloLoss()([a + share * (b - a) for a, b in zip(start, ideal, strict=True)], HEADS, targets)["loss"])
        for share in (0.0, 0.5, 1.0)
    ]
    assert losses[2] < losses[1] < losses[0]
    assert losses[2] < 0.05 * losses[0] + 0.01


def test_a_box_of_a_shape_that_no_anchor_has_is_learned_by_the_nearest():
    # 60 × 4 pixels differ from every anchor by more than four times; 14 × 12, the finer head's second, is the nearest.
    maps = [raw.requires_grad_() for raw in random_maps(0)]
    parts = YoloLoss()(maps, HEADS, as_targets([(0, 2, (30.0, 30.0, 60.0, 4.0))]))
    parts["box"].backward()
    coarse, fine = maps
    assert coarse.grad is None
    assert fine.grad.abs().sum((2, 3)).nonzero().tolist() == [[0, 8 + channel] for channel in range(4)]


def test_a_photo_without_boxes_learns_that_there_is_nothing():
    nothing = as_targets([])
    maps = random_maps(0)
    quiet = [raw.clone() for raw in maps]
    for raw, head in zip(quiet, HEADS, strict=True):
        raw.view(2, len(head.anchors), 5 + head.classes, *raw.shape[2:])[:, :, 4] -= 5
    criterion = YoloLoss()
    parts = criterion(maps, HEADS, nothing)
    assert float(parts["box"]) == float(parts["classes"]) == 0
    assert criterion(quiet, HEADS, nothing)["loss"] < parts["loss"]


def test_a_prediction_that_overlaps_a_box_well_is_not_told_that_it_is_wrong():
    # In the cell next to the center's, an anchor that answers the box all the same.
    head = YoloHead(layer=0, stride=16, anchors=((24.0, 24.0),), classes=1)
    targets = torch.tensor([[0, 0, 30.0, 24.0, 24.0, 24.0]])
    raw = torch.full((1, 6, 4, 4), -8.0)
    raw[0, :, 1, 2] = torch.tensor([-6.0, 0.0, 0.0, 0.0, 0.0, 0.0])  # center (32, 24): IoU 0.85
    near = raw.clone().requires_grad_()
    YoloLoss()([near], [head], targets)["loss"].backward()
    assert near.grad[0, 4, 1, 2] == 0
    raw[0, 2:4, 1, 2] = -1.0  # much too small: wrong
    wrong = raw.clone().requires_grad_()
    YoloLoss()([wrong], [head], targets)["loss"].backward()
    assert wrong.grad[0, 4, 1, 2] > 0
