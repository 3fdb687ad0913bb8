import pytest
import torch
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.pruning.sensitivity import scan_sensitivity, sensitivity_svg

from tests.unit.compression.prunable_networks import small_vgg

pytestmark = pytest.mark.needs_torch


def test_each_layer_is_pruned_alone_and_put_back():
    network = small_vgg()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen = []

    def validate(pruned):
        found = sparsity(prunable_weights(pruned))
        seen.append([name for name, share in found.layers.items() if share > 0])
        return 1 - found.total

    scan = scan_sensitivity(network, validate, (0.5, 0.9))
    assert seen == [[entry.layer] for entry in scan for _ in range(2)]
    assert [entry.layer for entry in scan] == list(prunable_weights(network))
    assert all(entry.figures[0] > entry.figures[1] for entry in scan)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_scan_that_is_broken_off_leaves_the_network_as_it_was():
    network = small_vgg()
    before = prunable_weights(network)["features.0.weight"].clone()

    def validate(pruned):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_sensitivity(network, validate, (0.5,))
    assert torch.equal(prunable_weights(network)["features.0.weight"], before)


def test_progress_counts_every_validation():
    steps = []

    def progress(step, total):
        steps.append(total)
        return lambda: steps.append("done")

    scan = scan_sensitivity(small_vgg(), lambda _: 1.0, (0.2, 0.4, 0.6), progress)
    assert steps == [3 * len(scan), *["done"] * 3 * len(scan)]


def test_the_plot_is_the_same_svg_for_the_same_scan_and_names_axes_and_layers():
    scan = scan_sensitivity(small_vgg(), lambda pruned: 1 - sparsity(prunable_weights(pruned)).total, (0.5, 0.9))
    plot = sensitivity_svg(scan, 1.0, "accuracy on 100 photos")
    assert plot == sensitivity_svg(scan, 1.0, "accuracy on 100 photos")
    assert plot.lstrip().startswith(b"<?xml")
    assert b"features.0.weight" in plot
