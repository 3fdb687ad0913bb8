"""The recipes of 4-bit networks: shrunken copies run through all stages, to packages as accurate as the networks."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from edgedet_compression.errors import BuildRefused
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.recipe import load_recipe, recipe_text
from edgedet_compression.recipe_stages import ExportStage, QuantizeStage, TrainStage
from edgedet_compression.runner import Workplace, open_data, run_recipe
from edgedet_compression.shown_epochs import epochs_before
from edgedet_compression.stages.report import report_run
from edgedet_runtime.package import load_package

from tests.integration.compression.shrunken_recipes import shrunken_recipes

pytestmark = [pytest.mark.needs_torch, pytest.mark.usefixtures("one_thread")]

PACKAGES = {
    "resnet20-w4a4": "resnet20-w4a4-cifar10",
    "vgg16-w4a4": "vgg16-w4a4-cifar10",
    "lenet-w4a4": "small-lenet-w4a4-mnist",
}
DIGITS = 60


@pytest.fixture(scope="module")
def shrunken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Copies of the recipes, photos, and a few made-up digits."""
    root = tmp_path_factory.mktemp("four-bits")
    write_digits(root / "mnist")
    with shrunken_recipes(root, (*PACKAGES, "vgg16-cifar10")) as workplace:
        yield workplace


def write_digits(folder: Path) -> None:
    """MNIST's files with few images."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split in ("train", "t10k"):
        labels = np.arange(DIGITS, dtype=np.uint8) % 10
        images = rng.integers(0, 256, (DIGITS, 28, 28), np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes()))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_shrunken_copy_runs_to_its_package(shrunken: Workplace, name: str, tmp_path: Path) -> None:
    recipe = load_recipe(f"{name}.toml")
    done = run_recipe(recipe, shrunken)
    assert all(folder.done for folder in done.values())
    packed = recipe.stage("package")
    assert isinstance(packed, ExportStage)
    network = done[packed.start].network()
    assert isinstance(network, LowBitNetwork)
    manifest = load_package(shrunken.models / PACKAGES[name] / "1").manifest
    assert (manifest.weight_bits, manifest.activation_bits) == (4, 4)
    assert manifest.boundaries
    assert manifest.provenance.parent == f"{name}/{packed.start}"
    figures = {metric.name: metric for metric in manifest.metrics}
    assert list(figures) == ["top-1, fp32", "top-1, W4A4", "top-1, W4A4 − fp32"]
    # The network computes on the package's codes, so that both have one accuracy.
    tested = done["test"].result()["networks"]
    assert figures["top-1, W4A4"].value == pytest.approx(tested[packed.start]["top1"]["value"], abs=1e-4)
    assert figures["top-1, fp32"].value == pytest.approx(tested[str(packed.baseline)]["top1"]["value"], abs=1e-4)
    assert "weights int4, activations of 16 codes" in (shrunken.models / PACKAGES[name] / "1" / "README.md").read_text()


def test_the_report_has_the_low_bit_networks_and_their_package(shrunken: Workplace, tmp_path: Path) -> None:
    recipe = load_recipe("lenet-w4a4.toml")
    folders = run_recipe(recipe, shrunken)
    report_run(recipe, folders, open_data(recipe, shrunken), tmp_path / "report.html", "again")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "small-lenet-w4a4-mnist:1: channel as W4A4" in text


@pytest.mark.parametrize("name", PACKAGES)
def test_twin_and_low_bit_networks_get_the_same_extra_training(name: str) -> None:
    recipe = load_recipe(name)
    starts = {stage.name: stage for stage in recipe.stages if isinstance(stage, QuantizeStage)}
    twin = recipe.stage("twin")
    assert isinstance(twin, TrainStage)
    trained = [stage for stage in recipe.stages if isinstance(stage, TrainStage) and stage.start in starts]
    assert len(trained) == len(starts) > 0
    for stage in trained:
        assert starts[str(stage.start)].start == twin.start
        assert stage.schedule == twin.schedule
        assert stage.augmentation == twin.augmentation
        assert stage.all_data == twin.all_data
    packed = recipe.stage("package")
    assert isinstance(packed, ExportStage)
    beside = packed.model_copy(update={"start": packed.baseline})
    assert epochs_before(packed, recipe) == epochs_before(beside, recipe) > 0


def test_a_network_for_color_is_refused_on_digits(shrunken: Workplace) -> None:
    text = Path("lenet-w4a4.toml").read_text(encoding="utf-8")
    file = Path("color.toml")
    file.write_text(text.replace('family = "lenet"', 'family = "resnet20"'), encoding="utf-8")
    wanted = "stage float: network.family resnet20 needs color images, mnist gives gray ones of 28 x 28"
    with pytest.raises(BuildRefused, match=wanted):
        run_recipe(load_recipe(str(file)), shrunken)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('\nbaseline = "twin"\npackage', "\npackage", "channel has 4 bits: give it"),
        (
            'start = "channel"\nbaseline',
            'start = "twin"\nbaseline',
            "twin is measured beside itself",
        ),
    ],
)
def test_a_package_names_a_float_network_beside_it_where_it_has_4_bits(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = recipe_text("lenet-w4a4")
    assert old in text
    file = tmp_path / "recipe.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BuildRefused, match=f"stage package: baseline names .* {message}"):
        load_recipe(str(file))


@pytest.mark.parametrize("kind", ["quantize", "fresh-copy", "prune-channels"])
def test_a_network_that_has_4_bits_is_no_start_for_what_needs_a_float_one(kind: str, tmp_path: Path) -> None:
    again = f'[[stages]]\nname = "again"\nkind = "{kind}"\nstart = "channel"\n'
    again += 'criterion = "l1-norm"\nshare = 0.5\n' if kind == "prune-channels" else ""
    file = tmp_path / "recipe.toml"
    file.write_text(recipe_text("lenet-w4a4") + again, encoding="utf-8")
    with pytest.raises(BuildRefused, match="stage again: channel has 4 bits: start from the float network before it"):
        load_recipe(str(file))
