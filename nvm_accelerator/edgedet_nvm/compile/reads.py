"""What both forms of a layer share: input codes as pulses, split into the tiles' channels, and converted codes."""

import numpy as np

from edgedet_nvm.compile.blocks import Blocks
from edgedet_nvm.compile.writer import LayerWriter
from edgedet_nvm.converter import Converter
from edgedet_nvm.device.inputs import Pulse
from edgedet_nvm.mapping import MappedLayer

CODE_ZERO = 128
"""The uint8 that stands for converter code 0."""


def pixels(writer: LayerWriter, mapped: MappedLayer) -> str:
    """The layer's uint8 input as a map [1, channels, rows, columns]."""
    source = mapped.layer.inputs[0]
    if len(source.shape) == 4:
        return source.name
    return writer.node("Reshape", [source.name, writer.shape(1, source.shape[1], 1, 1)], "pixel")


def pulse_codes(writer: LayerWriter, mapped: MappedLayer, codes: str, pulse: Pulse) -> str:
    """The codes that one pulse carries."""
    if len(mapped.pulses) == 1:
        return codes
    label = f"pulse{pulse.shift}"
    if pulse.shift:
        by = writer.constant(f"{label}_shift", np.uint8(pulse.shift))
        codes = writer.node("BitShift", [codes, by], f"{label}_shifted", direction="RIGHT")
    mask = (1 << pulse.bits) - 1
    return writer.node("BitwiseAnd", [codes, writer.constant(f"{label}_mask", np.uint8(mask))], label)


def parts(writer: LayerWriter, blocks: Blocks, values: str, label: str) -> list[str]:
    """The input of every block."""
    if blocks.parts > 1:
        return writer.split(values, blocks.parts, label)
    return [values] * (len(blocks.mapped.planes) if blocks.mapped.group > 1 else 1)


def joined(writer: LayerWriter, streams: list[str], name: str) -> str:
    """Streams of columns, one after the other along the channels; a single one, just written, takes the name."""
    if len(streams) > 1:
        return writer.node("Concat", streams, name, axis=1)
    return writer.rename_last(f"{writer.layer}:{name}")


def held(writer: LayerWriter, codes: str, converter: Converter) -> str:
    """Saturation below 8 bits, in native uint8."""
    if converter.bits == 8:
        return codes
    highest = writer.constant("highest", np.uint8(CODE_ZERO + converter.highest))
    lowest = writer.constant("lowest", np.uint8(CODE_ZERO + converter.lowest))
    return writer.node("Max", [writer.node("Min", [codes, highest], "at_most"), lowest], "held")
