"""Form F: float32 that holds integer codes, for cells off their target, read noise, wire losses and wide converters."""

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.compile.blocks import blocks_of, conv_attributes
from edgedet_nvm.compile.reads import CODE_ZERO, held, joined, parts, pixels, pulse_codes
from edgedet_nvm.compile.writer import LayerWriter
from edgedet_nvm.converter import Converter
from edgedet_nvm.mapping import MappedLayer

_CURRENT = "current"


def float_reads(writer: LayerWriter, plan: LayerPlan, noise: str | None) -> str:
    """Write the reads of a layer: codes, or levels without a converter, [1, conversions · outputs, rows, columns].

    Codes of up to 8 bits are uint8 around `CODE_ZERO`, as in form Q; all else is float32. `noise` names the graph input
    of standard normal numbers of a layer with read noise.
    """
    word_lines = _WordLines(writer, plan.mapped)
    current = _currents(writer, plan, word_lines)
    if noise is not None:
        current = writer.node("Add", [current, _noise(writer, plan, word_lines, noise)], "noisy")
    if plan.converter is None:
        return current
    return _converted(writer, plan.mapped, current, plan.converter)


class _WordLines:
    """The layer's input, pulse by pulse: as values from the zero point, and their squares."""

    def __init__(self, writer: LayerWriter, mapped: MappedLayer) -> None:
        self.writer = writer
        self.mapped = mapped
        source = pixels(writer, mapped)
        self.codes = [pulse_codes(writer, mapped, source, pulse) for pulse in mapped.pulses]
        self.zeros = [pulse.of_code(mapped.zero_point) for pulse in mapped.pulses]
        self.values = [
            self._value(p, codes, zero) for p, (codes, zero) in enumerate(zip(self.codes, self.zeros, strict=True))
        ]

    def _value(self, p: int, codes: str, zero: int) -> str:
        writer = self.writer
        if not zero:
            return writer.node("Cast", [codes], f"value{p}", to=1)
        one, shown = writer.constant("one", np.float32(1)), writer.constant(f"zero{zero}", np.uint8(zero))
        return writer.node("DequantizeLinear", [codes, one, shown], f"value{p}")

    def squares(self) -> list[str]:
        """``x² - z²``, so that a convolution's zero padding stands for word lines at the zero point."""
        result = []
        for p, (codes, value, zero) in enumerate(zip(self.codes, self.values, self.zeros, strict=True)):
            raw = self.writer.node("Cast", [codes], f"raw{p}", to=1) if zero else value
            square = self.writer.node("Mul", [raw, raw], f"square{p}")
            if zero:
                offset = self.writer.constant(f"square_zero{p}", np.float32(zero * zero))
                square = self.writer.node("Sub", [square, offset], f"centered_square{p}")
            result.append(square)
        return result


def cell_constants(plan: LayerPlan) -> dict[str, NDArray[np.float32]]:
    """The constants, by name, that hold a layer's cells where wires take nothing: what differs from chip to chip."""
    found = _column_constants(plan.mapped, plan.cells.difference, _bias(plan), _CURRENT)
    return {f"{plan.mapped.name}:{name}": values for name, values in found.items()}


def _bias(plan: LayerPlan) -> NDArray[np.float64]:
    """What the cells take at the zero points, from the reference."""
    return plan.mapped.zero_currents(plan.cells.difference) - _reference(plan)


def _reference(plan: LayerPlan) -> NDArray[np.float64]:
    """Of every column: its nominal zero-point current plus the converter's offset."""
    reference = plan.mapped.zero_currents(plan.mapped.planes)
    if plan.converter is not None:
        reference = reference + plan.converter.offsets[:, None, :, None]
    return reference


