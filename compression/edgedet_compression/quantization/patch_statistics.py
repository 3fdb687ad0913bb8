"""Mean and covariance of what each convolution or fully connected layer multiplies its weights with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgedet_compression.progress import Advance
from edgedet_compression.quantization.float_graph import FloatGraph, Node

# Patches taken of all images together: three times as many as a 3 x 3 convolution of 512 channels has inputs.
_PATCHES = 16384
_BYTES_AT_ONCE = 500_000_000
_BYTES_OF_ONE = 1_000_000_000
"""Of a layer's covariances, 11,180 inputs; rounding takes 4.5 times as much."""


@dataclass(frozen=True)
class PatchStatistics:
    """Over patches flattened as the weights are, [in/group · rows · columns], one row of each per group."""

    means: npt.NDArray[np.float64]
    covariances: npt.NDArray[np.float64] | None
    """None of a layer of so many inputs that they may not fit into memory (VGG16's first fully connected one)."""


def patch_statistics(
    graph: FloatGraph,
    nodes: Sequence[Node],
    images: Sequence[npt.NDArray[np.float32]],
    advance: Advance,
    seed: int = 0,
) -> Iterator[tuple[Node, PatchStatistics]]:
    """The statistics of each node in turn; as many nodes share one run over the images as memory allows."""
    waiting = list(nodes)
    while waiting:
        batch = [waiting.pop(0)]
        while waiting and sum(_bytes(graph, node) for node in (*batch, waiting[0])) <= _BYTES_AT_ONCE:
            batch.append(waiting.pop(0))
        yield from _collect(graph, batch, images, np.random.default_rng(seed))
        for _ in batch:
            advance()


def _bytes(graph: FloatGraph, node: Node) -> int:
    groups = int(node.number("group", 1))
    return 8 * groups * int(np.prod(graph.constants[node.inputs[1]].shape[1:])) ** 2


def _collect(
    graph: FloatGraph, nodes: list[Node], images: Sequence[npt.NDArray[np.float32]], random: np.random.Generator
) -> Iterator[tuple[Node, PatchStatistics]]:
    names = list(dict.fromkeys(node.inputs[0] for node in nodes))
    inner = [name for name in names if name != graph.input]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(graph.model(inner).SerializeToString(), options, providers=["CPUExecutionProvider"])
    sums = {node.name: _Sums(products=_bytes(graph, node) <= _BYTES_OF_ONE) for node in nodes}
    for image in images:
        outputs = session.run(inner, {graph.input: image}) if inner else []
        values = {graph.input: image, **dict(zip(inner, outputs, strict=True))}
        for node in nodes:
            kernel = graph.constants[node.inputs[1]].shape[2:]
            sums[node.name].add(_patches(values[node.inputs[0]], node, kernel, random, -(-_PATCHES // len(images))))
    for node in nodes:
        yield node, sums[node.name].result()


class _Sums:
    def __init__(self, *, products: bool) -> None:
        self.products = products
        self.count = 0
        self.first: npt.NDArray[np.float64] | float = 0.0
        self.second: npt.NDArray[np.float32] | float = 0.0

    def add(self, patches: npt.NDArray[np.float32]) -> None:
        """Patches [groups, n, inputs]."""
        self.count += patches.shape[1]
        self.first = self.first + patches.sum(axis=1, dtype=np.float64)
        if self.products:
            self.second = self.second + np.matmul(patches.transpose(0, 2, 1), patches)

    def result(self) -> PatchStatistics:
        means = np.asarray(self.first) / self.count
        if not self.products:
            return PatchStatistics(means, None)
        covariances = np.asarray(self.second) / self.count - means[:, :, None] * means[:, None, :]
        return PatchStatistics(means, covariances)


def _patches(
    value: npt.NDArray[np.float32], node: Node, kernel: tuple[int, ...], random: np.random.Generator, count: int
) -> npt.NDArray[np.float32]:
    """[groups, n, inputs]: what a random choice of at most `count` outputs is computed from."""
    if node.operator == "Gemm":
        return value[np.newaxis]
    groups = int(node.number("group", 1))
    top, left, bottom, right = node.integers("pads", (0, 0, 0, 0))
    strides, dilations = node.integers("strides", (1, 1)), node.integers("dilations", (1, 1))
    padded = np.pad(value[0], ((0, 0), (top, bottom), (left, right)))
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    rows, columns = (
        (length - span) // stride + 1 for length, span, stride in zip(padded.shape[1:], spans, strides, strict=True)
    )
    chosen = random.permutation(rows * columns)[:count]
    first_row, first_column = chosen // columns * strides[0], chosen % columns * strides[1]
    down, across = np.meshgrid(
        *(np.arange(size) * step for size, step in zip(kernel, dilations, strict=True)), indexing="ij"
    )
    found = padded[:, first_row[:, None] + down.reshape(-1), first_column[:, None] + across.reshape(-1)]
    per_group = found.reshape(groups, -1, *found.shape[1:])
    return np.ascontiguousarray(per_group.transpose(0, 2, 1, 3)).reshape(groups, len(chosen), -1)
