"""What cannot become a package is refused before the work, by the name of the option or the file, and nothing stays."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Refusal:
    exit_code: int
    message: str


@pytest.fixture
def build(compress, own_classifier: Path, photos: Path, tmp_path: Path):
    """Runs `build mine` with options that would do, but for those given; nothing may be written."""

    def run(name: str = "mine", **given: str | Path) -> Refusal:
        options = {
            "onnx": own_classifier,
            "calibrate": photos,
            "labels": own_classifier.with_name("labels.txt"),
            "models": tmp_path / "models",
            **given,
        }
        before = sorted(tmp_path.rglob("*"))
        result = compress("build", name, *(part for key, value in options.items() for part in (f"--{key}", value)))
        assert sorted(tmp_path.rglob("*")) == before
        assert result.stdout == ""
        return Refusal(result.exit_code, result.stderr.strip())

    return run


@pytest.mark.parametrize(
    ("given", "named", "advised"),
    [
        (
            {"mean": "123,116,103", "std": "58,57,57"},
            "--mean 123,116,103 --std 58,57,57: ",
            "--mean 0.4824,0.4549,0.4039 --std 0.2275,0.2235,0.2235",
        ),
        (
            {"mean": "123.7,116.3,103.5"},  # as Caffe's networks want it: nothing is divided
            "--mean 123.7,116.3,103.5: ",
            "--mean 0.4851,0.4561,0.4059 --std 0.003922,0.003922,0.003922",
        ),
        (
            {"mean": "0.485,0.456,0.406", "std": "58,57,57"},
            "--std 58,57,57: ",
            "--mean 0.485,0.456,0.406 --std 0.2275,0.2235,0.2235",
        ),
        ({"mean": "127.5", "std": "0.5"}, "--mean 127.5: ", "--mean 0.5 --std 0.5"),
    ],
)
def test_a_normalization_in_pixels_is_refused_with_its_values_divided(
    build, given: dict[str, str], named: str, advised: str
):
    refusal = build(**given)
    assert refusal.exit_code == 2
    assert refusal.message.startswith(named)
    assert refusal.message.endswith(f"in units of pixel/255: divide by 255, which makes {advised}")


@pytest.mark.parametrize(
    ("option", "value"),
    [("mean", "-0.1"), ("mean", "nan"), ("mean", "300"), ("std", "0"), ("std", "-1"), ("std", "inf"), ("std", "256")],
)
def test_a_normalization_that_no_division_mends_gets_no_advice(build, option: str, value: str):
    refusal = build(**{option: value})
    assert refusal.exit_code == 2
    assert refusal.message.startswith(f"--{option} {value}: ")
    assert refusal.message.endswith("in units of pixel/255")


@pytest.mark.parametrize(("mean", "std"), [("0", "1"), ("1", "0.00392157"), ("0.5,0.5,0.5", "0.5,0.5,0.5")])
def test_the_ends_of_the_range_are_taken(build, tmp_path: Path, mean: str, std: str):
    refusal = build(mean=mean, std=std, onnx=tmp_path / "nothing.onnx")
    assert refusal.message == f"--onnx {tmp_path / 'nothing.onnx'}: No such file or directory"


@pytest.mark.parametrize("name", ["My Net", "Mine", "a/b", "_", "net\n", "../net"])
def test_a_name_that_no_package_may_have_is_refused_before_the_network_is_read(build, tmp_path: Path, name: str):
    refusal = build(name, onnx=tmp_path / "nothing.onnx")
    assert refusal.exit_code == 2
    assert "a package cannot be called" in refusal.message
    assert "lower-case letters, digits, '.', '_' and '-', a letter or digit first" in refusal.message


def test_labels_that_are_no_text_are_refused(build, sample_photos: list[Path]):
    refusal = build(labels=sample_photos[0])
    assert refusal.exit_code == 2
    assert refusal.message == f"--labels {sample_photos[0]} is no text: it must hold one label per line, in UTF-8"


@pytest.mark.parametrize("anchors", ["8,8 nan,12; 3,4 6,5", "8,8 16,12; 3,4 inf,5", "8,0 16,12; 3,4 6,5"])
def test_anchors_that_are_no_sizes_are_refused(build, own_detector: Path, anchors: str):
    refusal = build(onnx=own_detector, anchors=anchors)
    assert refusal.exit_code == 2
    assert "is not WIDTH,HEIGHT in pixels" in refusal.message


def test_labels_are_counted_before_a_photo_is_read(build, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (tmp_path / "two.txt").write_text("ant\nbee")
    refusal = build(labels=tmp_path / "two.txt", calibrate=tmp_path / "photos")
    assert refusal.exit_code == 2
    assert "the network answers 5 classes, --labels lists 2: one line a class" in refusal.message


def test_a_detectors_labels_are_counted_before_a_photo_is_read(build, own_detector: Path, tmp_path: Path):
    (tmp_path / "two.txt").write_text("ant\nbee")
    refusal = build(
        onnx=own_detector, anchors="8,8 16,12; 3,4 6,5", labels=tmp_path / "two.txt", calibrate=tmp_path / "nothing"
    )
    assert refusal.exit_code == 1
    assert "correct --anchors or --labels" in refusal.message


@pytest.mark.parametrize("below", ["", "deeper/models"])
def test_a_models_folder_that_cannot_be_made_is_refused_before_the_network_is_read(build, tmp_path: Path, below: str):
    (tmp_path / "file").write_text("no folder")
    models = tmp_path / "file" / below
    refusal = build(models=models, onnx=tmp_path / "nothing.onnx")
    assert refusal.exit_code == 2
    assert f"--models {models}: no package can be written there (Not a directory)" in refusal.message
    assert "by --models or EDGEDET_MODELS" in refusal.message


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff no photo", b"GIF89a"])
def test_a_calibration_photo_that_cannot_be_read_is_named(
    build, sample_photos: list[Path], tmp_path: Path, content: bytes
):
    (tmp_path / "photos").mkdir()
    shutil.copy(sample_photos[0], tmp_path / "photos")
    (tmp_path / "photos" / "broken.jpg").write_bytes(content)
    refusal = build(calibrate=tmp_path / "photos")
    assert refusal.exit_code == 1
    assert refusal.message.startswith(f"calibration photo {tmp_path / 'photos' / 'broken.jpg'}: ")
    assert refusal.message.endswith("; replace it or take it away")


def test_a_folder_that_is_called_like_a_photo_is_named(build, tmp_path: Path):
    (tmp_path / "photos" / "album.jpg").mkdir(parents=True)
    refusal = build(calibrate=tmp_path / "photos")
    assert refusal.exit_code == 1
    assert refusal.message == f"calibration photo {tmp_path / 'photos' / 'album.jpg'}: Is a directory"


@pytest.mark.parametrize(("folder", "found"), [("nowhere", "is no folder"), ("empty", "no .jpg or .png photo in")])
def test_a_folder_without_photos_is_named_with_what_belongs_into_it(build, tmp_path: Path, folder: str, found: str):
    (tmp_path / "empty" / "label").mkdir(parents=True)
    refusal = build(calibrate=tmp_path / folder)
    assert refusal.exit_code == 1
    assert found in refusal.message
    assert str(tmp_path / folder) in refusal.message
    assert "photos (.jpg or .png) like those the network will see belong directly into it" in refusal.message


def test_options_that_a_known_model_does_not_read_are_refused_by_name(compress, tmp_path: Path):
    options = ("--resize", "nonsense", "--filter", "linear", "--license", "MIT")
    result = compress("build", "resnet20-cifar10", "--models", tmp_path / "models", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("--resize, --filter, --license can only go with --onnx; a known model brings")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "photos_given", "advice"),
    [
        ("resnet20-cifar10", False, "give --photos DIR"),
        ("yolov3-tiny-coco", False, "give --photos DIR"),
        ("resnet20-cifar10", True, "leave --annotations out"),
    ],
)
def test_annotations_that_nobody_would_read_are_refused(
    compress, models: Path, photos: Path, tmp_path: Path, package: str, photos_given: bool, advice: str
):
    given = ("--photos", photos) if photos_given else ()
    result = compress("evaluate", models / package / "1", "--annotations", tmp_path / "nowhere.json", *given)
    assert result.exit_code == 2
    assert advice in result.stderr
