"""The stage `sensitivity`: how the validation figure falls when each layer alone loses its smallest weights."""

from dataclasses import asdict

from edgedet_compression.errors import BuildRefused
from edgedet_compression.pruning.sensitivity import scan_sensitivity, sensitivity_svg
from edgedet_compression.recipe_stages import SensitivityStage
from edgedet_compression.stages.context import Context, Figures

PLOT = "sensitivity.svg"


def scan_layers(stage: SensitivityStage, context: Context) -> Figures:
    """Scan all layers; the plot is written beside the result."""
    network = context.network(stage.start)
    reference = context.data.validate(network)
    if not reference:
        raise BuildRefused(f"stage {stage.name} asks the validation split: give data.hold_out or data.validation")
    name, dense = next(iter(reference.items()))
    scan = scan_sensitivity(
        network,
        lambda pruned: context.data.validate(pruned)[name],
        stage.sparsities,
        progress=context.progress,
    )
    (context.folder.path / PLOT).write_bytes(sensitivity_svg(scan, dense, name))
    return {"figure": name, "dense": dense, "layers": [asdict(layer) for layer in scan], "files": [PLOT]}
