"""Form F: float32 that holds integer codes, for cells off their target, read noise, wire losses and wide converters."""

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.compile.blocks import blocks_of, conv_attributes
from edgedet_nvm.compile.reads import joined, parts, pixels, pulse_codes
from edgedet_nvm.compile.writer import LayerWriter
from edgedet_nvm.converter import Converter
from edgedet_nvm.mapping import MappedLayer


def float_reads(writer: LayerWriter, plan: LayerPlan, noise: str | None) -> str:
    """Write the reads of a layer; codes, or levels without a converter, as float32 [1, conversions · outputs, …].

    `noise` names the graph input of standard normal numbers of a layer with read noise.
    """
    mapped = plan.mapped
    word_lines = _WordLines(writer, mapped)
    current = _currents(writer, plan, word_lines)
    if noise is not None:
        current = writer.node("Add", [current, _noise(writer, plan, word_lines, noise)], "noisy")
    if plan.converter is None:
        return current
    return _converted(writer, mapped, current, plan.converter)


class _WordLines:
    """The layer's input, pulse by pulse: as values from the zero point, and their squares."""

    def __init__(self, writer: LayerWriter, mapped: MappedLayer) -> None:
        self.writer = writer
        self.mapped = mapped
        source = pixels(writer, mapped)
        self.codes = [pulse_codes(writer, mapped, source, pulse) for pulse in mapped.pulses]
        self.zeros = [pulse.of_code(mapped.zero_point) for pulse in mapped.pulses]
        one = writer.constant("one", np.float32(1))
        self.values = [
            writer.node("DequantizeLinear", [codes, one, writer.constant(f"zero{zero}", np.uint8(zero))], f"value{p}")
            for p, (codes, zero) in enumerate(zip(self.codes, self.zeros, strict=True))
        ]

    def squares(self) -> list[str]:
        """``x² - z²``, so that a convolution's zero padding stands for word lines at the zero point."""
        result = []
        for p, (codes, zero) in enumerate(zip(self.codes, self.zeros, strict=True)):
            raw = self.writer.node("Cast", [codes], f"raw{p}", to=1)
            square = self.writer.node("Mul", [raw, raw], f"square{p}")
            if zero:
                offset = self.writer.constant(f"square_zero{p}", np.float32(zero * zero))
                square = self.writer.node("Sub", [square, offset], f"centered_square{p}")
            result.append(square)
        return result


def _currents(writer: LayerWriter, plan: LayerPlan, word_lines: _WordLines) -> str:
    """Levels from each column's reference: its nominal zero-point current plus the converter's offset."""
    mapped, cells = plan.mapped, plan.cells
    reference = mapped.zero_currents(mapped.planes)
    if plan.converter is not None:
        reference = reference + plan.converter.offsets[:, None, :, None]
    if cells.drop is None:
        bias = mapped.zero_currents(cells.difference) - reference
        return _columns(writer, mapped, word_lines.values, cells.difference, bias, "current")
    positive = _dropped(writer, plan, word_lines, cells.positive, cells.drop[0], "positive")
    if cells.negative is not None:
        negative = _dropped(writer, plan, word_lines, cells.negative, cells.drop[1], "negative")
        positive = writer.node("Sub", [positive, negative], "pair")
    return writer.node("Sub", [positive, _channels(writer, "reference", reference)], "current")


def _dropped(
    writer: LayerWriter,
    plan: LayerPlan,
    word_lines: _WordLines,
    cells: NDArray[np.float64],
    k: NDArray[np.float32],
    label: str,
) -> str:
    """``I / (1 + k·I)``: what bit and source line leave of a column's current."""
    mapped = plan.mapped
    current = _columns(writer, mapped, word_lines.values, cells, mapped.zero_currents(cells), label)
    every = np.broadcast_to(k, (len(mapped.pulses), *k.shape))
    lost = writer.node("Mul", [current, _channels(writer, f"{label}_k", every)], f"{label}_lost")
    share = writer.node("Add", [lost, writer.constant("one", np.float32(1))], f"{label}_share")
    return writer.node("Div", [current, share], f"{label}_left")


def _noise(writer: LayerWriter, plan: LayerPlan, word_lines: _WordLines, noise: str) -> str:
    """``sqrt(Σ x²·σ²) · z``, one draw per conversion: a sum of normal currents is normal."""
    mapped, variance = plan.mapped, plan.cells.read_variance
    assert variance is not None
    squares = word_lines.squares()
    if variance.ndim == 1 and mapped.group == 1:
        return _noise_of_planes(writer, mapped, squares, variance, noise)
    cells = variance if variance.ndim > 1 else np.ones(mapped.planes.shape)
    sums = _columns(writer, mapped, squares, cells, _squared_zeros(mapped, cells), "squares")
    if variance.ndim == 1:  # columns of different groups see different inputs
        shape = (len(mapped.pulses), mapped.tiles, len(mapped.planes), mapped.outputs)
        each = _channels(writer, "cell_variance", np.broadcast_to(variance[:, None], shape))
        sums = writer.node("Mul", [sums, each], "variance")
    return writer.node("Mul", [writer.node("Sqrt", [sums], "deviation"), noise], "noise")


