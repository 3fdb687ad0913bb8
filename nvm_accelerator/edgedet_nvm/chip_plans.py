"""A network's layers as one chip executes them, with the converters of a sidecar."""

from edgedet_runtime.quantized_graph import QuantizedGraph

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.mapping import map_network
from edgedet_nvm.sidecar import Sidecar


def chip_plans(graph: QuantizedGraph, sidecar: Sidecar, chip: Chip) -> dict[str, LayerPlan]:
    """Every mapped layer's plan, by name.

    Raises:
        GraphUnsupported: a layer that the sidecar knows no range for.
    """
    return {
        mapped.name: LayerPlan(
            mapped,
            None if sidecar.ranges is None else sidecar.ranges.of(mapped.name),
            chip_cells(mapped, chip, sidecar.columns),
        )
        for mapped in map_network(graph, sidecar.arrays).layers
    }
