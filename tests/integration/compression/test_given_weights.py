"""Published weights in networks of ours, on the data that they were published for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from edgedet_compression.data.augmentation_settings import ImageAugmentation
from edgedet_compression.data.download import CIFAR10, MNIST
from edgedet_compression.data.labeled_images import (
    CIFAR10_NORMALIZATION,
    IMAGENET_NORMALIZATION,
    MNIST_NORMALIZATION,
    ImageSet,
    read_cifar10,
    read_mnist,
)
from edgedet_compression.networks.lenet import load_lenet
from edgedet_compression.networks.resnet import load_akamaster
from edgedet_compression.networks.resnet_cifar import read_resnet_cifar
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.pruning.sparse_size import read_sparse
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.training.classification import ClassificationTask, predict

from demo.processes import ROOT

pytestmark = [pytest.mark.needs_torch, pytest.mark.needs_data]


def task_on(images: ImageSet, normalization: Normalization) -> ClassificationTask:
    unchanged = ImageAugmentation(flip="none", translate=0)
    return ClassificationTask(images, images, normalization, len(images), 0, unchanged)


def test_resnet20_answers_as_its_onnx_form_does(data: Path):
    weights = data / "weights" / "resnet-cifar10" / "resnet20-12fca82f.th"
    whole = read_cifar10(data / CIFAR10.name, "test")
    first = whole.subset(np.arange(2000), "the first 2,000")
    task = task_on(first, IMAGENET_NORMALIZATION)
    network = load_akamaster(weights)
    found = predict(network.to(memory_format=torch.channels_last), first, IMAGENET_NORMALIZATION)
    session = ort.InferenceSession(read_resnet_cifar(weights).SerializeToString(), providers=["CPUExecutionProvider"])
    ordered = replace(task, learned=replace(task.learned, labels=torch.arange(2000))).batch(0, 0)
    wanted = torch.empty(2000, dtype=torch.int64)
    for place, image in zip(ordered.labels, ordered.images.split(1), strict=True):
        wanted[place] = int(session.run(None, {"image": image.contiguous().numpy()})[0].argmax())
    assert torch.equal(found, wanted)
    assert float((found == first.labels).double().mean()) == 0.917


def test_the_sparse_vgg16_that_is_committed_has_its_zeros_its_size_and_its_accuracy(data: Path):
    file = ROOT / "compression" / "results" / "vgg16-sparse.network.sparse"
    assert file.stat().st_size <= 3_000_000
    network = read_sparse(file)
    assert sparsity(prunable_weights(network)).total >= 0.96
    first = read_cifar10(data / CIFAR10.name, "test").subset(np.arange(2000), "the first 2,000")
    found = predict(network.to(memory_format=torch.channels_last), first, CIFAR10_NORMALIZATION)
    assert int((found == first.labels).sum()) == pytest.approx(1868, abs=2)


def test_lenet_has_its_published_accuracy(data: Path):
    network = load_lenet(data / "weights" / "lenet5-mnist" / "lenet.pth")
    task = task_on(read_mnist(data / MNIST.name, "test"), MNIST_NORMALIZATION)
    assert task.evaluate(network) == {"top1": 0.9813}


def test_training_images_have_the_constants_that_normalize_them(data: Path):
    images = read_mnist(data / MNIST.name, "train").images.double() / 255
    assert float(images.mean()) == pytest.approx(MNIST_NORMALIZATION.mean[0], abs=5e-5)
    assert float(images.std()) == pytest.approx(MNIST_NORMALIZATION.std[0], abs=5e-5)
