"""The stage `sensitivity`: how the validation figure falls when each layer alone loses its smallest weights."""

from dataclasses import asdict

from edgedet_compression.pruning.sensitivity import scan_sensitivity, sensitivity_svg
from edgedet_compression.recipe_stages import SensitivityStage
from edgedet_compression.stages.context import Context, Figures

PLOT = "sensitivity.svg"


def scan_layers(stage: SensitivityStage, context: Context) -> Figures:
    """Scan all layers; the plot is written beside the result."""
    network = context.network(stage.start)
    name, dense = next(iter(context.data.validate(network).items()))
    scan = scan_sensitivity(
        network,
        lambda pruned: context.data.validate(pruned)[name],
        stage.sparsities,
        context.progress,
    )
    (context.folder.path / PLOT).write_bytes(sensitivity_svg(scan, dense, name))
    return {"figure": name, "dense": dense, "layers": [asdict(layer) for layer in scan], "files": [PLOT]}
