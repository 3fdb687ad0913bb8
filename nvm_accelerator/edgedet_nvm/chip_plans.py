"""A network's layers as one chip executes them, with the converters and mean inputs of a sidecar."""

from collections.abc import Sequence

from edgedet_runtime.errors import GraphUnsupported

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.mapping import MappedLayer
from edgedet_nvm.sidecar import Sidecar


def chip_plans(layers: Sequence[MappedLayer], sidecar: Sidecar, chip: Chip) -> dict[str, LayerPlan]:
    """The plan of every layer, by name.

    Raises:
        GraphUnsupported: a layer that the sidecar knows no range or mean inputs for, or those of another mapping.
    """
    plans = {}
    for mapped in layers:
        converter = None if sidecar.ranges is None else sidecar.ranges.of(mapped.name)
        if converter is not None and converter.shifts.shape != (len(mapped.pulses), len(mapped.planes)):
            raise GraphUnsupported(
                f"layer {mapped.name!r}: takes {len(mapped.pulses)} pulses on {len(mapped.planes)} planes, its ADC "
                "range is of others; compile the package anew"
            )
        means = None if sidecar.mean_inputs is None else sidecar.mean_inputs.get(mapped.name, ())
        channels = mapped.planes.shape[2] * mapped.group
        if means is not None and len(means) != channels:
            raise GraphUnsupported(
                f"layer {mapped.name!r}: has mean inputs of {len(means)} channels instead of {channels}; "
                "compile the package anew"
            )
        plans[mapped.name] = LayerPlan(mapped, converter, chip_cells(mapped, chip, sidecar.columns, means))
    return plans
