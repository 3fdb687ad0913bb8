"""Where quantizers are put into a network: one policy for all quantizers and all networks.

- Every layer's weights have 4 bits, those of the first and the last layer too: codes -7…7. The same number of levels
  on both sides lets a pair of cells of 8 levels hold a weight as G⁺ - G⁻, and lets a negative γ of BatchNorm change the
  sign of a channel's codes; -8 would fit neither.
- Every layer reads 16 codes, 0…15, but for the first, which reads the image's 8 bits. Logits are float.
- What a residual block adds up is no operand of a layer: both sides of an addition and its sum are *wide*, 8 bits, and
  the sum is given 16 codes (`narrow`) right where a layer reads it. So does a shortcut keep what blocks before it said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgedet_runtime.errors import GraphUnsupported

from edgedet_compression.quantization.lsq import Lsq
from edgedet_compression.quantization.operations import IMAGE, Operation
from edgedet_compression.quantization.pact import Pact
from edgedet_compression.quantization.quantizer import Grid, Quantizer
from edgedet_compression.quantization.tqt import Tqt

WEIGHTS = Grid(-7, 7)
ACTIVATIONS = Grid(0, 15)
WIDE, WIDE_SIGNED = Grid(0, 255), Grid(-128, 127)

MOVERS = frozenset({"choose", "max pool", "flatten"})
"""Their outputs have the codes, and the scale, of what they read."""


@dataclass(frozen=True)
class Scheme:
    """Which quantizers; wide tensors always have LSQ's."""

    weights: Literal["lsq", "tqt"] = "lsq"
    activations: Literal["lsq", "pact"] = "lsq"
    scales: Literal["channel", "layer"] = "channel"
    """Of weights (S3.2)."""

    def weight_quantizer(self, channels: int) -> Quantizer:
        """Of a layer with so many outputs."""
        steps = channels if self.scales == "channel" else 1
        return Lsq(WEIGHTS, steps) if self.weights == "lsq" else Tqt(WEIGHTS, steps)

    def activation_quantizer(self, grid: Grid) -> Quantizer:
        """Of a tensor with this grid."""
        if self.activations == "pact" and grid == ACTIVATIONS:
            return Pact(grid)
        return Lsq(grid, batched=True)


@dataclass(frozen=True)
class Insertion:
    """Operations with `narrow` among them, and which codes their tensors have."""

    operations: tuple[Operation, ...]
    grids: dict[str, Grid]
    """Of the tensors with a quantizer of their own: neither the image nor the logits, nor what a mover makes."""
    origins: dict[str, str]
    """Every tensor → the one whose codes and scale it has."""


def insert(operations: Sequence[Operation]) -> Insertion:
    """Decide on the codes of every tensor.

    Raises:
        GraphUnsupported: a layer would read values below 0, which 0…15 does not hold; or the network does not begin
            and end with a layer.
    """
    _check_ends(operations)
    origins = _origins(operations)
    sums = [operation for operation in operations if operation.kind == "add"]
    wide = {origins[name] for each in sums for name in (each.name, *each.sources)}
    signed = {each.name for each in operations if each.kind in {"layer", "add"} and not each.rectified}
    placed: list[Operation] = []
    grids: dict[str, Grid] = {}
    for operation in operations:
        source, *others = operation.sources
        if operation.kind in {"layer", "average"} and origins[source] in signed:
            raise GraphUnsupported(f"{operation.name}: reads {source}, with values below 0: put a ReLU before it")
        if operation.kind == "layer" and origins[source] in wide:
            source = _narrowed(source, placed, grids)
        placed.append(replace(operation, sources=(source, *others)))
        if operation.kind not in MOVERS:
            of_sum = WIDE_SIGNED if operation.name in signed else WIDE
            grids[operation.name] = of_sum if operation.name in wide else ACTIVATIONS
    del grids[operations[-1].name]
    return Insertion(tuple(placed), grids, _origins(placed))


def _narrowed(tensor: str, placed: list[Operation], grids: dict[str, Grid]) -> str:
    """The tensor with 16 codes; made once for all layers that read it."""
    name = f"{tensor}_narrow"
    if name not in grids:
        placed.append(Operation("narrow", name, (tensor,)))
        grids[name] = ACTIVATIONS
    return name


def _origins(operations: Sequence[Operation]) -> dict[str, str]:
    origins = {IMAGE: IMAGE}
    for operation in operations:
        moved = operation.kind in MOVERS
        origins[operation.name] = origins[operation.sources[0]] if moved else operation.name
    return origins


def _check_ends(operations: Sequence[Operation]) -> None:
    readers = [operation for operation in operations if IMAGE in operation.sources]
    if len(readers) != 1 or readers[0].kind != "layer":
        found = ", ".join(f"{reader.name} ({reader.kind})" for reader in readers)
        raise GraphUnsupported(f"the image must be read by one layer alone; it is read by {found or 'nothing'}")
    last = operations[-1]
    if last.kind != "layer" or last.rectified:
        raise GraphUnsupported(f"{last.name}: the logits must be what a layer makes, without a ReLU behind it")
