"""Scores of classifiers: an interval that stays one where every photo is right, differences that are paired."""

from pathlib import Path

import pytest
import torch
from edgedet_compression.data.classification_data import ClassificationData
from edgedet_compression.data.score import ClassFigure
from edgedet_compression.recipe import DataSettings
from edgedet_evaluation.intervals import proportion
from torch import nn

from tests.unit.compression.toy_photos import write_shapes

pytestmark = pytest.mark.needs_torch


class Seeing(nn.Module):
    """Squares are bright in the middle, stripes in their first row; the sign turns the answers around."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.sign * torch.stack([images[:, 0, 8:24, 8:24].mean((1, 2)), images[:, 0, 0].mean(1)], 1)


@pytest.mark.parametrize(("sign", "right"), [(1, 12), (-1, 0)])
def test_top1_has_wilsons_interval_and_is_not_sure_of_12_photos(tmp_path: Path, sign: int, right: int):
    write_shapes(tmp_path)
    data = ClassificationData(DataSettings(format="folders", folder=str(tmp_path)), tmp_path)
    (score,), (other,) = (data.score(Seeing(each)) for each in (sign, 1))
    assert score.estimate == proportion(right, 12)
    assert score.classes == {"square": ClassFigure(right / 12, 6), "stripes": ClassFigure(right / 12, 6)}
    assert score.estimate.high - score.estimate.low > 0.2
    assert score.minus(other).value == right / 12 - 1
    assert other.minus(other).high > 0.2
