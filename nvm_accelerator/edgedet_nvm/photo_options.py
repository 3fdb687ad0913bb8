"""The options that say on which photos a package is measured and its converters are calibrated."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from edgedet_evaluation.errors import DataMissing
from edgedet_evaluation.mean_average_precision import refuse_without_boxes
from edgedet_runtime.backend import Tensor
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package
from edgedet_runtime.photo import Photo

from edgedet_nvm.device.preset import Preset
from edgedet_nvm.evaluation_set import (
    BoxSet,
    EvaluationSet,
    folder_photos,
    known_calibration,
    known_set,
    limited,
    own_set,
)

Folder = Annotated[Path, typer.Argument(metavar="PACKAGE", help="models/NAME/VERSION")]
PresetName = Annotated[str, typer.Option("--preset", help="A preset's name, or a file NAME.toml.")]
Data = Annotated[Path | None, typer.Option(help="Folder of data sets.", envvar="EDGEDET_DATA", show_default=False)]
Photos = Annotated[
    Path | None, typer.Option(help="Your own photos; of a classifier in one folder per label.", show_default=False)
]
Annotations = Annotated[
    Path | None, typer.Option(help="Detector: boxes of --photos in COCO's JSON.", show_default=False)
]
Calibrate = Annotated[
    Path | None,
    typer.Option(help="Photos to calibrate ADC and wires on; default: training photos.", show_default=False),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many photos, evenly spread.", show_default=False)]
Threads = Annotated[int, typer.Option(min=1, help="Photos at the same time.")]


def chosen_photos(
    package: Package, data: Path | None, photos: Path | None, annotations: Path | None, limit: int | None
) -> EvaluationSet:
    """What a package is measured on.

    Raises:
        DataMissing: no option names photos, or they are not there.
        DataMismatch: they are not for this package, or those within the limit have no box.
        ValueError: boxes of no photos.
    """
    if annotations is not None and photos is None:
        raise ValueError("--annotations: are the boxes of --photos; give both")
    if photos is not None:
        chosen = limited(own_set(package, photos, annotations), limit)
    elif data is not None:
        chosen = limited(known_set(package, data), limit)
    else:
        raise DataMissing("no photos to measure on: set EDGEDET_DATA, or give --data or --photos")
    if isinstance(chosen, BoxSet):
        refuse_without_boxes(chosen.dataset, chosen.category_ids)
    return chosen


def calibration_inputs(package: Package, preset: Preset, data: Path | None, calibrate: Path | None) -> list[Tensor]:
    """Network inputs uint8 [1, height, width, channels]; none for a preset with neither converters nor NOR wires.

    Raises:
        DataMissing: no option names photos, or they are not there.
    """
    has_nor_wires = preset.wires is not None and preset.wires.topology == "nor"
    photos = _calibration_photos(package, data, calibrate) if preset.adc is not None or has_nor_wires else ()
    return [to_input(photo, package.manifest.input)[0] for photo in photos]


def _calibration_photos(package: Package, data: Path | None, calibrate: Path | None) -> Iterable[Photo]:
    if calibrate is not None:
        return folder_photos(calibrate)
    if data is None:
        raise DataMissing(
            "no photos to calibrate on: name some (evaluate and sweep: --calibrate DIR), or set EDGEDET_DATA"
        )
    return known_calibration(package, data)
