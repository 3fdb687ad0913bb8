"""Recipes: every choice in one file, and errors that name the field."""

from pathlib import Path

import pytest
from edgedet_compression.errors import BuildRefused
from edgedet_compression.recipe import load_recipe, recipe_names, recipe_text
from edgedet_compression.recipe_stages import references

from tests.unit.compression.small_recipe import SMALL, written

pytestmark = pytest.mark.needs_torch


def test_every_recipe_that_comes_along_is_complete() -> None:
    assert recipe_names()
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe_text(name).startswith("#"), "a recipe begins with what it is for and its budget"


def test_stages_read_what_came_before(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, SMALL))
    assert references(recipe.stage("second")) == ("first",)
    with pytest.raises(BuildRefused, match="no stage 'third'; there are: first, second"):
        recipe.stage("third")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 1, batch", "epoch = 1, batch", "recipe.toml: stage first: schedule.epoch: nothing is called that"),
        ("epochs = 1, batch", "batch", "stage first: schedule.epochs: Field required"),
        ('start = "first"', 'start = "third"', "'third' is no earlier stage that makes a network; there are: first"),
        ('name = "second"', 'name = "first"', "recipe.toml: two stages are called first"),
        ('start = "first"', "", "either network .* or start"),
        (
            'kind = "train"\nstart',
            'kind = "prune"\nstart',
            "stage second: kind: there is no 'prune'; there are: 'train'",
        ),
        ('kind = "train"\nstart', "start", "stage second: kind is missing"),
        ('name = "second"', "", "stage 2: name: Field required"),
        ('name = "second"', 'name = ""', "stage 2: name: String should match"),
        ('name = "second"\nkind = "train"', 'name = "first"\nkind = "prune"', "stage 2: kind: there is"),
        (SMALL, "[stages]".join(SMALL.split("[[stages]]")[:2]), r"stages: there may be several: write \[\[stages\]\]"),
        (SMALL, "stages = [1]\n" + SMALL.split("[[stages]]", maxsplit=1)[0], "stage 1: "),
        ('format = "folders"', 'format = "zip"', "data.format"),
        ('format = "folders"', 'format = "folders"\nseed = -1', "data.seed"),
        ('family = "vgg16"', 'family = "yolov3", anchors = [[8, 0]]', "stage first: network.anchors.0.1"),
        ("[data]", "[data", "not TOML"),
        ("lr = 0.1 }", "lr = 0 }", "lr"),
        ("lr = 0.1 }", "lr = 1e10 }", "stage first: schedule.lr: .* less than or equal to 10"),
        (
            "lr = 0.1 }",
            "lr = 0.1 }\naugmentation = { mosaic = 1.0 }",
            "nothing is called 'mosaic' there",
        ),
        ("lr = 0.1 }", 'lr = 0.1 }\naugmentation = { flip = "alternate" }', "stage first: augmentation: flip"),
        ("lr = 0.1 }", "lr = 0.1 }\naugmentation = { translate = 1.5 }", "stage first: augmentation: translate"),
        ("lr = 0.1 }", "lr = 0.1 }\naugmentation = { translate = -1 }", "stage first: augmentation: translate"),
        ("lr = 0.1 }", "lr = 0.1 }\naugmentation = { translate = [4] }", "stage first: augmentation: translate: Input"),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "bears"\nkind = "sensitivity"\nstart = "first"',
            r"stage bears asks the validation split: give data.validation .* or data.hold_out",
        ),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "bears"\nkind = "sensitivity"\nstart = "first"\nsparsities = []',
            "stage bears: sparsities: ",
        ),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "bears"\nkind = "sensitivity"\nstart = "first"\nsparsities = [0.5, 1.0]',
            "stage bears: sparsities.1",
        ),
        (
            'kind = "train"\nstart = "first"',
            'kind = "prune-weights"\nsparsity = 0.5\nstart = "first"',
            "stage second asks the validation split",
        ),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "second"\nkind = "prune-channels"\nstart = "first"',
            "give parameters, .* or share",
        ),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "second"\nkind = "prune-channels"\nstart = "first"\nmacs = 1_000\nshare = 0.5',
            "stage second: give parameters, macs or both",
        ),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "second"\nkind = "prune-channels"\nstart = "first"\nmacs = 1_000\ncharge_parameters = true',
            "stage second: charge_parameters is of a limit of parameters alone: give parameters, and no macs",
        ),
        (
            SMALL.split("[[stages]]")[2],
            '\nname = "second"\nkind = "remove-branch"\nstart = "first"',
            "stage second: remove-branch is of detectors, and these photos have no boxes",
        ),
        ('format = "folders"', 'format = "folders"\nvalidation = "test"', "data: train, validation and test must diff"),
        ('format = "folders"', 'format = "folders"\nvalidation = "train"', "train, validation and test must differ"),
        ('format = "folders"', 'format = "folders"\ntrain = "all"\ntest = "all"', "validation and test must differ"),
        ('format = "folders"', 'format = "folders"\nlabels = ["a", "b", "a"]', "labels has 'a' twice"),
        ('format = "folders"', 'format = "mnist"\nlabels = ["zero", "one"]', "labels are those of mnist"),
        ('format = "folders"', 'format = "cifar10"\nsize = 64', "size = 64: cifar10 has 32 pixels"),
        ('format = "folders"', 'format = "mnist"\nnormalization = "imagenet"', "mnist is gray"),
        (
            SMALL.split("[[stages]]")[2],
            """
name = "second"\nkind = "export"\nstart = "first"\npackage = "p"\ndescription = ""\nlicense = ""\nsize = 64
""",
            "stage second: size is of detectors: a classifier's package reads photos of data.size",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, SMALL.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ("folders", "weight = 1.5", "stage second: distillation.weight of a classifier is a share"),
        ("coco", "weight = 1.5, views = 6", "stage second: distillation.views is of classifiers: take it out"),
        ("coco", "weight = 1.5, temperature = 2", "stage second: distillation.temperature is of classifiers"),
        ("folders", "weight = 0.5, views = 0", "stage second: distillation.views"),
        ("folders", "weight = 0.5, temperature = 1e300", "stage second: distillation.temperature: .*1000"),
    ],
)
def test_distillation_that_does_not_fit_is_refused(tmp_path: Path, data: str, settings: str, message: str) -> None:
    text = SMALL.replace('"folders"', f'"{data}"').replace('"vgg16"', '"yolov3"' if data == "coco" else '"vgg16"')
    text += f'distillation = {{ teacher = "first", {settings} }}\n'
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, text))


