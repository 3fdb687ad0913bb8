"""The tables in the accelerator's README, out of what sweeps and evaluations wrote."""

import csv
import json
from typing import Any

from figures import ROOT, between_marks

RESULTS = ROOT / "nvm_accelerator" / "results"
_SWEPT = {
    "small-lenet-nor-flash-65nm": "LeNet in 4 bits (44 k parameters), MNIST, `nor-flash-65nm`",
    "small-lenet-nor-flash-65nm-two-sigma": "the same, programming errors of twice the σ",
    "resnet20-w4a4-nor-flash-65nm": "ResNet-20 in 4 bits, CIFAR-10, `nor-flash-65nm`",
    "vgg16-w4a4-nor-flash-65nm": "VGG16 in 4 bits, CIFAR-10, `nor-flash-65nm`",
}
_CORNERS = "small-lenet-nor-flash-65nm-corners"
_DETECTOR = "yolov3-tiny-nor-flash-40nm.json"
_DETECTOR_BY_SIGMA = "yolov3-tiny-nor-flash-40nm-sigma"


def accelerator_readme() -> str:
    """The README with its tables written anew."""
    text = (RESULTS.parent / "README.md").read_text()
    return between_marks(text, "\n".join([*_chips(), "", *_corners(), "", _energy()]), "sweeps")


def _chips() -> list[str]:
    rows = [
        "| on | chips | digital | on chips: mean, 95 % interval | worst |",
        "|---|---|---|---|---|",
    ]
    for folder, what in _SWEPT.items():
        (row,) = _rows(folder)
        interval = f"{_percent(row['mean'])} % [{_percent(row['low'])}, {_percent(row['high'])}]"
        worst = _percent(row["worst_chip"])
        rows.append(f"| {what} | {row['chips']} | {_percent(row['digital'])} % | {interval} | {worst} % |")
    return [*rows, *_detector_rows()]


def _detector_rows() -> list[str]:
    found = _detector()
    (figure,) = (entry for entry in found["figures"] if entry["figure"] == "mAP50")
    less, digital = figure["difference"], f"mAP50 {100 * figure['digital']['value']:.1f} %"
    difference = f"{_points(less['value'])} [{_points(less['low'])}, {_points(less['high'])}]"
    what = f"YOLOv3-tiny in int8, COCO ({found['photos']} photos), `nor-flash-40nm`"
    rows = [f"| {what} | 1 | {digital} | {100 * figure['chip']['value']:.1f} %, {difference} | |"]
    for row in _rows(_DETECTOR_BY_SIGMA):
        what = f"the same, programming errors of {float(row['sigma_scale']):g} times the σ"
        rows.append(f"| {what} | {row['chips']} | {digital} | {100 * float(row['mean']):.1f} % | |")
    return rows


def _corners() -> list[str]:
    by_place = {(row["corner"], float(row["temperature_c"])): row for row in _rows(_CORNERS)}
    corners = dict.fromkeys(corner for corner, _ in by_place)
    temperatures = dict.fromkeys(temperature for _, temperature in by_place)
    head = " | ".join(f"{_signed(temperature)} °C" for temperature in temperatures)
    rows = [f"| LeNet in 4 bits on 3 chips, mean (worst) | {head} |", f"|---|{'---|' * len(temperatures)}"]
    for corner in corners:
        cells = [by_place[corner, temperature] for temperature in temperatures]
        told = " | ".join(f"{_percent(cell['mean'])} ({_percent(cell['worst_chip'])})" for cell in cells)
        rows.append(f"| {corner} | {told} |")
    return rows


def _energy() -> str:
    estimate = _detector()["estimate"]
    energy_mj, time_ms = estimate["energy_uj"]["total"] / 1000, estimate["time_ms"]
    return f"For a photo, YOLOv3-tiny takes {energy_mj:.2f} mJ and {time_ms:.1f} ms of the chip."


def _rows(folder: str) -> list[dict[str, str]]:
    with (RESULTS / folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _detector() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / _DETECTOR).read_text())
    return found


def _percent(share: str) -> str:
    return f"{100 * float(share):.2f}"


def _points(share: float) -> str:
    return _signed(100 * share, ".1f")


def _signed(value: float, form: str = ".0f") -> str:
    """With a minus of the width of a plus."""
    return f"{value:{form}}".replace("-", "−")