def _noise_of_planes(
    writer: LayerWriter, mapped: MappedLayer, squares: list[str], variance: NDArray[np.float64], noise: str
) -> str:
    """The same where all cells of a plane vary alike: one sum of squares per tile serves all of its columns."""
    tiles, planes, pixels_ = len(mapped.pulses) * mapped.tiles, len(mapped.planes), int(np.prod(mapped.pixels))
    sums = writer.node("Reshape", [_tile_sums(writer, mapped, squares), writer.shape(tiles, 1, 1, pixels_)], "squares")
    each = writer.constant("cell_variance", variance.astype(np.float32).reshape(1, planes, 1, 1))
    deviation = writer.node("Sqrt", [writer.node("Mul", [sums, each], "variance")], "deviation")
    drawn = writer.node("Reshape", [noise, writer.shape(tiles, planes, mapped.outputs, pixels_)], "drawn")
    product = writer.node("Mul", [drawn, deviation], "plane_noise")
    return writer.node("Reshape", [product, writer.shape(1, -1, *mapped.pixels)], "noise")


def _tile_sums(writer: LayerWriter, mapped: MappedLayer, squares: list[str]) -> str:
    """Sums over the rows of each tile, the same for all of its columns: [1, pulses · tiles, rows, columns]."""
    held = mapped.tile_cells.astype(np.float32)
    group = mapped.tiles if mapped.cuts_channels else 1
    if group > 1:
        held = np.ones((group, held.shape[1] // group, *held.shape[2:]), np.float32)
    ones = writer.constant("rows", held)
    streams = []
    for p, (square, pulse) in enumerate(zip(squares, mapped.pulses, strict=True)):
        zeros = np.array(mapped.rows, np.float32) * np.float32(pulse.of_code(mapped.zero_point) ** 2)
        inputs = [square, ones, writer.constant(f"rows_zero{p}", zeros)]
        streams.append(writer.node("Conv", inputs, f"tile_squares{p}", group=group, **conv_attributes(mapped)))
    return joined(writer, streams, "tile_squares")


def _columns(
    writer: LayerWriter,
    mapped: MappedLayer,
    values: list[str],
    cells: NDArray[np.float64],
    bias: NDArray[np.float64],
    label: str,
) -> str:
    """``Σ_r x_r·g_r + bias`` of every column; `bias` [pulses, tiles, planes, outputs]."""
    blocks = blocks_of(mapped, most_parts=1)
    weights = [
        writer.constant(f"{label}_cells{index}", block.astype(np.float32))
        for index, block in enumerate(blocks.arranged(cells))
    ]
    streams = []
    for p, value in enumerate(values):
        sources = parts(writer, blocks, value, f"{label}{p}")
        for index, (source, weight, zero) in enumerate(zip(sources, weights, blocks.per_column(bias[p]), strict=True)):
            inputs = [source, weight]
            if zero.any():
                inputs.append(writer.constant(f"{label}_zero{p}_{index}", zero.astype(np.float32)))
            name = f"{label}{p}_{index}"
            streams.append(writer.node("Conv", inputs, name, group=blocks.group, **conv_attributes(mapped)))
    return joined(writer, streams, label)


def _squared_zeros(mapped: MappedLayer, variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """What word lines at the zero point add to every column's variance."""
    zeros = np.array([pulse.of_code(mapped.zero_point) for pulse in mapped.pulses], np.float64)
    sums: NDArray[np.float64] = zeros[:, None, None, None] ** 2 * mapped.column_sums(variance)
    return sums


def _converted(writer: LayerWriter, mapped: MappedLayer, current: str, converter: Converter) -> str:
    gains = np.broadcast_to(
        converter.gains[:, None, :, None], (len(mapped.pulses), mapped.tiles, len(mapped.planes), mapped.outputs)
    )
    equal = bool((gains == gains.flat[0]).all())
    gain = writer.constant("gain", gains.flat[0]) if equal else _channels(writer, "gain", gains)
    rounded = writer.node("Round", [writer.node("Mul", [current, gain], "scaled")], "rounded")
    lowest = writer.constant("lowest", np.float32(converter.lowest))
    highest = writer.constant("highest", np.float32(converter.highest))
    return writer.node("Clip", [rounded, lowest, highest], "codes")


def _channels(writer: LayerWriter, name: str, values: NDArray[np.float64] | NDArray[np.float32]) -> str:
    """Numbers of every conversion and output as a constant [1, channels, 1, 1]."""
    return writer.constant(name, values.astype(np.float32).reshape(1, -1, 1, 1))
