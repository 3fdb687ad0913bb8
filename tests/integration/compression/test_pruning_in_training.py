"""Masks, cycles and the penalty on BatchNorm inside the real training loop."""

from dataclasses import dataclass

import pytest
import torch
from edgedet_compression.pruning.criteria import one_threshold
from edgedet_compression.pruning.cycles import CyclePlan, prune_in_cycles
from edgedet_compression.pruning.masks import apply_masks, holding, prunable_weights, sparsity
from edgedet_compression.pruning.sparsity import gamma_penalty
from edgedet_compression.training.loop import Methods, train
from edgedet_compression.training.schedule import Schedule
from torch.nn import functional

from tests.unit.compression.prunable_networks import IMAGE, small_vgg

pytestmark = pytest.mark.needs_torch

SCHEDULE = Schedule(epochs=1, batch=16, lr=0.05, ema=0.5, precision="fp32")


@dataclass(frozen=True)
class BrightQuarter:
    """Which quarter of the picture is brighter than the others."""

    steps: int = 6

    def batch(self, epoch, step):
        generator = torch.Generator().manual_seed(1000 * epoch + step)
        images = torch.rand(16, *IMAGE, generator=generator)
        labels = torch.randint(4, (16,), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = 8 * (label // 2), 8 * (label % 2)
            image[:, row : row + 8, column : column + 8] += 2
        return images, labels

    def loss(self, network, batch):
        images, labels = batch
        return {"loss": functional.cross_entropy(network(images), labels)}

    def evaluate(self, network):
        images, labels = self.batch(99, 0)
        return {"accuracy": (network(images).argmax(1) == labels).float().mean().item()}


def _accuracy(network):
    with torch.no_grad():
        return BrightQuarter().evaluate(network.eval())["accuracy"]


def test_masks_hold_through_training_with_momentum_decay_and_averaging(tmp_path):
    network = small_vgg()
    masks = one_threshold(prunable_weights(network), 0.8)
    apply_masks(network, masks)
    train(network, BrightQuarter(), SCHEDULE, tmp_path, Methods(hold=holding(masks)))
    found = {name: weight != 0 for name, weight in prunable_weights(network).items()}
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())


def test_cycles_of_prune_and_fine_tune_reach_the_sparsity_and_keep_the_figure(tmp_path):
    network = small_vgg()
    train(network, BrightQuarter(16), SCHEDULE, tmp_path / "dense")
    reference = _accuracy(network)
    assert reference > 0.6

    def fine_tune(pruned, masks, number):
        train(pruned, BrightQuarter(), SCHEDULE, tmp_path / f"round-{number}", Methods(hold=holding(masks)))

    plan = CyclePlan(sparsity=0.8, rounds=2, reference=reference, tolerance=0.1, most_rounds=4, spared="last")
    rounds = prune_in_cycles(network, plan, fine_tune, _accuracy, tmp_path / "cycles")
    kept = [done for done in rounds if done.kept]
    assert kept
    assert sparsity(prunable_weights(network, "last")).total == pytest.approx(kept[-1].sparsity, abs=1e-3)
    assert _accuracy(network) == kept[-1].figure >= reference - 0.1


def test_the_penalty_makes_scaling_factors_smaller_than_without_it(tmp_path):
    def mean_gamma(methods, folder):
        network = small_vgg()
        train(network, BrightQuarter(), SCHEDULE, tmp_path / folder, methods)
        return network.features[1].weight.abs().mean()

    assert mean_gamma(Methods(penalty=gamma_penalty(0.1, 0.1)), "sparse") < 0.95 * mean_gamma(Methods(), "plain")