def _currents(writer: LayerWriter, plan: LayerPlan, word_lines: _WordLines) -> str:
    """Levels from each column's reference."""
    mapped, cells = plan.mapped, plan.cells
    if cells.drop is None:
        return _columns(writer, mapped, word_lines.values, cells.difference, _bias(plan), _CURRENT)
    positive = _dropped(writer, plan, word_lines, cells.positive, cells.drop[0], "positive")
    if cells.negative is not None:
        negative = _dropped(writer, plan, word_lines, cells.negative, cells.drop[1], "negative")
        positive = writer.node("Sub", [positive, negative], "pair")
    return writer.node("Sub", [positive, _channels(writer, "reference", _reference(plan))], _CURRENT)


def _dropped(
    writer: LayerWriter,
    plan: LayerPlan,
    word_lines: _WordLines,
    cells: NDArray[np.float32],
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
    cells = variance if variance.ndim > 1 else mapped.tile_cells.any(axis=0) * np.ones(mapped.planes.shape)
    sums = _columns(writer, mapped, squares, cells, _squared_zeros(mapped, cells), "squares")
    # Where no word line is driven, Σ (x² - z²)·σ² and Σ z²·σ² cancel up to float32's rounding, of either sign.
    sums = writer.node("Relu", [sums], "squares_from_0")
    if variance.ndim == 1:  # columns of different groups see different inputs
        shape = (len(mapped.pulses), mapped.tiles, len(mapped.planes), mapped.outputs)
        each = _channels(writer, "cell_variance", np.broadcast_to(variance[:, None], shape))
        sums = writer.node("Mul", [sums, each], "variance")
    return writer.node("Mul", [writer.node("Sqrt", [sums], "deviation"), noise], "noise")


def _noise_of_planes(
    writer: LayerWriter, mapped: MappedLayer, squares: list[str], variance: NDArray[np.float64], noise: str
) -> str:
    """The same where all cells of a plane vary alike: one sum of squares per tile serves all of its columns."""
    tiles, planes, pixels_ = len(mapped.pulses) * mapped.tiles, len(mapped.planes), mapped.pixels
    sums = _tile_sums(writer, mapped, squares)
    each = variance.astype(np.float32)
    if planes > 1:
        sums = writer.node("Reshape", [sums, writer.shape(tiles, 1, 1, *pixels_)], "squares_by_plane")
        each = each.reshape(1, planes, 1, 1, 1)
    product = writer.node("Mul", [sums, writer.constant("cell_variance", each)], "variance")
    if any(pulse.of_code(mapped.zero_point) for pulse in mapped.pulses):
        product = writer.node("Relu", [product], "variance_from_0")  # as above, where sums are beyond whole numbers
    deviation = writer.node("Sqrt", [product], "deviation")
    if mapped.conversions == 1:
        return writer.node("Mul", [noise, deviation], "noise")
    by_tile = (tiles, mapped.outputs, *pixels_) if planes == 1 else (tiles, planes, mapped.outputs, *pixels_)
    drawn = writer.node("Reshape", [noise, writer.shape(*by_tile)], "drawn")
    product = writer.node("Mul", [drawn, deviation], "noise_by_tile")
    return writer.node("Reshape", [product, writer.shape(1, -1, *pixels_)], "noise")


def _tile_sums(writer: LayerWriter, mapped: MappedLayer, squares: list[str]) -> str:
    """Sums over the rows of each tile, the same for all of its columns: [pulses · tiles, 1, rows, columns].

    Whole numbers, which float32 holds up to 2^24: to there, where no word line is driven, a sum is 0 without a residue.

    Tiles that cut channels are summed over these first, which leaves one channel to convolve.
    """
    tiles, kernel = mapped.tiles, mapped.tile_cells.shape[2:]
    by_channel = mapped.cuts_channels and bool(mapped.tile_cells.any(axis=0).all())
    held = np.ones((1, 1, *kernel)) if by_channel else mapped.tile_cells
    ones = writer.constant("rows", held.astype(np.float32))
    streams = []
    for p, (square, pulse) in enumerate(zip(squares, mapped.pulses, strict=True)):
        source = square
        if tiles > 1 and by_channel:
            source = writer.node("Reshape", [source, writer.shape(tiles, -1, *mapped.map_size)], f"tile_inputs{p}")
        if by_channel:
            axis = writer.constant("channels", np.array([1], np.int64))
            source = writer.node("ReduceSum", [source, axis], f"channel_squares{p}")
        zeros = np.array(mapped.rows[: len(held)], np.float32) * np.float32(pulse.of_code(mapped.zero_point) ** 2)
        inputs = [source, ones, writer.constant(f"rows_zero{p}", zeros)]
        sums = writer.node("Conv", inputs, f"tile_squares{p}", **conv_attributes(mapped))
        if not by_channel:
            sums = writer.node("Reshape", [sums, writer.shape(tiles, 1, *mapped.pixels)], f"squares_by_tile{p}")
        streams.append(sums)
    return writer.node("Concat", streams, "tile_squares", axis=0) if len(streams) > 1 else streams[0]


def _columns(
    writer: LayerWriter,
    mapped: MappedLayer,
    values: list[str],
    cells: NDArray[np.float32] | NDArray[np.float64],
    bias: NDArray[np.float64],
    label: str,
) -> str:
    """``Σ_r x_r·g_r + bias`` of every column; `bias` [pulses, tiles, planes, outputs]."""
    blocks = blocks_of(mapped, most_parts=1)
    constants = {
        name: writer.constant(name, numbers) for name, numbers in _column_constants(mapped, cells, bias, label).items()
    }
    streams = []
    for p, value in enumerate(values):
        for index, source in enumerate(parts(writer, blocks, value, f"{label}{p}")):
            inputs = [source, constants[f"{label}_cells{index}"]]
            if (zero := f"{label}_zero{p}_{index}") in constants:
                inputs.append(constants[zero])
            name = f"{label}{p}_{index}"
            streams.append(writer.node("Conv", inputs, name, group=blocks.group, **conv_attributes(mapped)))
    return joined(writer, streams, label)


def _column_constants(
    mapped: MappedLayer, cells: NDArray[np.float32] | NDArray[np.float64], bias: NDArray[np.float64], label: str
) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of the columns' convolutions."""
    blocks = blocks_of(mapped, most_parts=1)
    found = {
        f"{label}_cells{index}": block.astype(np.float32, copy=False)
        for index, block in enumerate(blocks.arranged(cells))
    }
    for p, zeros in enumerate(bias):
        for index, zero in enumerate(blocks.per_column(zeros)):
            if zero.any():
                found[f"{label}_zero{p}_{index}"] = zero.astype(np.float32)
    return found


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
    # Costs nothing within the convolution before it, and keeps ONNX Runtime from multiplying gains into its weights,
    # whose sums would no longer be exact.
    least = writer.constant("least_current", np.float32(2 * converter.lowest) / gains.min())
    most = writer.constant("most_current", np.float32(2 * (converter.highest + 1)) / gains.min())
    scaled = writer.node("Mul", [writer.node("Clip", [current, least, most], "within_reach"), gain], "scaled")
    if converter.bits <= 8:
        one, middle = writer.constant("one", np.float32(1)), writer.constant("middle", np.uint8(CODE_ZERO))
        return held(writer, writer.node("QuantizeLinear", [scaled, one, middle], "codes"), converter)
    rounded = writer.node("Round", [scaled], "rounded")
    lowest = writer.constant("lowest", np.float32(converter.lowest))
    highest = writer.constant("highest", np.float32(converter.highest))
    return writer.node("Clip", [rounded, lowest, highest], "codes")


def _channels(writer: LayerWriter, name: str, values: NDArray[np.float64] | NDArray[np.float32]) -> str:
    """Numbers of every conversion and output as a constant [1, channels, 1, 1]."""
    return writer.constant(name, values.astype(np.float32).reshape(1, -1, 1, 1))
