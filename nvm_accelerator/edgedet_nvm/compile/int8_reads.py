"""Form Q: a QLinearConv is the array with its converter — an exact sum, one multiplication, round, saturate."""

import numpy as np

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.compile.blocks import blocks_of, conv_attributes
from edgedet_nvm.compile.reads import CODE_ZERO, held, joined, parts, pixels, pulse_codes
from edgedet_nvm.compile.writer import LayerWriter
from edgedet_nvm.converter import Converter

# Measured: a grouped QLinearConv is slower than separate ones up to about eight groups.
_MOST_PARTS = 8


def int8_reads(writer: LayerWriter, plan: LayerPlan, converter: Converter) -> str:
    """Write the reads of a layer in target cells; codes uint8 [1, conversions · outputs, rows, columns]."""
    mapped = plan.mapped
    source = pixels(writer, mapped)
    blocks = blocks_of(mapped, _MOST_PARTS)
    levels = blocks.arranged(mapped.planes.astype(np.int8))
    weights = [writer.constant(f"weights{index}", cells) for index, cells in enumerate(levels)]
    one, unit = writer.constant("one", np.float32(1)), writer.constant("unit_zero", np.int8(0))
    step = writer.constant("step", np.float32(converter.step))
    middle = writer.constant("middle", np.uint8(CODE_ZERO))
    columns = (mapped.tiles, len(mapped.planes), mapped.outputs)
    streams = []
    for index, pulse in enumerate(mapped.pulses):
        label = f"pulse{pulse.shift}"
        zero = writer.constant(f"{label}_zero", np.uint8(pulse.of_code(mapped.zero_point)))
        values = parts(writer, blocks, pulse_codes(writer, mapped, source, pulse), label)
        gains = np.broadcast_to(np.ldexp(np.float32(1), -converter.shifts[index])[None, :, None], columns)
        offsets = np.broadcast_to(-converter.offsets[index][None, :, None], columns)
        constants = zip(blocks.per_column(gains), blocks.per_column(offsets), strict=True)
        for block, (gain, offset) in enumerate(constants):
            name = f"{label}_codes{block}"
            scale = writer.constant(f"{name}_gain", gain.astype(np.float32))
            bias = writer.constant(f"{name}_offset", offset.astype(np.int32))
            inputs = [values[block], one, zero, weights[block], scale, unit, step, middle, bias]
            streams.append(writer.node("QLinearConv", inputs, name, group=blocks.group, **conv_attributes(mapped)))
    return held(writer, joined(writer, streams, "codes"), converter)
