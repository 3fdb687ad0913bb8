"""A network's layers as one chip executes them, with the converters and mean inputs of a sidecar."""

from collections.abc import Sequence

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.mapping import MappedLayer
from edgedet_nvm.sidecar import Sidecar


def chip_plans(layers: Sequence[MappedLayer], sidecar: Sidecar, chip: Chip) -> dict[str, LayerPlan]:
    """The plan of every layer, by name.

    Raises:
        GraphUnsupported: a layer that the sidecar knows no range for.
    """
    plans = {}
    for mapped in layers:
        converter = None if sidecar.ranges is None else sidecar.ranges.of(mapped.name)
        means = None if sidecar.mean_inputs is None else sidecar.mean_inputs[mapped.name]
        plans[mapped.name] = LayerPlan(mapped, converter, chip_cells(mapped, chip, sidecar.columns, means))
    return plans
