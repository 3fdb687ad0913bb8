"""The stage `export`: an int8 or a 4-bit package of a network, its accuracy on the test split beside fp32."""

from pathlib import Path

import numpy as np
import torch
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.package import load_package

from edgedet_compression.building import Target, Trained, build_quantized, build_trained
from edgedet_compression.errors import BuildRefused
from edgedet_compression.export.low_bit_onnx import export_low_bit
from edgedet_compression.export.torch_onnx import float_model
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.recipe import Recipe, load_recipe, recipe_names
from edgedet_compression.recipe_stages import ExportStage
from edgedet_compression.runs import results_of
from edgedet_compression.stages.context import Context, Figures, OpenData
from edgedet_compression.training.classification import normalized

_COMPARED = 8
"""Calibration images on which the codes of a 4-bit package are compared with torch's."""


def export(stage: ExportStage, context: Context) -> Figures:
    """Write the package below the models folder; one that this recipe made before of this folder is replaced."""
    network, data = context.network(stage.start), context.data
    wrong = stage.baseline_fault(low_bit=isinstance(network, LowBitNetwork))
    if wrong:
        raise BuildRefused(f"stage {stage.name}: {wrong}")
    floating = context.network(stage.baseline) if stage.baseline else network
    spec = data.input_spec(stage.size)
    calibration = data.calibration(spec)
    channels = 1 if spec.channels == 1 else 3
    parent = f"{context.recipe.name}/{stage.start}"
    shape = (channels, spec.height, spec.width)
    first = torch.from_numpy(np.moveaxis(calibration.photos[0][..., :channels], 3, 1).astype(np.float32) / 255)
    trained = Trained(
        source=float_model(floating, data.labels, shape, parent, [normalized(first, data.normalization).numpy()]),
        input=spec,
        normalization=data.normalization,
        calibration=calibration,
        accuracy=data.accuracy,
        command=_command(stage, context.recipe),
        description=stage.description,
        license=stage.license,
        seed=context.recipe.data.seed,
        data=(_training(context.recipe, data),),
    )
    target = package_target(stage, context.recipe, data, context.models, context.runs)
    if isinstance(network, LowBitNetwork):
        quantized = export_low_bit(network, shape, calibration.photos[:_COMPARED])
        package = build_quantized(trained, quantized, target, context.progress)
    else:
        package = build_trained(trained, target, context.progress)
    return {
        "start": stage.start,
        "package": str(package.folder.absolute()),
        "files": [str(package.path("manifest.json").absolute())],
        "digest": package.digest,
        "photos": str(data.folder.resolve()),
        "model_bytes": package.path("model.onnx").stat().st_size,
        "metrics": [metric.model_dump(mode="json") for metric in package.manifest.metrics],
    }


def package_target(stage: ExportStage, recipe: Recipe, data: OpenData, models: Path, runs: Path) -> Target:
    """Where the package goes: its place is free, or has one that this stage made before.

    Raises:
        BuildRefused: another's package is there, or the folder cannot be written.
    """
    ours = Target(models, stage.package, replace=True)
    ours.check()  # first: it brings a package back that a kill took away
    if ours.folder.exists() and not _is_ours(ours.folder, stage, recipe, data, runs):
        raise BuildRefused(
            f"{ours.folder} is there, and not of this recipe and these photos: rename package, or remove the folder"
        )
    return ours


def _is_ours(folder: Path, stage: ExportStage, recipe: Recipe, data: OpenData, runs: Path) -> bool:
    """Recipes that began as the same template may have one name: the photos tell their packages apart.

    Photos may have been added since; then the run that made the package tells that it read the same folder.
    """
    try:
        made = load_package(folder)
    except PackageRefused:
        return False
    origin = made.manifest.provenance
    if origin.recipe != _command(stage, recipe):
        return False
    return _training(recipe, data) in origin.data or any(
        result.get("digest") == made.digest and result.get("photos") == str(data.folder.resolve())
        for result in results_of(runs, recipe.name, stage.name)
    )


def _command(stage: ExportStage, recipe: Recipe) -> str:
    """A copy of a recipe that comes along is a file, also where its name was left."""
    comes_along = recipe.name in recipe_names() and recipe == load_recipe(recipe.name)
    named = recipe.name if comes_along else f"{recipe.name}.toml"
    return f"edgedet-compress run {named} --until {stage.name}"


def _training(recipe: Recipe, data: OpenData) -> str:
    return f"training: {Path(recipe.data.folder).name}, sha256 {data.fingerprint}"
