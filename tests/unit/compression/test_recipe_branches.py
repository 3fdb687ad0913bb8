"""Branches of YOLO networks in recipes: what is not there is told when the recipe is read."""

from pathlib import Path

import pytest
from edgedet_compression.errors import BuildRefused
from edgedet_compression.recipe import load_recipe

from tests.unit.compression.small_recipe import SMALL, written

pytestmark = pytest.mark.needs_torch

REMOVAL = '\nname = "cut"\nkind = "remove-branch"\nstart = "first"\nstride = '
TAUGHT = """
[[stages]]
name = "taught"
kind = "train"
start = "cut"
schedule = { epochs = 1, batch = 2, lr = 0.1 }
distillation = { teacher = "first", weight = 1.0 }
"""


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (REMOVAL + "8", "stage cut: stride = 8: first is a yolov3-tiny of strides 32, 16; one branch has to stay"),
        (
            REMOVAL + "16\n[[stages]]" + REMOVAL.replace("first", "cut").replace('"cut"\nkind', '"more"\nkind') + "32",
            "stage more: stride = 32: cut is a yolov3-tiny of strides 32; one branch has to stay",
        ),
        (
            REMOVAL + "16" + TAUGHT.replace('start = "cut"', 'network = { family = "yolov3" }'),
            r"stage taught: distillation\.teacher: first is a yolov3-tiny of .*, the student a yolov3 of .*, 8:",
        ),
        (
            REMOVAL + "16" + TAUGHT.replace('"cut"', '"first"').replace('teacher = "first"', 'teacher = "cut"'),
            r"stage taught: distillation\.teacher: cut is .* of strides 32, the student .* 32, 16: take one of",
        ),
    ],
)
def test_branches_that_a_network_does_not_have_are_told_before_it_is_trained(
    tmp_path: Path, stages: str, message: str
) -> None:
    text = SMALL.replace('"folders"', '"voc"').replace("vgg16", "yolov3-tiny")
    before = text.replace(SMALL.split("[[stages]]")[2], REMOVAL + "16" + TAUGHT)
    assert [stage.name for stage in load_recipe(written(tmp_path, before)).stages] == ["first", "cut", "taught"]
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, text.replace(SMALL.split("[[stages]]")[2], stages)))


@pytest.mark.parametrize(
    ("variants", "strides", "message"),
    [
        ('["first"]', "[32, 16]", "1 variants, 2 strides: one each"),
        ('["first", "first"]', "[32, 32]", "strides has one of them twice"),
    ],
)
def test_a_branch_report_has_another_stride_for_each_variant(
    tmp_path: Path, variants: str, strides: str, message: str
) -> None:
    text = SMALL.replace('"folders"', '"voc"\nvalidation = "val"').replace("vgg16", "yolov3-tiny")
    report = f'\nname = "cut"\nkind = "branch-report"\nteacher = "first"\nvariants = {variants}\nstrides = {strides}'
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, text.replace(SMALL.split("[[stages]]")[2], report)))