@pytest.mark.parametrize("given", ['validation = "val"', "hold_out = 4"])
def test_a_stage_that_validates_is_taken_with_photos_to_validate_on(tmp_path: Path, given: str) -> None:
    text = SMALL.replace('kind = "train"\nstart', 'kind = "prune-weights"\nsparsity = 0.5\nstart')
    load_recipe(written(tmp_path, text.replace('"folders"', f'"folders"\n{given}')))
    load_recipe(written(tmp_path, text.replace('start = "first"', 'start = "first"\nall_data = true')))


def test_the_mark_that_windows_editors_begin_a_file_with_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "\ufeff" + SMALL)).name == "small"


EVALUATION = """
[[stages]]
name = "package"
kind = "export"
start = "second"
package = "small"
description = "A package for a test."
license = "Apache-2.0"
[[stages]]
name = "test"
kind = "evaluate"
baseline = "first"
networks = ["second"]
packages = ["package"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('packages = ["package"]', 'packages = ["second"]', "'second' is no earlier stage that exports .*: package$"),
        ('networks = ["second"]', 'networks = ["package"]', "'package' is no earlier stage that makes a network"),
    ],
)
def test_networks_and_packages_are_not_taken_for_each_other(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = SMALL + EVALUATION
    assert references(load_recipe(written(tmp_path, text)).stage("test")) == ("second", "package", "first")
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('package = "small"', 'package = "Small"', "stage package: package: "),
        (
            EVALUATION.split("[[stages]]")[2],
            EVALUATION.split("[[stages]]")[1].replace('"package"', '"again"'),
            "package small is exported by two stages: rename package",
        ),
    ],
)
def test_packages_that_cannot_be_written_are_told_first(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, (SMALL + EVALUATION).replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('folder = "photos"', 'folder = "photos"\nsize = 300', "data.size = 300: detectors need a multiple of 32"),
        ('package = "small"', 'package = "small"\nsize = 400', "stage package: size = 400: .* multiple of 32"),
        (
            EVALUATION.split("[[stages]]")[2],
            '\nname = "cut"\nkind = "branch-report"\nteacher = "first"\nvariants = []\nstrides = []\nlatency_size = 99',
            "stage cut: latency_size = 99: .* multiple of 32",
        ),
    ],
)
def test_sizes_that_no_detector_takes_are_told_first(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (SMALL + EVALUATION).replace('"folders"', '"voc"').replace("vgg16", "yolov3-tiny")
    load_recipe(written(tmp_path, text))
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, text.replace(old, new)))


def test_4_bit_quantizers_are_not_taken_for_a_detector(tmp_path: Path) -> None:
    text = SMALL.replace('"folders"', '"voc"').replace("vgg16", "yolov3-tiny")
    quantize = '\nname = "second"\nkind = "quantize"\nstart = "first"'
    with pytest.raises(BuildRefused, match="stage second: quantize is of classifiers, and these photos have boxes"):
        load_recipe(written(tmp_path, text.replace(SMALL.split("[[stages]]")[2], quantize)))


@pytest.mark.parametrize(
    ("photos", "family", "message"),
    [
        ("voc", "lenet", "stage second: lenet is of classifiers, and these photos have boxes"),
        ("folders", "yolov3", "stage second: yolov3 is of detectors, and these photos have no boxes"),
    ],
)
def test_given_weights_are_of_the_recipes_task(tmp_path: Path, photos: str, family: str, message: str) -> None:
    text = SMALL.replace('"folders"', f'"{photos}"').replace("vgg16", "yolov3-tiny" if photos == "voc" else "vgg16")
    begun = f'\nname = "second"\nkind = "given"\nfamily = "{family}"\nweights = "a/b"\nsha256 = "{"0" * 64}"'
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, text.replace(SMALL.split("[[stages]]")[2], begun)))


@pytest.mark.parametrize("name", ["my-detector", "my-classifier"])
def test_templates_mark_what_two_recipes_must_not_share(name: str) -> None:
    marked = [line.split(" =")[0] for line in recipe_text(name).splitlines() if "# <-" in line]
    assert {"name", "folder", "package"} <= {*marked}


def test_a_recipe_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(BuildRefused, match="yolov3-bccd"):
        load_recipe("yolov9")
    with pytest.raises(BuildRefused, match="No such file"):
        load_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed = 9223372036854775808", "schedule.seed: .*less than"),
        ("weight_decay = inf", "schedule.weight_decay: .*finite"),
        ("clip_norm = inf", "schedule.clip_norm: .*finite"),
    ],
)
def test_numbers_that_nothing_can_be_computed_with_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    assert "epochs = 1, " in SMALL
    with pytest.raises(BuildRefused, match=message):
        load_recipe(written(tmp_path, SMALL.replace("epochs = 1, ", f"epochs = 1, {setting}, ", 1)))


def test_photos_larger_than_any_network_reads_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildRefused, match=r"data\.size: .*4096"):
        load_recipe(written(tmp_path, SMALL.replace('format = "folders"', 'format = "folders"\nsize = 30000')))


def test_a_recipe_without_stages_is_refused(tmp_path: Path) -> None:
    without = SMALL.split("[[stages]]", maxsplit=1)[0]
    with pytest.raises(BuildRefused, match=r"stages: .*at least 1 item"):
        load_recipe(written(tmp_path, without.replace("[data]", "stages = []\n[data]")))


def test_rounds_of_a_method_that_prunes_once_are_refused(tmp_path: Path) -> None:
    pruning = """
[[stages]]
name = "once"
kind = "prune-weights"
start = "first"
method = "one-shot"
sparsity = 0.5
rounds = 2
all_data = true
schedule = { epochs = 1, batch = 4, lr = 0.1 }
"""
    with pytest.raises(BuildRefused, match="rounds = 2: one-shot prunes once; take it out"):
        load_recipe(written(tmp_path, SMALL + pruning))
