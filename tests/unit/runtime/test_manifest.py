"""The manifest: what decides an answer changes the digest, the rest does not; inconsistencies are named."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgedet_runtime.manifest import Manifest
from pydantic import ValidationError

Content = dict[str, Any]


@pytest.fixture(scope="module")
def content(models: Path) -> Content:
    return json.loads((models / "yolov3-tiny-coco/1/manifest.json").read_text())


def changed(content: Content, change: Callable[[Content], object]) -> Manifest:
    changing = copy.deepcopy(content)
    change(changing)
    return Manifest.model_validate(changing)


METRIC = {"name": "mAP50", "value": 0.41, "dataset": "val", "n": 120, "command": "measure"}
HARMLESS = {
    "a metric": lambda c: c["metrics"].append(METRIC),
    "the description": lambda c: c.update(description="A better text."),
    "the license": lambda c: c.update(license="MIT"),
    "the provenance": lambda c: c["provenance"].update(seed=1, tool_version="9"),
    "the card": lambda c: c["files"].update({"README.md": "0" * 64}),
    "another file": lambda c: c["files"].update({"notes.txt": "0" * 64}),
    "default thresholds": lambda c: c["decoding"].update(score_threshold=0.5, iou_threshold=0.6, max_detections=7),
}
DECISIVE = {
    "the network": lambda c: c["files"].update({"model.onnx": "0" * 64}),
    "the tables": lambda c: c["files"].update({"decoding.npy": "0" * 64}),
    "a label": lambda c: c["labels"].__setitem__(0, "human"),
    "the fill": lambda c: c["input"].update(fill=0),
    "the filter": lambda c: c["input"].update(filter="area"),
    "the resize rule": lambda c: c["input"].update(resize="plain"),
    "an anchor": lambda c: c["decoding"]["heads"][0]["anchors"].__setitem__(0, [1.0, 2.0]),
    "a scale": lambda c: c["decoding"]["heads"][0].update(scale=0.5),
    "a boundary": lambda c: c["boundaries"].pop(),
    "an output's shape": lambda c: c["outputs"][0].update(shape=[1, 13, 13, 272]),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_decides_no_answer_leaves_the_digest(content: Content, change: Callable[[Content], object]):
    assert changed(content, change).digest == Manifest.model_validate(content).digest


@pytest.mark.parametrize("change", DECISIVE.values(), ids=DECISIVE)
def test_what_decides_the_answer_changes_the_digest(content: Content, change: Callable[[Content], object]):
    assert changed(content, change).digest != Manifest.model_validate(content).digest


REFUSED = {
    "k must count 1, 2, 3": lambda c: c["boundaries"].reverse(),
    "does not fit task": lambda c: c.update(task="classify"),
    "outputs does not list": lambda c: c["decoding"]["heads"][0].update(tensor="other"),
    "files: lacks": lambda c: c["files"].pop("decoding.npy"),
    "inside the package": lambda c: c["files"].update({"../secret": "0" * 64}),
    "stay inside": lambda c: c["files"].update({"/etc/passwd": "0" * 64}),
    "Extra inputs are not permitted": lambda c: c.update(licence="MIT"),
    "String should match pattern": lambda c: c.update(name="../up"),
    "255 or more": lambda c: c["outputs"][0].update(shape=[1, 13, 13, 254]),
    "must be uint8": lambda c: c["outputs"][0].update(dtype="float32"),
    "greater than 0": lambda c: c["input"].update(width=0),
    "of stride 64 covers 832 x 832 input pixels": lambda c: c["decoding"]["heads"][0].update(stride=64),
    "anchors.0.0\n.*greater than 0": lambda c: c["decoding"]["heads"][0]["anchors"].__setitem__(0, [-5.0, 1.0]),
    "anchors.0.0\n.*finite": lambda c: c["decoding"]["heads"][0]["anchors"].__setitem__(0, [math.inf, 1.0]),
}


@pytest.mark.parametrize(("reason", "change"), REFUSED.items(), ids=REFUSED)
def test_an_inconsistent_manifest_is_refused_with_the_reason(
    content: Content, reason: str, change: Callable[[Content], object]
):
    with pytest.raises(ValidationError, match=reason):
        changed(content, change)


def test_logits_must_be_one_per_label(content: Content):
    def classify(c: Content) -> None:
        c.update(task="classify", decoding={"kind": "softmax", "tensor": "logits"})
        c.update(outputs=[{"name": "logits", "shape": [1, 79], "dtype": "float32"}])

    with pytest.raises(ValidationError, match="one per label"):
        changed(content, classify)


def test_a_manifest_survives_its_own_json(content: Content):
    manifest = Manifest.model_validate(content)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
