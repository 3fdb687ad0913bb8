"""The recipes of the VGG rows: shrunken copies run through all stages, and their budgets of parameters can be met."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch
from edgedet_compression.networks.families import parameter_count
from edgedet_compression.networks.vgg import vgg16, vgg19
from edgedet_compression.pruning.budget import Budget
from edgedet_compression.pruning.channels import prune_to_budget
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.importance import l1_norm, network_slimming, std_prune
from edgedet_compression.recipe import load_recipe
from edgedet_compression.recipe_stages import EvaluateStage, PruneChannelsStage, PruneWeightsStage, TrainStage
from edgedet_compression.runner import Workplace, run_recipe
from edgedet_compression.stages.context import ANSWERS
from torch import nn

from tests.integration.compression.shrunken_recipes import shrunken_recipes

pytestmark = [pytest.mark.needs_torch, pytest.mark.usefixtures("one_thread")]

FINAL = ("vgg16-cifar10", "vgg16-sparse", "vgg16-thin", "vgg19-std-prune")
RECIPES = (*FINAL, "vgg16-choices")
NETWORKS = {"vgg16-thin": vgg16, "vgg19-std-prune": vgg19}
CRITERIA = {"std-prune": std_prune, "network-slimming": network_slimming, "l1-norm": l1_norm}


@pytest.fixture(scope="module")
def shrunken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Copies of the recipes; the tests share the runs, as the recipes share stages."""
    with shrunken_recipes(tmp_path_factory.mktemp("vgg"), RECIPES) as workplace:
        yield workplace


@pytest.mark.parametrize("name", RECIPES)
def test_a_shrunken_copy_runs_through_all_stages(shrunken: Workplace, name: str) -> None:
    recipe = load_recipe(f"{name}.toml")
    done = run_recipe(recipe, shrunken)
    assert list(done) == [stage.name for stage in load_recipe(name).stages]
    assert all(folder.done for folder in done.values())
    for stage in (stage for stage in recipe.stages if isinstance(stage, EvaluateStage)):
        tested = done[stage.name].result()["networks"]
        assert set(tested) == {stage.baseline, *stage.networks}
        assert all(figures["top1"]["n"] == 12 for figures in tested.values())


def test_choices_are_made_on_images_that_are_never_learned(shrunken: Workplace) -> None:
    """They never read the test split; final runs do, once."""
    assert not any(isinstance(stage, EvaluateStage) for stage in load_recipe("vgg16-choices").stages)
    for name in FINAL:
        assert sum(isinstance(stage, EvaluateStage) for stage in load_recipe(name).stages) == 1
    done = run_recipe(load_recipe("vgg16-choices.toml"), shrunken)
    assert all("top1" in entry for entry in done["baseline"].result()["log"])
    assert done["sensitivity"].result()["figure"] == "top1"


def test_all_four_ways_to_zero_weights_end_equally_sparse(shrunken: Workplace) -> None:
    done = run_recipe(load_recipe("vgg16-sparse.toml"), shrunken)
    found = [folder.result()["sparsity"] for name, folder in done.items() if name != "test"]
    assert found == pytest.approx([found[0]] * len(found), abs=0.001)
    assert len(done["dynamic-rounds"].result()["rounds"]) == 2
    size = (done["dynamic"].path / "network.sparse").stat().st_size
    assert done["dynamic"].result()["bytes_sparse"] == size


def test_students_of_one_teacher_share_its_answers(shrunken: Workplace) -> None:
    for name in FINAL:
        run_recipe(load_recipe(f"{name}.toml"), shrunken)
    # Five batches an epoch: the rounds and cycles of dynamic-percentage show epochs 2 to 7, and the other three methods
    # the first of these; thin's cycles show the first four.
    assert _asked(shrunken, "vgg16-cifar10/longer-averaged") == 5 * 6
    # What VGG19 is pruned to shows epochs 2 to 4 in its first two cycles, then 4 (L1 norm, which has no penalty) to 8.
    assert _asked(shrunken, "vgg19-std-prune/averaged") == 5 * 3
    assert _asked(shrunken, "vgg19-std-prune/longer-averaged") == 5 * 5


def _asked(workplace: Workplace, teacher: str) -> int:
    """Batches that this teacher, recipe/stage, answered."""
    (answers,) = workplace.runs.glob(f"{teacher}-*/{ANSWERS}")
    with closing(sqlite3.connect(answers)) as table:
        (count,) = table.execute("SELECT count(*) FROM answers").fetchone()
    return int(count)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_budgets_of_recipes_leave_widths_that_the_kernels_like(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(norm.weight, 0.0, 1.0)
    stages = [stage for stage in load_recipe(name).stages if isinstance(stage, PruneChannelsStage)]
    for stage in stages:
        assert stage.parameters is not None
        budget = Budget(stage.parameters, stage.macs)
        found = prune_to_budget(
            network, CRITERIA[stage.criterion], (3, 32, 32), budget, stage.floor, stage.charge_parameters
        )
        assert 0.9 * stage.parameters < parameter_count(found.network)
        assert not budget.exceeded_by(count_cost(found.network, (3, 32, 32)))
        assert all(width % (16 if width >= 16 else 4) == 0 for _, width in found.widths.values())
    assert len({stage.parameters for stage in stages}) == 1, "equal parameters"


def test_final_runs_learn_all_images_and_baselines_train_as_long_as_the_recipes_tell() -> None:
    stages = [stage for name in FINAL for stage in load_recipe(name).stages if isinstance(stage, TrainStage)]
    assert all(stage.all_data for stage in stages)

    def epochs(name: str, *stages: str) -> int:
        found = [load_recipe(name).stage(stage) for stage in stages]
        return sum(stage.schedule.epochs for stage in found if isinstance(stage, TrainStage))

    rounds = load_recipe("vgg16-sparse").stage("dynamic-rounds")
    assert isinstance(rounds, PruneWeightsStage)
    assert rounds.start == "vgg16-cifar10/twin"
    cycles = epochs("vgg16-sparse", *(f"dynamic-{cycle}" for cycle in ("first", "second", "third", "fourth")))
    twins = epochs("vgg16-cifar10", "long-twin", "longer-twin")
    assert twins == rounds.rounds * rounds.schedule.epochs + cycles
    twins += epochs("vgg16-cifar10", "twin", "longest-twin")
    thin = [stage.name for stage in load_recipe("vgg16-thin").stages if isinstance(stage, TrainStage)]
    assert epochs("vgg16-thin", *thin) == twins + 216
    longer = epochs("vgg19-std-prune", "long-twin", "longer-twin")
    for pruned, before in (("std-prune", ["sparse-scales"]), ("network-slimming", ["sparse-scales"]), ("l1-norm", [])):
        cycles = [f"{pruned}-{cycle}" for cycle in ("first", "second", "third", "fourth", "fifth", "sixth")]
        assert epochs("vgg19-std-prune", *before, *cycles) == longer + 10
