"""A user's own float ONNX network becomes a package, or the message says what is missing or in the way."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from edgedet_evaluation.answering import Answerer
from edgedet_runtime.classification import Classes
from edgedet_runtime.detection import Detections
from edgedet_runtime.package import load_package, scan_packages
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.verification import verify_package

ANCHORS = "8,8 16,12; 3,4 6,5"


def test_a_classifier_becomes_a_package_that_answers(
    compress, own_classifier: Path, photos: Path, tmp_path: Path, sample_photos: list[Path]
):
    models, labels = tmp_path / "models", own_classifier.with_name("labels.txt")
    labels.write_bytes(b"\xef\xbb\xbf" + labels.read_bytes())  # as Windows editors begin a file
    options = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--resize", "plain", "--license", "MIT")
    result = compress(
        "build", "mine", "--onnx", own_classifier, "--calibrate", photos, "--labels", labels, "--models", models,
        *options,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    package = load_package(models / "mine" / "1")
    manifest = package.manifest
    assert (manifest.task, manifest.labels, manifest.license) == (
        "classify",
        ("ant", "bee", "cat", "dog", "elk"),
        "MIT",
    )
    assert (manifest.input.name, manifest.input.channels, manifest.input.resize) == ("pixels", 4, "plain")
    assert "9 photos, sha256" in manifest.provenance.data[0]
    assert manifest.provenance.parent is not None
    answer = Answerer.load(package)(decode_photo(sample_photos[0].read_bytes()), 3)
    assert isinstance(answer, Classes)
    assert len(answer.labels) == 3
    assert verify_package(package, [sample_photos[0].read_bytes()]) > 0
    assert (package.folder / "README.md").read_text().startswith("# mine, version 1")
    assert [path.name for path in models.iterdir()] == ["mine"]


def test_a_detector_becomes_a_package_that_answers(
    compress, own_detector: Path, photos: Path, tmp_path: Path, sample_photos: list[Path]
):
    models, labels = tmp_path / "models", own_detector.with_name("labels.txt")
    result = compress(
        "build", "--onnx", own_detector, "--calibrate", photos, "--labels", labels, "--models", models,
        "--anchors", ANCHORS,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    package = load_package(models / "net" / "1")
    assert [head.stride for head in package.manifest.decoding.heads] == [8, 4]
    answerer = Answerer.load(package)
    answer = answerer(decode_photo(sample_photos[0].read_bytes()), answerer.finisher.default_choices())
    assert isinstance(answer, Detections)
    assert verify_package(package, [sample_photos[0].read_bytes()]) > 0


def test_an_existing_version_is_replaced_only_on_demand(compress, own_classifier: Path, photos: Path, tmp_path: Path):
    models, labels = tmp_path / "models", own_classifier.with_name("labels.txt")
    command = ("build", "--onnx", own_classifier, "--calibrate", photos, "--labels", labels, "--models", models)
    assert compress(*command).exit_code == 0
    refused = compress(*command)
    assert refused.exit_code == 2
    assert "give another --version, or --replace" in refused.stderr
    assert compress(*command, "--replace", "--description", "Second thoughts.").exit_code == 0
    assert load_package(models / "net" / "1").manifest.description == "Second thoughts."
    assert compress(*command, "--version", "2").exit_code == 0
    packages, refusals = scan_packages(models)
    assert [package.reference for package in packages] == ["net:1", "net:2"]
    assert not refusals


def test_folders_and_photos_may_have_any_name(compress, own_classifier: Path, photos: Path, tmp_path: Path):
    odd, models = tmp_path / "odd", tmp_path / "[my-models]" / "[" / "old]"
    odd.mkdir()
    shutil.copy(min(photos.glob("*.jpg")), odd / os.fsdecode(b"caf\xe9.jpg"))
    labels = own_classifier.with_name("labels.txt")
    result = compress("build", "--onnx", own_classifier, "--calibrate", odd, "--labels", labels, "--models", models)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{models / 'net' / '1'}  ")
    (tmp_path / "by-label" / "ant").mkdir(parents=True)
    shutil.copy(min(photos.glob("*.jpg")), tmp_path / "by-label" / "ant")
    result = compress("evaluate", models / "net" / "1", "--photos", tmp_path / "by-label")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{models / 'net' / '1'}  ")


def with_operator(path: Path, operator: str) -> None:
    """Change the network's last LeakyRelu."""
    model = onnx.load(path)
    node = [node for node in model.graph.node if node.op_type == "LeakyRelu"][-1]
    node.op_type = operator
    del node.attribute[:]
    onnx.save(model, path)


def test_the_operator_that_stands_in_the_way_is_named(compress, own_classifier: Path, photos: Path, tmp_path: Path):
    with_operator(own_classifier, "Tanh")
    labels = own_classifier.with_name("labels.txt")
    result = compress(
        "build", "--onnx", own_classifier, "--calibrate", photos, "--labels", labels, "--models", tmp_path / "models"
    )
    assert result.exit_code == 1
    assert "node 'wide': operator Tanh cannot be quantized" in result.stderr
    assert "Known are: Add" in result.stderr
    assert not list((tmp_path / "models").glob("*/*"))


