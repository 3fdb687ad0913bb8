"""Which cells a quantized network's weights lie in: matrices [inputs · kernel, outputs], cut into tiles of R rows."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from edgedet_runtime.quantized_graph import Layer, QuantizedGraph, Weights
from numpy.typing import NDArray

from edgedet_nvm.device.inputs import Pulse, full_code, pulses_of
from edgedet_nvm.errors import MappingRefused
from edgedet_nvm.slicing import Slicing

Cut = Literal["channels", "kernel"]
_INPUT_BITS = 8


@dataclass(frozen=True, slots=True)
class Arrays:
    """What the chip offers a layer, and how its weights and inputs are cut to it."""

    rows: int
    columns: int
    slicing: Slicing
    pulse_bits: int = _INPUT_BITS
    """Bits of an input code that are converted at once: 8 with an 8-bit DAC, or if charge is gathered over pulses."""
    cut: Cut = "channels"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < self.slicing.cells_per_weight:
            raise MappingRefused(
                f"rows, columns: {self.rows} × {self.columns} cells hold no weight; one needs 1 row and "
                f"{self.slicing.cells_per_weight} columns"
            )
        if not 1 <= self.pulse_bits <= _INPUT_BITS:
            raise MappingRefused(f"pulse_bits: is {self.pulse_bits}, must be 1…{_INPUT_BITS}")


@dataclass(frozen=True, slots=True)
class MappedLayer:
    """A convolution or fully connected layer in cells.

    Its columns are read once per pulse, tile and plane, in this order; a fully connected layer is a convolution of
    one pixel.
    """

    layer: Layer
    slicing: Slicing
    planes: NDArray[np.int16]
    """Signed target levels [planes, outputs, inputs per group, kernel rows, kernel columns]."""
    pulses: tuple[Pulse, ...]
    tile_cells: NDArray[np.bool_]
    """Which of a column's weights each tile holds: [tiles, inputs per group, kernel rows, kernel columns]."""

    @property
    def name(self) -> str:
        """The operator's name in the network."""
        return self.layer.name

    @property
    def weights(self) -> Weights:
        """Codes, scales and biases."""
        return weights_of(self.layer)

    @property
    def zero_point(self) -> int:
        """The input code that means 0."""
        return self.layer.inputs[0].zero_point

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.planes.shape[1])

    @property
    def group(self) -> int:
        """Groups of the convolution."""
        return int(self.layer.attributes.get("group", 1))

    @property
    def tiles(self) -> int:
        """Tiles that share a column's rows."""
        return len(self.tile_cells)

    @property
    def conversions(self) -> int:
        """Conversions per output value: pulses · tiles · planes."""
        return len(self.pulses) * self.tiles * len(self.planes)

    @property
    def read_factors(self) -> NDArray[np.int64]:
        """What a conversion counts in the layer's sum [pulses, planes]."""
        pulses = np.array([1 << pulse.shift for pulse in self.pulses], np.int64)
        return pulses[:, None] * np.array(self.slicing.factors, np.int64)

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of the input map."""
        shape = self.layer.inputs[0].shape
        return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of the output map."""
        shape = self.layer.output.shape
        return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows that each tile uses."""
        return tuple(int(count) for count in self.tile_cells.sum(axis=(1, 2, 3)))

    @property
    def cuts_channels(self) -> bool:
        """Whether tiles are equal blocks of input channels, so that one grouped convolution reads them all.

        Channels without word lines may be among a block's: what their cells hold is 0.
        """
        channels, whole = self.planes.shape[2], self.tile_cells.all(axis=(2, 3))
        if channels % self.tiles or not np.array_equal(whole, self.tile_cells.any(axis=(2, 3))):
            return False
        blocks = np.kron(np.eye(self.tiles), np.ones(channels // self.tiles)) > 0
        return bool(np.array_equal(whole, blocks & whole.any(axis=0)))

    def zero_currents(self, cells: NDArray[Any]) -> NDArray[np.float64]:
        """Current of every column [pulses, tiles, planes, outputs] where all inputs are 0 in value, in levels.

        `cells` are levels in the form of `planes`: these for the nominal current, which the converter's reference is.
        """
        zeros = np.array([pulse.of_code(self.zero_point) for pulse in self.pulses], np.int64)
        if not zeros.any():  # the sums take long
            return np.zeros((len(zeros), self.tiles, *cells.shape[:2]))
        currents: NDArray[np.float64] = zeros[:, None, None, None] * self.column_sums(cells)
        return currents

    def largest_current(self) -> int:
        """No read's current, nor any partial sum of it, is further from 0 than this, in levels."""
        sums = self.column_sums(np.abs(self.planes))
        return int(sums.max()) * full_code(self.pulses)

    def column_sums(self, cells: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of cells over the rows of each tile [tiles, planes, outputs]; float64 holds whole ones exactly."""
        held = self.tile_cells.astype(np.float64)
        sums: NDArray[np.float64] = np.einsum("joikl,tikl->tjo", cells.astype(np.float64), held, optimize=True)
        return sums


@dataclass(frozen=True, slots=True)
class DigitalLayer:
    """A layer with weights that stays in digital logic."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class NetworkMapping:
    """A network's layers with weights: those in cells and those that stay digital."""

    arrays: Arrays
    layers: tuple[MappedLayer, ...]
    digital: tuple[DigitalLayer, ...]


def map_network(graph: QuantizedGraph, arrays: Arrays) -> NetworkMapping:
    """Map every layer with weights, or say why it stays digital.

    Args:
        graph: the network, or a segment of it.
        arrays: the cells to map onto.

    Raises:
        MappingRefused: nothing to map, a layer without a name of its own, or weights that the slicing cannot hold.
    """
    candidates = [layer for layer in graph.layers if layer.weights is not None]
    if not candidates:
        raise MappingRefused("the graph has no quantized Conv or Gemm: quantize the network before mapping it")
    for name, count in Counter(layer.name for layer in candidates).items():
        if not name or count > 1:
            raise MappingRefused(f"node {name!r}: mapped layers need names of their own; name the graph's nodes")
    reasons = {layer.name: _why_digital(layer, arrays) for layer in candidates}
    return NetworkMapping(
        arrays,
        tuple(_mapped(layer, arrays) for layer in candidates if reasons[layer.name] is None),
        tuple(DigitalLayer(name, reason) for name, reason in reasons.items() if reason is not None),
    )


def weights_of(layer: Layer) -> Weights:
    """The weights of a layer that has them."""
    if layer.weights is None:
        raise MappingRefused(f"layer {layer.name!r} ({layer.op}): has no weights")
    return layer.weights


def _why_digital(layer: Layer, arrays: Arrays) -> str | None:
    weights = weights_of(layer).codes
    if (np.count_nonzero(weights.reshape(len(weights), -1), axis=1) <= 1).all():
        return "only moves codes: no output has more than one weight"
    rows = int(np.prod(weights.shape[1:]))
    if int(layer.attributes.get("group", 1)) > 1 and rows > arrays.rows:
        return f"grouped, and {rows} rows of a group exceed the tile's {arrays.rows}"
    if layer.relu and layer.output.zero_point:
        return "its Relu ends on a zero point other than 0"
    return None


def _mapped(layer: Layer, arrays: Arrays) -> MappedLayer:
    codes = weights_of(layer).codes
    kernel = codes if codes.ndim == 4 else codes[:, :, None, None]
    try:
        planes = arrays.slicing.planes(kernel)
    except MappingRefused as error:
        raise MappingRefused(f"layer {layer.name!r}: {error}") from error
    pulses = pulses_of(layer.inputs[0].most, arrays.pulse_bits)
    tiles = _channel_tiles if arrays.cut == "channels" else _kernel_tiles
    # An input channel without any weight, as the one that pads RGB to four, gets no word lines.
    held = tiles(kernel.shape[1:], arrays.rows) & np.any(kernel, axis=(0, 2, 3), keepdims=True)[0]
    return MappedLayer(layer, arrays.slicing, planes, pulses, held[held.any(axis=(1, 2, 3))])


def _channel_tiles(shape: tuple[int, ...], rows: int) -> NDArray[np.bool_]:
    """Blocks of input channels: as few equal ones as fit the rows, or uneven ones where these are less than half.

    Equal blocks are read by one grouped convolution; uneven ones cost a convolution each, but 67 channels of a 3 × 3
    kernel are 2 tiles of 576 rows instead of 67.
    """
    channels, height, width = shape
    if height * width > rows:
        return _kernel_tiles(shape, rows)
    fewest = -(-channels // (rows // (height * width)))
    equal = next(count for count in range(fewest, channels + 1) if channels % count == 0)
    count = equal if equal <= 2 * fewest else fewest
    blocks = np.arange(channels) * count // channels == np.arange(count)[:, None]
    return np.broadcast_to(blocks[:, :, None, None], (count, *shape)).copy()


def _kernel_tiles(shape: tuple[int, ...], rows: int) -> NDArray[np.bool_]:
    """All channels at as many kernel positions as fit the rows; at one position, blocks of channels if need be."""
    channels, height, width = shape
    positions = height * width
    together = max(rows // channels, 1)
    blocks = _channel_tiles((channels, 1, 1), rows)[:, :, 0, 0]
    groups = [np.arange(start, min(start + together, positions)) for start in range(0, positions, together)]
    tiles = np.zeros((len(groups), len(blocks), channels, positions), bool)
    for index, group in enumerate(groups):
        tiles[index][:, :, group] = blocks[:, :, None]
    return tiles.reshape(-1, *shape)
