"""YOLOv3, and what is left of it without one of its branches: sizes, structure, weights taken over."""

import numpy as np
import pytest
import torch
from edgedet_compression.errors import BuildRefused, SourceUnreadable
from edgedet_compression.networks.darknet_module import DarknetModule, darknet_weights
from edgedet_compression.networks.families import build, parameter_count, state_bytes
from edgedet_compression.networks.yolov3 import YOLOv3, YOLOv3Tiny, begin_with
from edgedet_compression.pruning.layers import remove_branch, remove_coarse_branch

from tests.unit.compression.prunable_networks import small_yolo

pytestmark = pytest.mark.needs_torch

MIB = 2**20
WIDE_INPUT_OF_HEAD_26, NARROW = 768, 512


@pytest.fixture(scope="module")
def teacher() -> DarknetModule:
    torch.manual_seed(0)
    return YOLOv3(num_classes=20, size=64).eval()


@pytest.fixture(scope="module")
def student(teacher: DarknetModule) -> DarknetModule:
    return remove_coarse_branch(teacher)


def inner_maps(network: DarknetModule, images: torch.Tensor) -> dict[int, torch.Tensor]:
    """What every convolutional unit answers, by its layer."""
    found: dict[int, torch.Tensor] = {}
    hooks = [
        unit.register_forward_hook(lambda _, __, maps, layer=int(name): found.__setitem__(layer, maps.clone()))
        for name, unit in network.layers.items()
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return found


def kernel_shapes(network: DarknetModule) -> list[tuple[int, ...]]:
    return [tuple(unit.conv.weight.shape) for unit in network.layers.values()]


def test_20_classes_take_235_mib_and_76_without_the_coarse_branch(teacher, student):
    assert round(state_bytes(teacher) / MIB, 2) == 235.29
    assert round(state_bytes(student) / MIB, 2) == 76.06


def test_yolov3_tiny_is_as_large_as_published():
    assert parameter_count(YOLOv3Tiny(80)) == 8_852_366
    assert [head.stride for head in YOLOv3Tiny(80).heads] == [32, 16]


def test_anchors_of_ones_own_are_all_used_and_those_of_coco_follow_the_size():
    own = [(4.0 * n, 5.0 * n) for n in range(1, 7)]
    coarse, fine = YOLOv3Tiny(2, 64, own).heads
    assert [*fine.anchors, *coarse.anchors] == own
    small, large = (YOLOv3Tiny(2, size).heads[0].anchors for size in (208, 416))
    assert 2 * np.array(small) == pytest.approx(np.array(large), abs=0.2)


@pytest.mark.parametrize("family", [YOLOv3, YOLOv3Tiny])
def test_a_network_begins_with_published_weights_but_in_heads_of_other_classes(family):
    torch.manual_seed(1)
    published = family(7)
    given, heads = published.state_dict(), tuple(f"layers.{head.layer}." for head in published.heads)
    for classes, size, kept in ((7, 416, True), (7, 32, False), (2, 416, False)):  # anchors follow the size
        network = family(classes, size)
        fresh = {name: value.clone() for name, value in network.state_dict().items()}
        begin_with(network, darknet_weights(published))
        for name, value in network.state_dict().items():
            wanted = fresh if name.startswith(heads) and not kept else given
            assert torch.equal(value, wanted[name]), name


def test_weights_of_another_family_are_refused():
    with pytest.raises(SourceUnreadable, match="numbers are not those of any number of classes"):
        begin_with(YOLOv3Tiny(2, 32), darknet_weights(small_yolo()))


def test_without_its_coarse_branch_58_convolutions_of_75_are_left(teacher, student):
    assert (len(teacher.layers), len(student.layers)) == (75, 58)
    assert [head.stride for head in teacher.heads] == [32, 16, 8]
    assert [head.stride for head in student.heads] == [16, 8]


def test_the_head_of_the_26_map_reads_512_channels_instead_of_768(teacher, student):
    before, after = ({shape[1] for shape in kernel_shapes(network)} for network in (teacher, student))
    assert WIDE_INPUT_OF_HEAD_26 in before
    assert WIDE_INPUT_OF_HEAD_26 not in after
    assert NARROW in after


def test_layers_before_the_cut_answer_as_the_teachers_do(teacher, student):
    images = torch.rand(1, 3, 32, 32)
    before, after = inner_maps(teacher, images), inner_maps(student, images)
    shared = [layer for layer in after if layer < 62]  # Darknet-53 up to the stage of stride 16
    assert len(shared) == 43
    for layer in shared:
        assert torch.equal(before[layer], after[layer])


def test_the_narrower_kernel_keeps_the_columns_of_the_channels_that_stay(teacher, student):
    (wide,) = (unit for unit in teacher.layers.values() if unit.conv.in_channels == WIDE_INPUT_OF_HEAD_26)
    narrow = next(unit for name, unit in student.layers.items() if int(name) >= 62)
    assert torch.equal(narrow.conv.weight, wide.conv.weight[:, 768 - 512 :])


@pytest.mark.parametrize(("stride", "left"), [(8, [32, 16]), (16, [32, 8]), (32, [16, 8])])
def test_every_branch_can_be_removed_and_the_finer_ones_leave_the_other_heads_alone(
    teacher, stride: int, left: list[int]
):
    images = torch.rand(1, 3, 32, 32)
    pruned = remove_branch(teacher, stride)
    with torch.no_grad():
        exact = {head.stride: raw for head, raw in zip(teacher.heads, teacher(images), strict=True)}
        found = {head.stride: raw for head, raw in zip(pruned.heads, pruned(images), strict=True)}
    assert list(found) == left
    for each, raw in found.items():
        assert raw.shape == exact[each].shape
        assert stride == 32 or torch.equal(raw, exact[each])


def test_a_pruned_network_is_rebuilt_from_its_specification():
    pruned = remove_coarse_branch(small_yolo())
    again = build(pruned.specification()).eval()
    again.load_state_dict(pruned.state_dict())
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(pruned(images)[0], again(images)[0])


def test_a_branch_that_is_not_there_and_the_last_one_are_refused():
    network = small_yolo()
    with pytest.raises(BuildRefused, match=r"no branch of stride 32 .* strides \[4, 2\]"):
        remove_branch(network, 32)
    with pytest.raises(BuildRefused, match=r"strides \[2\]"):
        remove_branch(remove_coarse_branch(network), 2)
