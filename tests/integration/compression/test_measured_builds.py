"""A user's own network is measured in the build, before and after, on photos of the user's."""

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from edgedet_compression.float_baseline import FloatNetwork
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_evaluation.mean_average_precision import THRESHOLDS
from edgedet_runtime.classification import Classes
from edgedet_runtime.detection import Detections
from edgedet_runtime.manifest import InputSpec, Metric
from edgedet_runtime.package import load_package
from edgedet_runtime.photo import decode_photo

from tests.unit.compression.small_networks import channels_last

ANCHORS = "8,8 16,12; 3,4 6,5"
INPUT = InputSpec(name="pixels", height=32, width=32, channels=4)


@pytest.fixture
def tested(tmp_path: Path, sample_photos: list[Path]) -> list[Path]:
    """Two photos, in a folder of their own."""
    (tmp_path / "tested").mkdir()
    return [Path(shutil.copy(photo, tmp_path / "tested")) for photo in sample_photos[:2]]


@pytest.fixture
def calibrate(tmp_path: Path, sample_photos: list[Path]) -> Path:
    """A folder of the other photos."""
    (tmp_path / "cal").mkdir()
    for photo in sample_photos[2:]:
        shutil.copy(photo, tmp_path / "cal")
    return tmp_path / "cal"


def build(network: Path, calibrate: Path, *options: str | Path) -> tuple[str | Path, ...]:
    named = ("build", "mine", "--onnx", network, "--labels", network.with_name("labels.txt"))
    return (*named, "--calibrate", calibrate, "--models", network.with_name("models"), *options)


def figures(network: Path) -> dict[str, Metric]:
    manifest = load_package(network.with_name("models") / "mine" / "1").manifest
    return {metric.name: metric for metric in manifest.metrics}


def sorted_as_answered(network: Path, tested: Sequence[Path]) -> Path:
    """The photos in folders of the labels that the float network gives them."""
    labels = network.with_name("labels.txt").read_text().split()
    answers = FloatNetwork.load(onnx.load(network), Normalization(), ())
    for photo in tested:
        answer = answers.answer(decode_photo(photo.read_bytes()), INPUT, 1)
        assert isinstance(answer, Classes)
        folder = network.with_name("by-label") / labels[answer.labels[0]]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder)
    return network.with_name("by-label")


def boxed_as_answered(network: Path, tested: Sequence[Path]) -> Path:
    """COCO's JSON with the boxes that the float network is surest of."""
    anchors = tuple(tuple(tuple(map(float, pair.split(","))) for pair in part.split()) for part in ANCHORS.split(";"))
    answers = FloatNetwork.load(onnx.load(network), Normalization(), anchors)
    names = network.with_name("labels.txt").read_text().split()
    categories = [{"id": place, "name": name} for place, name in enumerate(names, start=1)]
    images, drawn = [], []
    for number, photo in enumerate(tested, start=1):
        found = answers.answer(decode_photo(photo.read_bytes()), INPUT, THRESHOLDS)
        assert isinstance(found, Detections)
        x1, y1, x2, y2 = map(float, found.boxes[0])
        images.append({"id": number, "file_name": photo.name})
        box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": 1 + int(found.labels[0])}
        drawn.append({"id": number, "image_id": number, **box})
    file = network.with_name("boxes.json")
    file.write_text(json.dumps({"images": images, "annotations": drawn, "categories": categories}))
    return file


@pytest.mark.parametrize("turned", [False, True])
def test_a_classifier_is_right_as_often_as_its_float_network_was(
    compress, own_classifier: Path, calibrate: Path, tested: list[Path], turned: bool
):
    by_label = sorted_as_answered(own_classifier, tested)
    if turned:
        onnx.save(channels_last(onnx.load(own_classifier)), own_classifier)
    result = compress(*build(own_classifier, calibrate, "--photos", by_label))
    assert result.exit_code == 0, result.stderr
    assert [*figures(own_classifier)] == ["top-1, fp32", "top-1, int8", "top-1, int8 − fp32"]
    assert figures(own_classifier)["top-1, fp32"].value == 1.0
    assert "top-1, int8 − fp32" in result.stdout


