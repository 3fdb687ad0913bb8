"""Classification as a task: batches, losses, accuracy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgedet_compression.data.augmentation_settings import ImageAugmentation
from edgedet_compression.data.labeled_images import CIFAR10_NORMALIZATION, ImageSet
from edgedet_compression.distillation.kept_answers import KeptAnswers
from edgedet_compression.distillation.teacher_logits import TeacherLogits, softened_divergence
from edgedet_compression.errors import BuildRefused
from edgedet_compression.training.classification import ClassificationTask
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

pytestmark = pytest.mark.needs_torch

ALL = ImageAugmentation(flip="alternating", translate=3, cutout=4, brightness=0.2, contrast=0.2, saturation=0.2)


def image_set(count: int) -> ImageSet:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (count, 16, 16, 3), np.uint8))
    return ImageSet("toys", images, torch.from_numpy(rng.integers(0, 5, count)), tuple("abcde"))


@pytest.fixture
def task() -> ClassificationTask:
    return ClassificationTask(image_set(70), image_set(33), CIFAR10_NORMALIZATION, 16, 0, ALL)


class Brightest(nn.Module):
    """Logits are the means of five columns."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2))[:, :5]


def test_a_batch_depends_on_epoch_and_step_alone(task: ClassificationTask):
    first = task.batch(3, 2)
    for epoch, step in ((0, 0), (5, 3), (3, 1)):
        task.batch(epoch, step)
    torch.rand(3)
    again = replace(task).batch(3, 2)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    for other in (task.batch(3, 1), task.batch(2, 2), replace(task, seed=1).batch(3, 2)):
        assert not torch.equal(first.images, other.images)


def test_a_training_that_goes_on_shows_what_one_without_a_break_would(task: ClassificationTask):
    further = replace(task, first_epoch=2)
    assert torch.equal(further.batch(1, 2).images, task.batch(3, 2).images)


def test_an_epoch_shows_no_image_twice_and_another_order_every_time(task: ClassificationTask):
    numbered = replace(task.learned, labels=torch.arange(70))
    task = replace(task, learned=numbered)
    epochs = [torch.cat([task.batch(epoch, step).labels for step in range(task.steps)]).tolist() for epoch in range(2)]
    assert task.steps == 4
    for shown in epochs:
        assert len(set(shown)) == 64
    assert epochs[0] != epochs[1]


def test_images_are_normalized_and_their_channels_last_in_memory(task: ClassificationTask):
    unchanged = ImageAugmentation(flip="none", translate=0)
    plain = replace(task, augmentation=unchanged, learned=replace(task.learned, labels=torch.arange(70)))
    batch = plain.batch(0, 0)
    wanted = task.learned.images[batch.labels].permute(0, 3, 1, 2).double() / 255
    mean, std = (
        torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (CIFAR10_NORMALIZATION.mean, CIFAR10_NORMALIZATION.std)
    )
    torch.testing.assert_close(batch.images.double(), (wanted - mean) / std, atol=1e-5, rtol=0)
    for made in (batch, task.batch(0, 0)):
        assert made.images.dtype == torch.float32
        assert made.images.is_contiguous(memory_format=torch.channels_last)


def test_accuracy_is_the_share_of_right_answers(task: ClassificationTask):
    images = torch.zeros(600, 16, 16, 3, dtype=torch.uint8)  # more than are looked at in one go
    images[torch.arange(600), :, torch.arange(600) % 5] = 200
    labels = torch.arange(600) % 5
    labels[:30] = 4 - labels[:30]  # of five, the third stays right
    task = replace(task, validation=ImageSet("toys", images, labels, tuple("abcde")))
    assert task.evaluate(Brightest()) == {"top1": 1 - 24 / 600}
    assert replace(task, dtype=torch.bfloat16).evaluate(Brightest()) == {"top1": 1 - 24 / 600}


def test_label_smoothing_mixes_the_label_with_all(task: ClassificationTask):
    batch = task.batch(0, 0)
    logs = Brightest()(batch.images).log_softmax(1)
    wanted = -(0.8 * logs.gather(1, batch.labels[:, None])[:, 0] + 0.2 * logs.mean(1)).mean()
    torch.testing.assert_close(replace(task, label_smoothing=0.2).loss(Brightest(), batch)["loss"], wanted)


def test_labels_of_mixed_images_count_by_their_shares(task: ClassificationTask):
    batch = replace(task, augmentation=replace(ALL, mixup=0.5)).batch(0, 0)
    plain = task.batch(0, 0)
    assert (batch.labels.gather(1, plain.labels[:, None]) > 0).all()
    alike = (batch.images == plain.images).flatten(1).all(1)
    assert 0 < int(alike.sum()) < len(alike)
    assert torch.equal(batch.labels[alike], functional.one_hot(plain.labels[alike], 5).float())
    wanted = -(batch.labels * Brightest()(batch.images).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task.loss(Brightest(), batch)["loss"], wanted)


