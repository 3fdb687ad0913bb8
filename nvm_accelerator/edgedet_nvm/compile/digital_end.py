"""Shift, add and requantize as nodes: one depthwise QLinearConv for codes, plain float32 operators otherwise."""

import numpy as np
from edgedet_runtime.quantized_graph import LARGEST_CODE

from edgedet_nvm.compile.reads import CODE_ZERO
from edgedet_nvm.compile.writer import LayerWriter
from edgedet_nvm.mapping import MappedLayer
from edgedet_nvm.shift_add import ShiftAdd


def int8_end(writer: LayerWriter, mapped: MappedLayer, digital: ShiftAdd, codes: str, output: str) -> None:
    """Codes uint8 [1, conversions · outputs, rows, columns] → the layer's uint8 output, in one convolution.

    Transposes put a channel's conversions side by side; ONNX Runtime cancels them against its own NHWC kernels.
    """
    conversions, channels, (height, width) = mapped.conversions, mapped.outputs, mapped.pixels
    side_by_side = codes
    if conversions > 1:
        nhwc = writer.node("Transpose", [codes], "codes_nhwc", perm=[0, 2, 3, 1])
        shape = writer.shape(1, height * width, conversions, channels)
        apart = writer.node("Reshape", [nhwc, shape], "codes_apart")
        side_by_side = writer.node("Transpose", [apart], "codes_by_channel", perm=[0, 3, 1, 2])
    kernel = np.broadcast_to(digital.factors.astype(np.int8), (channels, 1, 1, conversions))
    zero = mapped.layer.output.zero_point
    inputs = [
        side_by_side,
        writer.constant("one", np.float32(1)),
        writer.constant("middle", np.uint8(CODE_ZERO)),
        writer.constant("factors", kernel),
        writer.constant("multiplier", digital.multiplier),
        writer.constant("unit_zero", np.int8(0)),
        writer.constant("one", np.float32(1)),
        writer.constant("output_zero", np.uint8(zero)),
        writer.constant("bias", digital.bias),
    ]
    attributes = {"group": channels, "kernel_shape": [1, conversions], "strides": [1, conversions]}
    if conversions == 1:
        _shaped(writer, mapped, writer.node("QLinearConv", inputs, "sum", **attributes), output)
        return
    total = writer.node("QLinearConv", inputs, "sum", **attributes)  # [1, channels, pixels, 1]
    nhwc = writer.node("Transpose", [total], "sum_nhwc", perm=[0, 2, 3, 1])
    pixels = writer.node("Reshape", [nhwc, writer.shape(1, height, width, channels)], "sum_pixels")
    _shaped(writer, mapped, writer.node("Transpose", [pixels], "sum_nchw", perm=[0, 3, 1, 2]), output)


def float_end(
    writer: LayerWriter, mapped: MappedLayer, digital: ShiftAdd, codes: str, output: str, *, whole: bool
) -> None:
    """Codes or levels float32 [1, conversions · outputs, rows, columns] → the layer's output.

    `whole`: all of them are integers, so that sums beyond float32's exact range are taken in int32.
    """
    pixels = mapped.pixels[0] * mapped.pixels[1]
    total = writer.node("Reshape", [codes, writer.shape(1, mapped.conversions, mapped.outputs, pixels)], "conversions")
    in_int32 = whole and not digital.is_exact_in_float
    kind = np.dtype(np.int32 if in_int32 else np.float32)
    if in_int32:
        total = writer.node("Cast", [total], "whole", to=6)
    factors = digital.factors.astype(kind)
    equal = bool((factors == factors[0]).all())
    if not equal:
        weight = writer.constant("factors", factors.reshape(1, -1, 1, 1))
        total = writer.node("Mul", [total, weight], "weighted")
    if mapped.conversions > 1:
        total = writer.node("ReduceSum", [total, writer.constant("axis", np.array([1], np.int64))], "added")
    if equal and factors[0] != 1:
        total = writer.node("Mul", [total, writer.constant("factor", factors[0])], "weighted")
    total = writer.node("Add", [total, writer.constant("bias", digital.bias.astype(kind).reshape(1, 1, -1, 1))], "sum")
    if in_int32:
        total = writer.node("Cast", [total], "sum_float", to=1)
    multiplier = writer.constant("multiplier", digital.multiplier.reshape(1, 1, -1, 1))
    value = writer.node("Mul", [total, multiplier], "value")
    target = mapped.layer.output
    if not target.is_float:
        zero = writer.constant("output_zero", np.uint8(target.zero_point))
        rounded = writer.node("QuantizeLinear", [value, writer.constant("one", np.float32(1)), zero], "rounded_value")
        value = _held(writer, mapped, rounded)
    elif mapped.layer.relu:
        value = writer.node("Relu", [value], "rectified")
    writer.final("Reshape", [value, writer.shape(*target.shape)], output)


def codes_as_float(writer: LayerWriter, codes: str) -> str:
    """Uint8 codes as float32 numbers from the converter's code 0."""
    one, middle = writer.constant("one", np.float32(1)), writer.constant("middle", np.uint8(CODE_ZERO))
    return writer.node("DequantizeLinear", [codes, one, middle], "code_values")


def _shaped(writer: LayerWriter, mapped: MappedLayer, values: str, output: str) -> None:
    """The end of the layer under the name that the network knows."""
    values = _held(writer, mapped, values)
    shape = mapped.layer.output.shape
    if len(shape) == 4:
        writer.rename_last(output)
    else:
        writer.final("Reshape", [values, writer.shape(*shape)], output)


def _held(writer: LayerWriter, mapped: MappedLayer, codes: str) -> str:
    """Activations of fewer than 256 codes, held by a native uint8 Min as in the digital network."""
    most = mapped.layer.output.most
    if most == LARGEST_CODE:
        return codes
    return writer.node("Min", [codes, writer.constant("most", np.uint8(most))], "held_output")
