"""A recipe for detectors: branches removed, weights transferred and distilled, channels pruned, packaged, reported."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.families import load_network
from edgedet_compression.recipe import Recipe
from edgedet_compression.runner import Workplace, folders_of, open_data, run_recipe
from edgedet_compression.stages.report import report_run
from edgedet_runtime.package import load_package
from PIL import Image

pytestmark = [pytest.mark.needs_torch, pytest.mark.usefixtures("one_thread")]

TRAINING = 'schedule = { epochs = 1, batch = 2, lr = 0.001, precision = "fp32", ema = 0.9, clip_norm = 10.0 }'
RECIPE = f"""
name = "squares"
description = "Bright squares."
[data]
format = "voc"
folder = "squares"
size = 64
validation = "val"
[[stages]]
name = "teacher"
kind = "train"
network = {{ family = "yolov3-tiny" }}
{TRAINING}
[[stages]]
name = "without-coarse"
kind = "remove-branch"
start = "teacher"
[[stages]]
name = "student"
kind = "train"
start = "without-coarse"
{TRAINING}
augmentation = {{ mosaic = 1.0, flip_vertical = true }}
distillation = {{ teacher = "teacher", weight = 1.0 }}
[[stages]]
name = "untaught"
kind = "fresh-copy"
start = "student"
seed = 1
[[stages]]
name = "without-fine"
kind = "remove-branch"
start = "teacher"
stride = 16
[[stages]]
name = "branches"
kind = "branch-report"
teacher = "teacher"
variants = ["student", "without-fine"]
strides = [32, 16]
latency_size = 64
[[stages]]
name = "thin"
kind = "prune-channels"
start = "student"
parameters = 300_000
[[stages]]
name = "package"
kind = "export"
start = "thin"
package = "squares"
description = "Bright squares."
license = "Apache-2.0"
[[stages]]
name = "larger"
kind = "export"
start = "thin"
package = "larger-squares"
description = "Bright squares, larger photos."
license = "Apache-2.0"
size = 96
[[stages]]
name = "test"
kind = "evaluate"
baseline = "teacher"
networks = ["student", "untaught", "thin"]
packages = ["package", "larger"]
"""
ANNOTATION = """<annotation><object><name>square</name><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object></annotation>"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Photos with one square each, in Pascal VOC's format."""
    root = tmp_path_factory.mktemp("detection")
    voc = root / "data" / "squares"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for number in range(count):
            pixels = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            x, y = (int(corner) for corner in rng.integers(4, 36, 2))
            pixels[y : y + 24, x : x + 24] = 250
            Image.fromarray(pixels).save(voc / "JPEGImages" / f"{split}{number}.png")
            text = ANNOTATION.format(x + 1, y + 1, x + 24, y + 24)
            (voc / "Annotations" / f"{split}{number}.xml").write_text(text, encoding="utf-8")
        names = "".join(f"{split}{number}\n" for number in range(count))
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text(names, encoding="utf-8")
    return Workplace(root / "data", root / "runs", root / "models")


def test_a_detector_loses_a_branch_and_channels_and_becomes_a_package_and_a_report(place: Workplace, tmp_path: Path):
    recipe = Recipe.model_validate(tomllib.loads(RECIPE))
    done = run_recipe(recipe, place)
    networks = {
        name: load_network(done[name].path / "network.pt") for name in ("teacher", "student", "untaught", "thin")
    }
    strides = {name: [head.stride for head in _yolo(network).heads] for name, network in networks.items()}
    assert strides == {"teacher": [32, 16], "student": [16], "untaught": [16], "thin": [16]}
    removed = done["without-coarse"].result()
    assert removed["parameters"] < removed["parameters_before"]
    log = done["student"].result()["log"]
    assert log[0]["distill"] > 0
    rows = done["branches"].result()["branches"]["rows"]
    assert [row["strides"] for row in rows] == [[32, 16], [16], [32]]
    swapped = Recipe.model_validate(tomllib.loads(RECIPE.replace("strides = [32, 16]", "strides = [16, 32]")))
    with pytest.raises(BuildRefused, match="stage branches: strides has 16 for student, which lacks 32: correct it"):
        run_recipe(swapped, place, until="branches")
    assert done["thin"].result()["parameters"] <= 300_000
    assert done["thin"].result()["rank_correlation"]["std-prune"] == 1
    package = load_package(place.models / "squares" / "1")
    assert package.manifest.labels == ("square",)
    assert package.manifest.input.width == 64

    file = tmp_path / "report.html"
    report_run(
        recipe, folders_of(recipe, place), open_data(recipe, place), file, "edgedet-compress report squares.toml"
    )
    text = file.read_text(encoding="utf-8")
    assert "Branches: what each costs at 64 pixels" in text
    assert "without 2 × 2" in text
    assert text.count("data:image/jpeg") >= 3
    assert "Speed at 96 × 96 pixels" in text
    rows = re.findall(r"<tr><td>([^<]*:1: [^<]*)</td>", text)
    assert rows == ["squares:1: thin as int8", "larger-squares:1: thin as int8, 96 × 96 pixels"]
    assert "Speed and MACs at 64 × 64 pixels, or those that a row names" in text
    assert "Photo 1, teacher: " in text
    assert "Photo 1, squares:1: " in text
    figures = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert set(figures["speed"]["64 x 64"]) == {"teacher", "student", "untaught", "thin", "package"}
    assert set(figures["speed"]["96 x 96"]) == {"teacher", "student", "untaught", "thin", "larger"}
    tested = figures["stages"]["test"]["packages"]["package"]
    metrics = {metric.name: metric.value for metric in package.manifest.metrics}
    assert tested["mAP50"]["value"] == pytest.approx(metrics["mAP50, int8"], abs=1e-4)
    (squares,) = tested["mAP50"]["classes"].values()
    assert (squares["n"] > 0, squares["value"]) == (True, pytest.approx(tested["mAP50"]["value"], abs=1e-4))
    assert "AP50 of each class, %" in text


def _yolo(network: torch.nn.Module) -> DarknetModule:
    assert isinstance(network, DarknetModule)
    return network
