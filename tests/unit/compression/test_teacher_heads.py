"""Distillation of detectors: only a head with the same stride, anchors and classes can teach."""

import math
from dataclasses import replace

import pytest
import torch
from edgedet_compression.distillation.teacher_heads import TeacherHeads, head_distance
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule, YoloHead
from edgedet_compression.pruning.layers import remove_branch
from edgedet_compression.training.yolo_loss import YoloLoss, objectness_share

from tests.unit.compression.prunable_networks import small_yolo

pytestmark = pytest.mark.needs_torch

IMAGES = torch.linspace(0, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)


@pytest.fixture
def network() -> DarknetModule:
    return small_yolo()


def test_a_student_that_answers_as_its_teacher_is_closest(network: DarknetModule):
    taught = TeacherHeads(network)
    maps = network(IMAGES)
    assert taught(maps, network.heads, IMAGES) < taught([raw + 1 for raw in maps], network.heads, IMAGES)


def test_the_distance_of_heads_by_hand():
    head = YoloHead(0, 32, ((8.0, 8.0),), 2)
    # Of two cells the teacher sees an object in the second alone: what the first says of boxes and classes is nothing.
    student = torch.tensor([[0.0, 0, 0, 0, 0, 4, 4], [0, 0, 0, 0, 1, 0, 0]]).T.reshape(1, 7, 1, 2)
    taught = torch.tensor([[3.0, -3, 2, -2, -30, 5, -5], [2, 0, 1, 0, 30, 3, -3]]).T.reshape(1, 7, 1, 2)
    objectness, classes = (math.log(2) + math.log(1 + math.exp(-1))) / 2, math.log(2)
    box = (1 / (1 + math.exp(-2)) - 0.5) ** 2 + 1
    parts = YoloLoss()
    wanted = parts.objectness * objectness_share(head, 1) * objectness + parts.classes * classes + parts.box * box
    assert float(head_distance(student, taught, head)) == pytest.approx(wanted, abs=1e-4)


def test_the_weight_scales_the_distance(network: DarknetModule):
    maps = [raw + 1 for raw in network(IMAGES)]
    once, more = (TeacherHeads(network, weight)(maps, network.heads, IMAGES) for weight in (1.0, 2.5))
    torch.testing.assert_close(more, 2.5 * once)


def test_a_student_without_a_branch_learns_from_the_head_that_it_kept(network: DarknetModule):
    student = remove_branch(network, 4)
    assert TeacherHeads(network)(student(IMAGES), student.heads, IMAGES) > 0


def test_a_teacher_without_a_head_of_the_students_is_refused(network: DarknetModule):
    teacher = TeacherHeads(remove_branch(network, 2))
    with pytest.raises(
        BuildRefused, match=r"student's head of stride 2 has anchors 2,2 3,3 .*the teacher's is missing"
    ):
        teacher(network(IMAGES), network.heads, IMAGES)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"anchors": ((2.0, 2.0), (4.0, 4.0))}, "anchors 2,2 4,4 and 3 classes"), ({"classes": 2}, "and 2 classes")],
)
def test_a_head_of_other_anchors_or_classes_is_refused(network: DarknetModule, change: dict, told: str):
    (coarse, fine), maps = network.heads, network(IMAGES)
    other = small_yolo()
    other.heads = [coarse, replace(fine, **change)]
    with pytest.raises(BuildRefused, match=f"stride {fine.stride} has anchors 2,2 3,3 and 3 classes.*{told}"):
        TeacherHeads(other)(maps, network.heads, IMAGES)
