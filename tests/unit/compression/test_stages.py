"""Single stages: what they hand on to the next, and what they refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.families import save_network
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.networks.vgg import VGG
from edgedet_compression.progress import silent
from edgedet_compression.pruning.criteria import one_threshold
from edgedet_compression.pruning.masks import apply_masks, prunable_weights, sparsity
from edgedet_compression.pruning.sparse_size import read_sparse
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.recipe import Recipe
from edgedet_compression.recipe_stages import (
    AverageStage,
    Distillation,
    FreshCopyStage,
    PruneChannelsStage,
    PruneWeightsStage,
    QuantizeStage,
    Stage,
    TrainStage,
)
from edgedet_compression.runner import Workplace, open_data
from edgedet_compression.runs import NETWORK, StageFolder
from edgedet_compression.stages.average import average_networks
from edgedet_compression.stages.context import Context, Figures
from edgedet_compression.stages.prune_channels import prune_channels
from edgedet_compression.stages.prune_weights import prune_weights
from edgedet_compression.stages.quantize import insert_quantizers
from edgedet_compression.stages.structure import fresh_copy
from edgedet_compression.stages.train import train_network
from edgedet_compression.training.loop import CHECKPOINT
from edgedet_compression.training.precision import autocast, dtype_of
from edgedet_compression.training.schedule import Schedule
from edgedet_runtime.package import load_package
from torch import nn

from tests.unit.compression.toy_photos import write_shapes

pytestmark = pytest.mark.needs_torch

SCHEDULE = Schedule(epochs=1, batch=8, lr=0.05, precision="fp32", ema=0.5)
BEFORE = {"epochs": 5, "batch": 8, "lr": 0.1}
MakeContext = Callable[..., Context]


@pytest.fixture
def context(tmp_path: Path) -> MakeContext:
    """Of a stage that reads others, whose results are given by name."""
    write_shapes(tmp_path / "photos")
    recipe = Recipe.model_validate(
        {
            "name": "toy",
            "description": "Squares and stripes.",
            "data": {"format": "folders", "folder": "photos", "size": 32},
            "stages": [{"name": "before", "kind": "train", "network": {"family": "vgg16"}, "schedule": BEFORE}],
        }
    )
    data = open_data(recipe, Workplace(tmp_path, tmp_path, tmp_path))

    def make(**read: StageFolder) -> Context:
        folder = StageFolder(tmp_path / f"stage-{len(list(tmp_path.iterdir()))}", "")
        folder.path.mkdir()
        return Context(recipe, data, folder, read, tmp_path, tmp_path, tmp_path, silent)

    return make


def finished(path: Path, figures: Figures, network: nn.Module | None = None) -> StageFolder:
    path.mkdir(exist_ok=True)
    if network is not None:
        save_network(network, path / NETWORK)
    folder = StageFolder(path, "")
    folder.finish(figures)
    return folder


def quantized(context: MakeContext, tmp_path: Path) -> StageFolder:
    torch.manual_seed(0)
    bits = context(before=finished(tmp_path / "float", {}, VGG([16, "A"], 16, 2).eval()))
    bits.folder.finish(insert_quantizers(QuantizeStage(name="bits", kind="quantize", start="before"), bits))
    return bits.folder


def test_trainings_keep_the_zeros_of_pruned_weights_also_as_low_bit_networks(context: MakeContext, tmp_path: Path):
    torch.manual_seed(0)
    network = VGG([16, "M", 16, "M", 32, "A"], 16, 2).eval()
    apply_masks(network, one_threshold(prunable_weights(network), 0.8))
    wanted = sparsity(prunable_weights(network)).total
    folder = finished(tmp_path / "pruned", {"sparsity": wanted}, network)
    stages = (
        (train_network, TrainStage(name="longer", kind="train", start="before", schedule=SCHEDULE)),
        (average_networks, AverageStage(name="same", kind="average", networks=("before", "before"), batch=8)),
        (insert_quantizers, QuantizeStage(name="bits", kind="quantize", start="before")),
        (train_network, TrainStage(name="taught", kind="train", start="before", schedule=SCHEDULE)),
    )
    for run, stage in stages:
        at_hand = context(before=folder)
        figures = run(stage, at_hand)
        assert figures["sparsity"] == pytest.approx(wanted)
        at_hand.folder.finish(figures)
        folder = at_hand.folder
        if not isinstance(folder.network(), LowBitNetwork):
            again = read_sparse(folder.path / "network.sparse").state_dict()
            assert all(torch.equal(again[name], value) for name, value in folder.network().state_dict().items())
            assert figures["bytes_sparse"] == (folder.path / "network.sparse").stat().st_size
        assert sparsity(prunable_weights(folder.network())).total == pytest.approx(wanted), stage.name


@pytest.mark.parametrize(
    ("run", "stage"),
    [
        (fresh_copy, FreshCopyStage(name="again", kind="fresh-copy", start="before")),
        (insert_quantizers, QuantizeStage(name="again", kind="quantize", start="before")),
        (
            prune_channels,
            PruneChannelsStage(name="again", kind="prune-channels", start="before", criterion="l1-norm", share=0.5),
        ),
    ],
)
def test_a_network_with_quantizers_is_neither_copied_afresh_nor_quantized_nor_rebuilt(
    context: MakeContext, tmp_path: Path, run: Callable[[Any, Context], Figures], stage: Stage
):
    bits = quantized(context, tmp_path)
    with pytest.raises(BuildRefused, match="stage again: before has 4 bits: start from the float network before it"):
        run(stage, context(before=bits))


def test_weights_that_are_pruned_behind_quantizers_have_no_sparse_file(context: MakeContext, tmp_path: Path):
    stage = PruneWeightsStage(
        name="sparse", kind="prune-weights", start="before", sparsity=0.9, rounds=1, schedule=SCHEDULE, all_data=True
    )
    at_hand = context(before=quantized(context, tmp_path))
    found = prune_weights(stage, at_hand)
    assert found["sparsity"] == pytest.approx(0.9, abs=1e-3)
    assert "bytes_sparse" not in found
    assert not (at_hand.folder.path / "network.sparse").exists()


def test_layers_that_are_spared_keep_the_zeros_of_a_pruning_before(context: MakeContext, tmp_path: Path):
    torch.manual_seed(0)
    network = VGG([16, "M", 16, "M", 32, "A"], 16, 2).eval()
    apply_masks(network, one_threshold(prunable_weights(network), 0.6))
    before = finished(tmp_path / "before", {"sparsity": 0.6}, network)
    stage = PruneWeightsStage(
        name="more",
        kind="prune-weights",
        start="before",
        sparsity=0.9,
        rounds=1,
        spared="first and last",
        schedule=SCHEDULE,
        all_data=True,
    )
    at_hand = context(before=before)
    at_hand.folder.finish(prune_weights(stage, at_hand))
    wanted, found = (sparsity(prunable_weights(folder.network())).layers for folder in (before, at_hand.folder))
    first, *_, last = wanted
    assert min(wanted[first], wanted[last]) > 0.1
    assert {name: found[name] for name in (first, last)} == {name: wanted[name] for name in (first, last)}


def test_zeros_that_a_stage_left_count_in_the_rounds_of_the_next_and_those_by_chance_do_not(
    context: MakeContext, tmp_path: Path
):
    torch.manual_seed(0)
    network = VGG([16, "M", 16, "M", 32, "A"], 16, 2).eval()
    apply_masks(network, one_threshold(prunable_weights(network), 0.6))
    stage = PruneWeightsStage(
        name="more", kind="prune-weights", start="before", sparsity=0.9, rounds=2, schedule=SCHEDULE, all_data=True
    )
    for figures, begun in (({"sparsity": 0.6}, 0.6), ({}, 0.0)):
        before = finished(tmp_path / f"from-{begun}", figures, network)
        found = prune_weights(stage, context(before=before))
        assert found["begun"] == pytest.approx(begun, abs=1e-3)
        assert found["rounds"][0]["sparsity"] == pytest.approx(begun + (0.9 - begun) * 7 / 8, abs=1e-3)
        assert found["sparsity"] == pytest.approx(0.9, abs=1e-3)


def test_a_network_that_is_as_sparse_as_wished_is_not_pruned(context: MakeContext, tmp_path: Path):
    torch.manual_seed(0)
    network = VGG([16, "A"], 16, 2).eval()
    apply_masks(network, one_threshold(prunable_weights(network), 0.6))
    stage = PruneWeightsStage(name="more", kind="prune-weights", start="before", sparsity=0.5, schedule=SCHEDULE)
    before = finished(tmp_path / "before", {"sparsity": 0.6}, network)
    with pytest.raises(BuildRefused, match=r"stage more: sparsity = 0\.5: start = before has 6\d\.\d\d% zeros"):
        prune_weights(stage, context(before=before))


@pytest.mark.parametrize("method", ["dynamic-percentage", "one-shot"])
def test_rounds_of_pruning_show_images_that_neither_they_nor_the_training_before_have_shown(
    context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    shown: list[int] = []
    monkeypatch.setattr(
        "edgedet_compression.stages.prune_weights.train",
        lambda network, task, *_: (shown.append(task.first_epoch), task.distill.teacher, network.eval()),
    )
    before = finished(tmp_path / "before", {}, VGG([16, "A"], 16, 2).eval())
    stage = PruneWeightsStage(
        name="more",
        kind="prune-weights",
        start="before",
        method=method,
        sparsity=0.9,
        rounds=3 if method == "dynamic-percentage" else 1,
        schedule=SCHEDULE.model_copy(update={"epochs": 2}),
        distillation=Distillation(teacher="before", weight=0.5),
        all_data=True,
    )
    prune_weights(stage, context(before=before))
    assert shown == ([5, 7, 9] if method == "dynamic-percentage" else [5])


def test_of_the_rounds_of_a_pruning_one_checkpoint_is_kept_at_a_time(
    context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kept: list[int] = []

    def trained(network: nn.Module, task: object, schedule: object, folder: Path, *_: object) -> None:
        folder.mkdir(parents=True)
        (folder / CHECKPOINT).touch()
        kept.append(len([*folder.parent.rglob(CHECKPOINT)]))
        network.eval()

    monkeypatch.setattr("edgedet_compression.stages.prune_weights.train", trained)
    before = finished(tmp_path / "before", {}, VGG([16, "A"], 16, 2).eval())
    stage = PruneWeightsStage(
        name="more", kind="prune-weights", start="before", sparsity=0.9, rounds=3, schedule=SCHEDULE, all_data=True
    )
    prune_weights(stage, context(before=before))
    assert kept == [1, 1, 1]


def test_the_average_has_mean_weights_and_its_own_statistics_of_batchnorm(context: MakeContext, tmp_path: Path):
    torch.manual_seed(0)
    networks = [VGG([16, "M", 16, "A"], 16, 2) for _ in range(3)]
    for network in networks:
        nn.init.normal_(network.features[0].weight)
    read = {f"n{place}": finished(tmp_path / f"n{place}", {}, each) for place, each in enumerate(networks)}
    at_hand = context(**read)
    average_networks(AverageStage(name="mean", kind="average", networks=tuple(read), batch=32), at_hand)
    found = at_hand.folder.network()
    for name, parameter in found.named_parameters():
        wanted = torch.stack([dict(each.named_parameters())[name] for each in networks]).mean(0)
        torch.testing.assert_close(parameter, wanted, rtol=1e-5, atol=1e-6, msg=name)
    shown = at_hand.data.task(AverageStage(name="m", kind="average", networks=("n0", "n1"), batch=32).as_training)
    with autocast(dtype_of("auto")):  # as trainings compute here
        reached = found.features[0](shown.batch(0, 0).images).float()
    torch.testing.assert_close(found.features[1].running_mean, reached.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.features[1].running_var, reached.var((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_networks_of_another_structure_are_not_averaged(context: MakeContext, tmp_path: Path):
    wide = finished(tmp_path / "wide", {}, VGG([16, "A"], 16, 2))
    thin = finished(tmp_path / "thin", {}, VGG([8, "A"], 16, 2))
    stage = AverageStage(name="mean", kind="average", networks=("wide", "thin"), batch=8)
    with pytest.raises(BuildRefused, match="stage mean: thin has another structure than wide"):
        average_networks(stage, context(wide=wide, thin=thin))


def test_network_slimming_is_refused_where_there_is_no_batchnorm(context: MakeContext, tmp_path: Path):
    stage = PruneChannelsStage(
        name="thin", kind="prune-channels", start="dense", criterion="network-slimming", share=0.5
    )
    with pytest.raises(BuildRefused, match=r"stage thin: criterion network-slimming .* dense has none: take l1-norm"):
        prune_channels(stage, context(dense=finished(tmp_path / "dense", {}, LeNet())))


def test_a_network_within_the_budget_is_not_pruned_in_name_alone(context: MakeContext, tmp_path: Path):
    stage = PruneChannelsStage(
        name="thin", kind="prune-channels", start="dense", criterion="l1-norm", parameters=1_000_000
    )
    with pytest.raises(BuildRefused, match=r"dense has [\d,]+ parameters and [\d,]+ MACs, .*: give fewer parameters"):
        prune_channels(stage, context(dense=finished(tmp_path / "dense", {}, VGG([16, "A"], 16, 2))))


def test_a_package_in_the_place_of_the_one_exported_is_refused(context: MakeContext, models: Path, tmp_path: Path):
    package = load_package(models / "small-lenet-w4a4-mnist" / "1")
    own = finished(tmp_path / "own", {"package": str(package.folder), "digest": package.digest})
    assert context(own=own).package("own").digest == package.digest
    other = finished(tmp_path / "other", {"package": str(package.folder), "digest": "0" * 64})
    with pytest.raises(BuildRefused, match="is not what other exported"):
        context(other=other).package("other")