def test_distillation_is_weighed_against_the_labels(task: ClassificationTask):
    batch = task.batch(0, 0)
    teacher = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)).eval()
    parts = replace(task, distill=TeacherLogits(teacher, 4.0, 0.75)).loss(Brightest(), batch)
    assert torch.equal(parts["cross_entropy"], task.loss(Brightest(), batch)["loss"])
    torch.testing.assert_close(parts["loss"], 0.25 * parts["cross_entropy"] + 0.75 * parts["distill"])
    parts["loss"].requires_grad_().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


class Counting(nn.Module):
    """A teacher that counts the batches it is asked about."""

    asked = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return images.mean((1, 2))[:, :5] * 3


def test_with_views_the_same_batches_come_again_and_the_teacher_answers_each_once(
    task: ClassificationTask, tmp_path: Path
):
    teacher = Counting().eval()
    kept = KeptAnswers(tmp_path / "answers")
    repeating = replace(task, distill=TeacherLogits(teacher, 2.0, 0.5, views=2, answers=kept))
    told = [
        [float(repeating.loss(Brightest(), repeating.batch(epoch, step))["distill"]) for step in range(task.steps)]
        for epoch in range(5)
    ]
    assert teacher.asked == 2 * task.steps
    assert told[0] == told[2] == told[4]
    assert told[1] == told[3]
    assert told[0] != told[1]
    assert torch.equal(repeating.batch(7, 3).images, task.batch(1, 3).images)
    other_student = replace(task, distill=TeacherLogits(Counting().eval(), 4.0, 0.5, views=4, answers=kept))
    assert isinstance(other_student.distill, TeacherLogits)
    assert isinstance(other_student.distill.teacher, Counting)
    other_student.loss(Brightest(), other_student.batch(1, 0))
    assert other_student.distill.teacher.asked == 0, "answered already"
    other_student.loss(Brightest(), other_student.batch(2, 0))
    assert other_student.distill.teacher.asked == 1
    never = replace(task, distill=TeacherLogits(teacher, 2.0, 0.5))
    assert [float(never.loss(Brightest(), never.batch(1, step))["distill"]) for step in range(task.steps)] == told[1]
    assert torch.equal(never.batch(7, 3).images, task.batch(7, 3).images)


def test_views_of_a_training_that_goes_on_are_none_that_the_one_before_has_shown(task: ClassificationTask):
    teacher = Counting().eval()
    first_round = replace(task, first_epoch=9, distill=TeacherLogits(teacher, 2.0, 0.5, views=2, first_epoch=9))
    second_round = replace(first_round, first_epoch=12)
    for training, epoch, shown in (
        (first_round, 0, 9),
        (first_round, 1, 10),
        (first_round, 2, 9),
        (second_round, 0, 10),
    ):
        assert torch.equal(training.batch(epoch, 1).images, task.batch(shown, 1).images)


@given(st.integers(0, 2**31), st.floats(0.5, 20))
def test_the_softened_divergence_is_hintons_and_zero_for_equals(seed: int, temperature: float):
    student, teacher = 3 * torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    wanted = temperature**2 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(softened_divergence(student, teacher, temperature), wanted)
    assert float(softened_divergence(teacher + 1, teacher, temperature)) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 2**31))
def test_at_a_high_temperature_gradients_approach_those_of_matched_logits(seed: int):
    """Hinton et al. 2015, equation 4: T²·∂KL/∂z → (z - v)/N for logits of zero mean."""
    logits, taught = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits, taught = (logits - logits.mean()).requires_grad_(), taught - taught.mean()
    softened_divergence(logits, taught, 1e4).backward()
    torch.testing.assert_close(logits.grad, (logits.detach() - taught) / 6, atol=1e-3, rtol=0)


@pytest.mark.parametrize("batch_size", [0, 71])
def test_a_batch_larger_than_the_data_set_is_refused(task: ClassificationTask, batch_size: int):
    with pytest.raises(BuildRefused, match=f"batch = {batch_size}: toys has 70 images"):
        replace(task, batch_size=batch_size)


def test_a_network_learns_what_can_be_learned(task: ClassificationTask):
    images = torch.zeros(64, 16, 16, 3, dtype=torch.uint8)
    labels = torch.arange(64) % 3
    images[torch.arange(64), :, :, labels] = 255
    colors = ImageSet("colors", images, labels, tuple("rgb"))
    task = ClassificationTask(colors, colors, CIFAR10_NORMALIZATION, 16, 0, ALL)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    for epoch in range(20):
        for step in range(task.steps):
            optimizer.zero_grad()
            task.loss(network, task.batch(epoch, step))["loss"].backward()
            optimizer.step()
    assert task.evaluate(network) == {"top1": 1.0}
    assert functional.cross_entropy(network(task.batch(0, 0).images), task.batch(0, 0).labels) < 0.5