@pytest.mark.parametrize(
    ("left_out", "more", "message", "code"),
    [
        ("--calibrate", (), "--onnx needs --calibrate DIR", 2),
        ("--labels", (), "--onnx needs --labels FILE", 2),
        ("", ("--anchors", "8,8 16"), "--anchors: '16' is not WIDTH,HEIGHT", 2),
        ("", ("--anchors", "8,8 16,-3"), "--anchors: '16,-3' is not WIDTH,HEIGHT", 2),
        ("", ("--anchors", "8,8"), "the network has 2 outputs (coarse, fine), --anchors tells of 1", 1),
        ("", ("--anchors", "8,8 9,9 1,1; 3,4 6,5 1,1"), "correct --anchors or --labels", 1),
        ("", (), "give --anchors", 1),
        ("", ("--mean", "a,b,c"), "--mean: 'a,b,c' is not a list of numbers", 2),
        ("", ("--std", "1,1"), "one number for gray photos, three (R,G,B) for color", 2),
        ("", ("--resize", "crop"), "--resize: 'crop' is none of letterbox, plain", 2),
        ("", ("--filter", "cubic"), "--filter: 'cubic' is none of linear, area", 2),
    ],
)
def test_what_is_missing_or_wrong_is_told_by_option(
    compress,
    own_detector: Path,
    photos: Path,
    tmp_path: Path,
    left_out: str,
    more: tuple[str, ...],
    message: str,
    code: int,
):
    options = {"--calibrate": photos, "--labels": own_detector.with_name("labels.txt")}
    given = [str(part) for option, value in options.items() if option != left_out for part in (option, value)]
    result = compress("build", "--onnx", own_detector, *given, *more, "--models", tmp_path / "models")
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("file", "content"), [("nothing.onnx", None), ("broken.onnx", b"not onnx")])
def test_a_file_that_is_no_network_is_refused(
    compress, own_classifier: Path, photos: Path, file: str, content: bytes | None
):
    path = own_classifier.with_name(file)
    if content is not None:
        path.write_bytes(content)
    labels = own_classifier.with_name("labels.txt")
    result = compress("build", "--onnx", path, "--calibrate", photos, "--labels", labels)
    assert result.exit_code == 2
    assert f"--onnx {path}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("build",), "say what to build: yolov3-tiny-coco, resnet20-cifar10, or --onnx FILE", 2),
        (("build", "yolov9"), "no known model 'yolov9'; there are: yolov3-tiny-coco, resnet20-cifar10", 2),
        (("build", "yolov3-tiny-coco", "--anchors", "1,1"), "go with --onnx", 2),
        (("fetch", "yolov9"), "no source 'yolov9'; there are: yolov3-tiny", 2),
        (("evaluate", "nowhere/1"), "cannot read manifest.json", 1),
    ],
)
def test_a_wish_that_cannot_be_met_is_answered_in_one_sentence(
    compress, arguments: tuple[str, ...], message: str, code: int
):
    result = compress(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_classifier_is_measured_on_photos_sorted_by_label(
    compress,
    own_classifier: Path,
    photos: Path,
    tmp_path: Path,
    sample_photos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
):
    models, labels = tmp_path / "models", own_classifier.with_name("labels.txt")
    build = ("build", "--onnx", own_classifier, "--calibrate", photos, "--labels", labels, "--models", models)
    assert compress(*build).exit_code == 0
    digest = load_package(models / "net" / "1").digest
    for label, photo in (("ant", sample_photos[0]), ("bee", sample_photos[1])):
        for folder in (tmp_path / "mornings" / label, tmp_path / "evenings" / label):
            folder.mkdir(parents=True)
            shutil.copy(photo, folder)
    shutil.copy(sample_photos[2], tmp_path / "evenings" / "bee")
    for folder in ("mornings", "mornings", "evenings"):  # the second time takes the place of the first
        monkeypatch.chdir(models / "net" / "1")
        result = compress("evaluate", ".", "--photos", tmp_path / folder)
        assert result.exit_code == 0, result.stderr
    package = load_package(models / "net" / "1")
    assert [(metric.name, metric.n) for metric in package.manifest.metrics] == [("top-1, int8", 2), ("top-1, int8", 3)]
    assert package.digest == digest
    assert (package.folder / "README.md").read_text().count("top-1, int8") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing_behind(
    own_classifier: Path, photos: Path, tmp_path: Path, number: signal.Signals
):
    many = tmp_path / "photos"
    many.mkdir()
    one = shutil.copy(min(photos.glob("*.jpg")), tmp_path)
    for copy in range(400):
        os.link(one, many / f"{copy}.jpg")
    models, labels = tmp_path / "models", own_classifier.with_name("labels.txt")
    command = [str(Path(sys.executable).with_name("edgedet-compress")), "build", "--onnx", str(own_classifier)]
    command += ["--calibrate", str(many), "--labels", str(labels), "--models", str(models)]
    screen, terminal = pty.openpty()  # bars are drawn on terminals only
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal)
    os.close(terminal)
    try:
        shown = b""
        while b"recording ranges" not in shown:
            shown += os.read(screen, 4096)
        process.send_signal(number)
        shown += rest_of(screen)
        assert process.wait(60) == 130
    finally:
        process.kill()
        os.close(screen)
    assert b"stopped; nothing was changed" in shown
    assert b"Traceback" not in shown
    assert not models.exists() or not list(models.iterdir())


def rest_of(screen: int) -> bytes:
    """All that a terminal shows until its program ends."""
    shown = b""
    with contextlib.suppress(OSError):  # Linux says EIO at the end
        while part := os.read(screen, 4096):
            shown += part
    return shown
