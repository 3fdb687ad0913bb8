"""What is refused before the first stage: what a late one could not do, and networks that do not fit."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from edgedet_compression.errors import BuildRefused, SourceMissing
from edgedet_compression.held_out import refuse_learned_photos
from edgedet_compression.recipe import Recipe, load_recipe
from edgedet_compression.runner import Workplace, folders_of, open_data, run_recipe
from edgedet_compression.stages.context import OpenData
from pydantic import ValidationError

from tests.unit.compression.toy_photos import write_shapes
from tests.unit.compression.toy_recipe import RECIPE, recipe, toy_workplace

pytestmark = pytest.mark.needs_torch


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    work = tmp_path_factory.mktemp("work")
    write_shapes(work / "data" / "more-photos")
    return toy_workplace(work)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "batch = 8, lr = 0.01",
            "batch = 25, lr = 0.01",
            "stage sparse: batch = 25: .* 24 images .*: give a smaller one",
        ),
        ("batch = 8, lr = 0.01", "batch = 1, lr = 0.01", "stage sparse: batch = 1: BatchNorm .*: give 2 or more"),
        (
            'start = "thin-structure"',
            'network = { family = "lenet" }',
            "stage thin: network.family lenet needs gray images of 28 x 28 pixels, folders gives color ones of 32 x 32",
        ),
        (
            'kind = "train"\nnetwork',
            'kind = "train"\nall_data = true\nnetwork',
            "stage sparse: it validates on photos that dense has learned, such as .*: let it learn all of them, too",
        ),
    ],
)
def test_what_a_late_stage_would_refuse_is_told_before_the_first(
    place: Workplace, tmp_path: Path, old: str, new: str, message: str
) -> None:
    elsewhere = Workplace(place.data, tmp_path / "runs", tmp_path / "models")
    with pytest.raises(BuildRefused, match=message):
        run_recipe(recipe(RECIPE.replace(old, new)), elsewhere)
    assert not (tmp_path / "runs").exists()


MEAN = """
[[stages]]
name = "seen"
kind = "train"
start = "dense"
all_data = true
schedule = { epochs = 1, batch = 8, lr = 0.05, precision = "fp32" }
[[stages]]
name = "mean"
kind = "average"
networks = ["dense", "seen"]
batch = 8
[[stages]]
name = "sparse"
"""


@pytest.mark.parametrize(
    ("start", "old", "new", "message"),
    [
        ("mean", "batch = 8\n", "batch = 8\n", "stage sparse: it validates on photos that seen has learned"),
        ("dense", "batch = 8\n", "batch = 25\n", "stage mean: batch = 25: .* 24 images .*: give a smaller one"),
    ],
)
def test_what_an_average_has_learned_and_shows_is_known_before_the_first_stage(
    place: Workplace, tmp_path: Path, start: str, old: str, new: str, message: str
) -> None:
    elsewhere = Workplace(place.data, tmp_path / "runs", tmp_path / "models")
    text = RECIPE.replace('[[stages]]\nname = "sparse"\n', MEAN.replace(old, new))
    wanted = text.replace('kind = "prune-weights"\nstart = "dense"', f'kind = "prune-weights"\nstart = "{start}"')
    with pytest.raises(BuildRefused, match=message):
        run_recipe(recipe(wanted), elsewhere)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = 32", "size = 64", "data.size is 64, but 32 where .*first.toml/dense is made"),
        ('"folders"', '"folders"\nlabels = ["stripes", "square"]', r"data.labels is \('stripes', 'square'\), but"),
        ('"folders"', '"folders"\nnormalization = "imagenet"', "data.normalization is 'imagenet', but 'own'"),
    ],
)
def test_a_network_of_a_recipe_with_other_data_is_refused(
    place: Workplace, tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "first.toml").write_text(RECIPE, encoding="utf-8")
    text = RECIPE.replace('name = "toy"', 'name = "second"').replace(
        'start = "dense"', f'start = "{tmp_path}/first.toml/dense"'
    )
    assert folders_of(recipe(text), place)
    with pytest.raises(BuildRefused, match=message):
        folders_of(recipe(text.replace(old, new)), place)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('packages = ["package"]', 'packages = ["FIRST/thin"]', "stage test: FIRST/thin is no stage that exports a"),
        ('start = "thin"', 'start = "FIRST/package"', "stage package: FIRST/package is no stage that makes a network"),
        ('teacher = "dense"', 'teacher = "FIRST/test"', "stage thin: FIRST/test is no stage that makes a network"),
    ],
)
def test_a_stage_of_another_recipe_that_is_of_the_wrong_kind_is_refused_before_the_first(
    place: Workplace, tmp_path: Path, old: str, new: str, message: str
) -> None:
    first = str(tmp_path / "first.toml")
    Path(first).write_text(RECIPE, encoding="utf-8")
    elsewhere = Workplace(place.data, tmp_path / "runs", tmp_path / "models")
    text = RECIPE.replace('name = "toy"', 'name = "second"').replace(old, new.replace("FIRST", first))
    with pytest.raises(BuildRefused, match=message.replace("FIRST", first)):
        run_recipe(recipe(text), elsewhere)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "learned"),
    [
        (("hold_out = 8", "hold_out = 8"), False),
        (("hold_out = 8", "hold_out = 0"), True),
        (("hold_out = 8", "hold_out = 8\nseed = 1"), True),
        (('kind = "train"\nnetwork', 'kind = "train"\nall_data = true\nnetwork'), True),
        (('folder = "photos"', 'folder = "more-photos"\nseed = 1'), False),
        (('folder = "photos"', 'folder = "./more-photos/../photos"\nseed = 1'), True),
    ],
)
def test_what_another_recipe_has_learned_is_no_validation(
    place: Workplace, tmp_path: Path, change: tuple[str, str], learned: bool
) -> None:
    first = RECIPE.split('[[stages]]\nname = "sparse"', maxsplit=1)[0].replace(*change)
    (tmp_path / "first.toml").write_text(first, encoding="utf-8")
    text = RECIPE.replace('name = "toy"', 'name = "second"').replace(
        'start = "dense"', f'start = "{tmp_path}/first.toml/dense"'
    )
    second = recipe(text)

    def data_of(asked: Recipe) -> OpenData:
        return open_data(asked, place)

    with pytest.raises(BuildRefused, match=r"first.toml/dense has learned") if learned else nullcontext():
        refuse_learned_photos(second.stage("sparse"), second, data_of)
    refuse_learned_photos(second.stage("thin"), second, data_of)  # it learns all of them itself


SWAPPED = 'train = "test"\ntest = "train"'
VALIDATED = 'validation = "test"\ntest = "none"'


@pytest.mark.parametrize(
    ("first", "all_data", "second", "stage", "told"),
    [
        (SWAPPED, False, VALIDATED, "sparse", "it validates on photos"),
        (VALIDATED, True, VALIDATED, "sparse", "it validates on photos"),
        (VALIDATED, False, VALIDATED, "sparse", None),
        (SWAPPED, False, "hold_out = 8", "test", "it tests on photos"),
        (SWAPPED, False, "hold_out = 8", "package", "it tests on photos"),
        ("hold_out = 0", True, "hold_out = 8", "test", None),
    ],
)
def test_photos_that_were_learned_are_known_whatever_their_split_was_called(
    place: Workplace, tmp_path: Path, first: str, all_data: bool, second: str, stage: str, told: str | None
) -> None:
    learning = RECIPE.split('[[stages]]\nname = "sparse"', maxsplit=1)[0].replace("hold_out = 8", first)
    if all_data:
        learning = learning.replace('kind = "train"', 'kind = "train"\nall_data = true')
    (tmp_path / "first.toml").write_text(learning, encoding="utf-8")
    text = RECIPE.replace('name = "toy"', 'name = "second"').replace("hold_out = 8", second)
    asking = recipe(text.replace('start = "dense"', f'start = "{tmp_path}/first.toml/dense"'))
    with pytest.raises(BuildRefused, match=f"{told} that .*first.toml/dense has learned") if told else nullcontext():
        refuse_learned_photos(asking.stage(stage), asking, lambda asked: open_data(asked, place))


def test_what_a_teacher_has_learned_is_known_before_the_first_stage(place: Workplace, tmp_path: Path) -> None:
    elsewhere = Workplace(place.data, tmp_path / "runs", tmp_path / "models")
    seen = MEAN.split('[[stages]]\nname = "mean"', maxsplit=1)[0] + '[[stages]]\nname = "sparse"\n'
    text = RECIPE.replace('[[stages]]\nname = "sparse"\n', seen)
    text = text.replace('start = "thin-structure"\nall_data = true', 'start = "thin-structure"')
    wanted = recipe(text.replace('teacher = "dense"', 'teacher = "seen"'))
    with pytest.raises(BuildRefused, match=r"stage thin: it validates on photos that seen has learned, .* taught by"):
        run_recipe(wanted, elsewhere)
    assert not (tmp_path / "runs").exists()


def test_what_a_stage_of_another_recipe_would_refuse_is_told_before_the_first(place: Workplace, tmp_path: Path) -> None:
    first = tmp_path / "first.toml"
    first.write_text(RECIPE.replace("batch = 8, lr = 0.05", "batch = 33, lr = 0.05"), encoding="utf-8")
    text = RECIPE.replace('name = "toy"', 'name = "second"')
    text = text.replace('start = "thin-structure"', f'start = "{first}/dense"')
    elsewhere = Workplace(place.data, tmp_path / "runs", tmp_path / "models")
    with pytest.raises(BuildRefused, match=r"toy, stage dense: batch = 33: .* 24 images"):
        run_recipe(recipe(text), elsewhere)
    assert not (tmp_path / "runs").exists()


def test_a_reference_to_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        recipe(RECIPE.replace('start = "thin-structure"', 'start = ""'))


def test_recipes_that_need_each_other_are_refused(place: Workplace, tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    for file, other in ((first, second), (second, first)):
        text = RECIPE.replace('name = "toy"', f'name = "{file.stem}"')
        file.write_text(text.replace('start = "dense"', f'start = "{other}/thin"'), encoding="utf-8")
    with pytest.raises(BuildRefused, match="recipes need each other: first → second → first"):
        run_recipe(load_recipe(str(first)), place)


def test_data_that_is_not_there_is_named(place: Workplace) -> None:
    with pytest.raises(SourceMissing, match=r"no folder .*elsewhere"):
        run_recipe(recipe(RECIPE.replace('folder = "photos"', 'folder = "elsewhere"')), place)
    with pytest.raises(BuildRefused, match="has no stage 'last'"):
        run_recipe(recipe(), place, until="last")


def test_folders_that_share_a_photo_are_refused_before_the_first_stage(tmp_path: Path) -> None:
    place = toy_workplace(tmp_path)
    assert place.data is not None
    learned = next((place.data / "photos" / "train" / "square").iterdir())
    (place.data / "photos" / "test" / "stripes" / "again.png").write_bytes(learned.read_bytes())
    with pytest.raises(
        BuildRefused, match=r"data\.train and data\.test share a photo, .* and .*again\.png: photos that"
    ):
        run_recipe(recipe(RECIPE), place)
    assert not place.runs.exists()


def test_a_photo_that_lies_twice_in_a_folder_is_refused_where_one_of_them_is_held_out(tmp_path: Path) -> None:
    place = toy_workplace(tmp_path)
    assert place.data is not None
    folder = place.data / "photos" / "train" / "square"
    first = next(folder.iterdir()).read_bytes()
    for file in folder.iterdir():
        file.write_bytes(first)
    with pytest.raises(BuildRefused, match=r"data\.train and data\.hold_out share a photo, .* and .*: photos that"):
        run_recipe(recipe(), place)
    assert not place.runs.exists()


def test_a_hold_out_that_leaves_nothing_of_a_class_is_refused(tmp_path: Path) -> None:
    place = toy_workplace(tmp_path)
    assert place.data is not None
    for file in sorted((place.data / "photos" / "train" / "square").iterdir())[1:]:
        file.unlink()
    text = RECIPE.replace("hold_out = 8", "hold_out = 16")
    with pytest.raises(BuildRefused, match=r"data\.hold_out = 16 takes all photos of square: give a smaller one, or"):
        run_recipe(recipe(text), place)


def test_a_folder_of_runs_that_cannot_be_made_is_told_with_its_option(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildRefused, match=r"file/.*: no run can be kept there .*; give a folder of yours by --runs"):
        run_recipe(recipe(RECIPE), Workplace(place.data, tmp_path / "file", tmp_path / "models"))


def test_images_that_a_family_cannot_read_are_refused_before_the_first_stage(place: Workplace, tmp_path: Path) -> None:
    small = RECIPE.replace("size = 32", "size = 16").replace('"resnet20"', '"vgg16"')
    assert small.count("vgg16")
    assert "size = 16" in small
    with pytest.raises(BuildRefused, match="size = 16: the five poolings"):
        run_recipe(recipe(small), Workplace(place.data, tmp_path / "runs", tmp_path / "models"))
    assert not (tmp_path / "runs").exists()
