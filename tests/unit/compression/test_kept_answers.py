"""Answers of a teacher in a file: found by what was asked, and by nothing else."""

from pathlib import Path

import pytest
import torch
from edgedet_compression.distillation.kept_answers import KeptAnswers, network_hash, question_hash
from edgedet_compression.errors import SourceUnreadable
from torch import nn

pytestmark = pytest.mark.needs_torch


def test_what_was_kept_is_found_bit_for_bit_also_by_another_reader(tmp_path: Path):
    logits = torch.randn(3, 10)
    KeptAnswers(tmp_path / "answers").keep(b"one", logits)
    KeptAnswers(tmp_path / "answers").keep(b"two", logits[:, :1])
    found = KeptAnswers(tmp_path / "answers")
    assert torch.equal(found.find(b"one"), logits)
    assert torch.equal(found.find(b"two"), logits[:, :1])
    assert found.find(b"three") is None


def test_other_weights_types_images_and_shapes_are_other_questions():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    images = torch.randn(2, 3, 4, 6)
    asked = network_hash(network, torch.float32)
    questions = {
        question_hash(asked, images),
        question_hash(asked, images + 1e-6),
        question_hash(asked, images.view(2, 3, 6, 4)),
        question_hash(network_hash(network, torch.bfloat16), images),
    }
    with torch.no_grad():
        network[1].running_mean += 1e-6
    questions.add(question_hash(network_hash(network, torch.float32), images))
    assert len(questions) == 5


def test_a_question_is_the_same_however_images_lie_in_memory():
    images = torch.randn(2, 3, 4, 6)
    assert question_hash(b"", images) == question_hash(b"", images.to(memory_format=torch.channels_last))


def test_a_damaged_file_is_named(tmp_path: Path):
    file = tmp_path / "answers"
    file.write_bytes(b"no table of answers" * 100)
    with pytest.raises(SourceUnreadable, match=f"{file} is damaged .*: remove it, and run again"):
        KeptAnswers(file).find(b"one")


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path):
    with pytest.raises(OSError, match="nowhere/answers: unable to open"):
        KeptAnswers(tmp_path / "nowhere" / "answers").keep(b"one", torch.zeros(1, 2))
