"""What a layer's cells really hold, and a layer as it is to be executed: cells, converter, digital end."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.converter import Converter
from edgedet_nvm.mapping import MappedLayer


@dataclass(frozen=True)
class LayerCells:
    """Effective levels [planes, outputs, inputs per group, kernel rows, kernel columns] and what disturbs a read.

    0 where a weight has no cell because its input channel has no word lines.
    """

    positive: NDArray[np.float32]
    negative: NDArray[np.float32] | None = None
    """None where cells have no partner."""
    read_variance: NDArray[np.float64] | None = None
    """Of a weight (a pair's two cells together) at input code 1, in levels²: one per plane, or one per weight."""
    drop: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    """k of ``I / (1 + k·I)`` [tiles, planes, outputs] for the columns of G⁺ and of G⁻ (0 where there is none)."""

    @cached_property
    def difference(self) -> NDArray[np.float32]:
        """G⁺ - G⁻."""
        return self.positive if self.negative is None else self.positive - self.negative


@dataclass(frozen=True)
class LayerPlan:
    """A mapped layer with its converter (None: bypassed, currents are exact numbers) and its cells."""

    mapped: MappedLayer
    converter: Converter | None
    cells: LayerCells

    @property
    def is_digital(self) -> bool:
        """Whether the array computes exactly what the digital layer does."""
        return self.converter is None and self.is_target and self.cells.read_variance is None

    @cached_property
    def is_target(self) -> bool:
        """Whether cells hold their target levels and columns lose nothing."""
        held, target = self.cells.difference, self.mapped.planes
        # The first column mostly tells; all of them take long.
        return self.cells.drop is None and all(
            np.array_equal(held[:, :columns], target[:, :columns]) for columns in (1, self.mapped.outputs)
        )

    @property
    def fits_int8(self) -> bool:
        """Whether a chain of int8 convolutions is the array: target cells, no noise, at most 8 bits converted."""
        return (
            self.converter is not None
            and self.converter.bits <= 8
            and self.is_target
            and self.cells.read_variance is None
        )


def target_cells(mapped: MappedLayer) -> LayerCells:
    """Cells that hold exactly what they should: of a pair, one cell is empty."""
    positive, negative = target_levels(mapped)
    return LayerCells(positive.astype(np.float32), None if negative is None else negative.astype(np.float32))


def target_levels(mapped: MappedLayer) -> tuple[NDArray[np.int16], NDArray[np.int16] | None]:
    """Levels of G⁺ and G⁻ as they should be, in the form of `planes`; None where cells have no partner."""
    if not mapped.slicing.paired:
        return mapped.planes, None
    return np.maximum(mapped.planes, 0), np.maximum(-mapped.planes, 0)
