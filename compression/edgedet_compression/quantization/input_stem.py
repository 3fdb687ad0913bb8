"""Makes the first convolution read the photo's bytes: normalization moves into its weights, a fourth channel helps.

With RGBX input (X is 255 everywhere inside the photo) and x = (q - z)/255 the weights w of a convolution over
(x - mean_c)/std_c become w'_c = w_c/std_c and w'_X = Σ_c w_c/std_c · (z/255 - mean_c) · 255/(255 - z): inside the
image the sum is the normalized one, and in the zero padding (code z, x = 0) every term is 0, as it was before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgedet_runtime.errors import GraphUnsupported

from edgedet_compression.quantization.float_graph import FloatGraph

MAX_CODE = 255
_Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Normalization:
    """A network's float input is (pixel/255 - mean)/std, channel by channel."""

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def of(self, channels: int) -> tuple[_Numbers, _Numbers]:
        """Mean and deviation [channels]; a gray network reads by the averages of those of three colors."""
        mean, std = (_per_channel(part, channels) for part in (self.mean, self.std))
        return mean, std


def absorb_normalization(graph: FloatGraph, normalization: Normalization) -> int:
    """Let the network read x = (q - z)/255 of RGBX (of one channel: of luma); returns z, the input's zero point.

    Raises:
        GraphUnsupported: the input is not read by one Conv alone, or does not have 1 or 3 channels.
    """
    first = graph.sole_consumer(graph.input)
    if first is None or first.operator != "Conv" or first.number("group", 1) != 1:
        found = ", ".join(f"{node.name} ({node.operator})" for node in graph.consumers(graph.input))
        raise GraphUnsupported(
            f"the image must be read by one ordinary Conv; it is read by {found or 'nothing'}. Take preprocessing "
            "out of the network before the export and give it as --mean and --std."
        )
    batch, channels, height, width = graph.shapes[graph.input]
    if channels not in {1, 3}:
        raise GraphUnsupported(f"the image must have 1 or 3 channels, the network wants {channels}")
    mean, std = normalization.of(channels)
    zero_point = min(round(MAX_CODE * float(mean.mean())), MAX_CODE - 1)
    weight = graph.constant(first.inputs[1], first).astype(np.float64) / std[:, None, None]
    offset = zero_point / MAX_CODE - mean  # what x lacks to be centered, per channel
    if channels == 3:
        share = offset * MAX_CODE / (MAX_CODE - zero_point)
        opaque = (weight * share[:, None, None]).sum(axis=1, keepdims=True)
        weight = np.concatenate([weight, opaque], axis=1)
        graph.shapes[graph.input] = (batch, 4, height, width)
    else:
        # One channel has no X: the rest (at most half a code) goes to the bias, exact but for the padding's rim.
        bias = (weight * offset[:, None, None]).sum(axis=(1, 2, 3))
        if len(first.inputs) > 2:
            bias = bias + graph.constant(first.inputs[2], first)
        first.inputs[2:] = [graph.fresh(f"{first.name}_bias")]
        graph.constants[first.inputs[2]] = bias.astype(np.float32)
    first.inputs[1] = graph.fresh(f"{first.name}_weight")
    graph.constants[first.inputs[1]] = weight.astype(np.float32)
    graph.infer_shapes()
    return zero_point


def _per_channel(values: Sequence[float], channels: int) -> _Numbers:
    array = np.asarray(values, np.float64)
    if len(array) == channels:
        return array
    return np.full(channels, array.mean())
