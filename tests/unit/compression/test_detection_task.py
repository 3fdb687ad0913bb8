"""Detection as a task: batches depend on epoch and step alone, and the last epochs show photos as they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgedet_compression.data.augmentation_settings import DetectionAugmentation
from edgedet_compression.data.boxed_photos import BoxedPhoto
from edgedet_compression.training.detection import DetectionTask

pytestmark = pytest.mark.needs_torch

SIZE, COUNT = 32, 8
PHOTOS = [
    BoxedPhoto(
        np.full((SIZE, SIZE, 3), 25 * number, np.uint8), np.array([[8, 8, 24, 24]], np.float32), np.array([number])
    )
    for number in range(COUNT)
]
"""Of one brightness each, with a box in the middle."""


def task(how: DetectionAugmentation, epochs: int = 2) -> DetectionTask:
    return DetectionTask(PHOTOS, None, COUNT // 2, SIZE, seed=3, augmentation=how, epochs=epochs)


def test_a_batch_depends_on_epoch_and_step_alone():
    every = task(DetectionAugmentation())
    first = every.batch(0, 1)
    every.batch(1, 0)
    again = task(DetectionAugmentation()).batch(0, 1)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.targets, again.targets)
    for other in (every.batch(0, 0), every.batch(1, 1), replace(every, seed=4).batch(0, 1)):
        assert not torch.equal(first.images, other.images)


def test_an_epoch_shows_every_photo_once():
    plain = task(DetectionAugmentation(mosaic=0))
    shown = [int(label) for step in range(plain.steps) for label in plain.batch(0, step).targets[:, 1]]
    assert sorted(shown) == list(range(COUNT))


def test_a_training_that_goes_on_shows_other_photos_and_ends_without_mosaics_too():
    how = DetectionAugmentation(plain_epochs=1)
    one, further = task(how, epochs=3), replace(task(how, epochs=3), first_epoch=3)
    longer = task(how, epochs=6)
    assert torch.equal(further.batch(0, 0).images, longer.batch(3, 0).images)
    assert torch.equal(further.batch(2, 0).images, longer.batch(5, 0).images)
    assert not torch.equal(further.batch(2, 0).images, one.batch(2, 0).images)


def test_the_last_epochs_are_without_mosaics_where_the_recipe_says_so():
    still = DetectionAugmentation(
        mosaic=1, scale=0, translation=0, flip=False, hue=0, saturation=0, brightness=0, plain_epochs=1
    )

    def colors(epoch: int) -> list[int]:
        return [len(image.unique()) for image in task(still).batch(epoch, 0).images]

    assert min(colors(0)) > 1
    assert colors(1) == [1] * (COUNT // 2)