def test_a_detector_finds_what_its_float_network_found(
    compress, own_detector: Path, calibrate: Path, tested: list[Path]
):
    boxes = boxed_as_answered(own_detector, tested)
    options = ("--anchors", ANCHORS, "--photos", tested[0].parent, "--annotations", boxes)
    result = compress(*build(own_detector, calibrate, *options))
    assert result.exit_code == 0, result.stderr
    found = figures(own_detector)
    assert [*found] == [f"{name}, {of}" for name in ("mAP50", "mAP50-95") for of in ("fp32", "int8", "int8 − fp32")]
    assert found["mAP50, fp32"].value > 0.3


def test_the_command_beside_the_figures_does_it_again(
    compress, own_detector: Path, calibrate: Path, tested: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    boxes = boxed_as_answered(own_detector, tested)
    options = ("--anchors", ANCHORS, "--mean", "0.1,0.2,0.3", "--photos", tested[0].parent, "--annotations", boxes)
    assert compress(*build(own_detector, calibrate, *options)).exit_code == 0
    found = figures(own_detector)["mAP50, fp32"]
    program, *words = shlex.split(found.command)
    assert program == "edgedet-compress"
    monkeypatch.chdir(tmp_path)
    again = compress(*words, "--models", "again")
    assert again.exit_code == 0, again.stderr
    made = load_package(tmp_path / "again" / "mine" / "1")
    assert made.digest == load_package(tmp_path / "models" / "mine" / "1").digest
    assert made.manifest.provenance.recipe == found.command


def test_what_is_wrong_with_the_photos_is_told_before_the_work(
    compress, own_detector: Path, calibrate: Path, tested: list[Path], tmp_path: Path
):
    def refused(*options: str | Path, code: int = 2) -> str:
        result = compress(*build(own_detector, calibrate, *options))
        assert result.exit_code == code
        assert not (tmp_path / "models").exists()
        return str(result.stderr)

    boxes, photos = boxed_as_answered(own_detector, tested), tested[0].parent
    anchors = ("--anchors", ANCHORS)
    assert "give --photos DIR, or leave both out" in refused(*anchors, "--annotations", boxes)
    assert "give --annotations FILE (COCO's JSON)" in refused(*anchors, "--photos", photos)
    assert "give --anchors" in refused("--photos", photos, "--annotations", boxes, code=1)
    shutil.copy(tested[0], calibrate)
    assert f"--calibrate and --photos share a photo, {calibrate / tested[0].name} and {tested[0]}" in refused(
        *anchors, "--photos", photos, "--annotations", boxes
    )
    (calibrate / tested[0].name).unlink()
    sound = tested[0].read_bytes()
    tested[0].write_bytes(sound[: len(sound) // 2])
    assert f"{tested[0]}: " in refused(*anchors, "--photos", photos, "--annotations", boxes, code=1)
    boxes.write_text(boxes.read_text().replace('"ant"', '"yak"'))
    strange = refused(*anchors, "--photos", photos, "--annotations", boxes, code=1)
    assert "label 'ant' is none of the 3 categories" in strange
    content = json.loads(boxes.read_text())
    content["categories"] = [{"id": 7 + place, "name": name} for place, name in enumerate(("ant", "bee", "cat"))]
    boxes.write_text(json.dumps(content))
    none = refused(*anchors, "--photos", photos, "--annotations", boxes, code=1)
    assert "boxes has no box of the 3 labels in " in none


def test_what_evaluate_has_done_can_be_done_again_whatever_the_names(
    compress, own_classifier: Path, calibrate: Path, tested: list[Path], monkeypatch: pytest.MonkeyPatch
):
    by_label = sorted_as_answered(own_classifier, tested).rename(own_classifier.with_name("by label; ü"))
    assert compress(*build(own_classifier, calibrate)).exit_code == 0
    package = own_classifier.with_name("models") / "mine" / "1"
    monkeypatch.chdir(by_label)
    assert compress("evaluate", package, "--photos", ".").exit_code == 0
    (figure,) = figures(own_classifier).values()
    assert shlex.split(figure.command) == ["edgedet-compress", "evaluate", "models/mine/1", "--photos", by_label.name]
    assert figure.dataset.startswith(f"{by_label.name} (")


def test_the_package_s_place_is_looked_at_before_the_photos(compress, own_classifier: Path, calibrate: Path):
    command = build(own_classifier, calibrate, "--photos", own_classifier.with_name("nowhere"))
    result = compress("build", "Not So", *command[2:])
    assert result.exit_code == 2
    assert "a package cannot be called 'Not So'" in result.stderr
