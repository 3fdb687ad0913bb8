"""One chip of a preset: cells as that chip has them, the same for every photo, thread and order of questions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.device.environment import CornerName, apparent_na, reference_shift
from edgedet_nvm.device.ir_drop import crossbar_conductance, nor_coefficient, nor_conductance
from edgedet_nvm.device.noise import read_sigma, uniform_sigma
from edgedet_nvm.device.normal_draws import keyed_bits
from edgedet_nvm.device.preset import Preset
from edgedet_nvm.device.programming import programmed, with_stuck_cells
from edgedet_nvm.device.retention import aged
from edgedet_nvm.errors import OutOfRange

_AMPERE_PER_NA = 1e-9
_REFERENCE_C = 25.0
# So many that all steps from target to level find their numbers in the processor's cache.
_CELLS_AT_ONCE = 1 << 15


@dataclass(frozen=True, slots=True)
class Chip:
    """Chip number `seed` of a preset, at a temperature and corner, `hours` after programming.

    Draws depend on the seed and on a key that names the cells, on nothing else: a chip keeps its programming error
    over temperatures and hours.

    Raises:
        OutOfRange: an hour or a temperature that the preset does not hold for.
    """

    preset: Preset
    seed: int
    temperature_c: float = _REFERENCE_C
    corner: CornerName = "tt"
    hours: float = 0.0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OutOfRange(f"seed: {self.seed} must not be negative")
        if self.corner not in get_args(CornerName):
            raise OutOfRange(f"corner: there is no {self.corner!r}; give one of {', '.join(get_args(CornerName))}")
        if self.preset.environment is None and (self.corner != "tt" or self.temperature_c != _REFERENCE_C):
            raise OutOfRange(f"temperature_c, corner: {self.preset.name} is known at 25 °C, tt only; add [environment]")
        if self.preset.retention is None and self.hours:
            raise OutOfRange(f"hours: {self.preset.name} is known at 0 h only; add a [retention] section")
        self.effective_levels(np.zeros(1, np.int64), "")  # refuses what the sections do not hold for

    @property
    def is_ideal(self) -> bool:
        """Whether cells carry exactly their target and reads neither vary nor lose current; then no wire is read."""
        preset = self.preset
        programming = preset.programming
        return not (
            programming.error or programming.stuck_on or programming.stuck_off or preset.cell.off_na
            or preset.cell.is_measured or preset.retention or preset.environment or preset.noise or preset.wires
        )  # fmt: skip

    def effective_levels(
        self, target_levels: NDArray[np.integer], key: str, top: int | None = None, grid_bits: int | None = 7
    ) -> NDArray[np.float32]:
        """What cells programmed to `target_levels` are worth in a read, in level units, same shape.

        Args:
            target_levels: integers 0 … top.
            key: names these cells (layer, slice, sign); the same key and shape draw the same errors.
            top: highest level of the slice, which fills the cell's range; without it, all of the cell's levels.
            grid_bits: results are multiples of 2^-grid_bits, so that float32 sums of them are exact (see
                `exact_grid_bits`); None: no grid.

        Raises:
            OutOfRange: levels that the cell does not have.
        """
        cell, top = self.preset.cell, top or self.preset.cell.level_count - 1
        if self.is_ideal:
            cell.target_na(target_levels, top)  # refuses the same levels
            return target_levels.astype(np.float32)
        draws = self._generators(key)
        found = np.empty(target_levels.shape, np.float32)
        source, result = target_levels.reshape(-1), found.reshape(-1)
        for first in range(0, len(source), _CELLS_AT_ONCE):
            block = slice(first, first + _CELLS_AT_ONCE)
            levels = self._current_na(source[block], top, draws) / cell.level_na(top)
            result[block] = levels if grid_bits is None else on_grid(levels, grid_bits)
        return found

    def read_sigma(self, levels: NDArray[np.float64], top: int | None = None) -> NDArray[np.float64]:
        """σ of one read of cells that are worth `levels`, in level units, same shape."""
        cell = self.preset.cell
        return read_sigma(levels, top or cell.level_count - 1, cell, self.preset.noise)

    def uniform_sigma(self, top: int | None = None) -> float | None:
        """σ of one read in level units where all cells have the same, else None."""
        return uniform_sigma(top or self.preset.cell.level_count - 1, self.preset.noise)

    def after_wires(
        self, levels: NDArray[np.float64], mean_input: NDArray[np.float64], top: int | None = None
    ) -> NDArray[np.float64]:
        """What wires leave of the levels [rows, columns] of one tile, linear in the inputs.

        Of a NOR array at mean inputs [rows], shares of the highest code; of a crossbar whatever the inputs are. Either
        this or `drop_coefficient`.
        """
        wires = self.preset.wires
        if wires is None:
            return levels
        siemens = self._siemens_per_level(top)
        if wires.topology == "nor":
            return nor_conductance(levels * siemens, mean_input, wires.bit_line_ohm + wires.source_line_ohm) / siemens
        return crossbar_conductance(levels * siemens, wires.word_line_ohm, wires.bit_line_ohm) / siemens

    def drop_coefficient(
        self, levels: NDArray[np.float64], full_code: int, top: int | None = None
    ) -> NDArray[np.float64]:
        """k [columns] of S/(1 + k·S) for a NOR tile [rows, columns]; S = Σ code·level, `full_code` is a cell fully on.

        It follows each photo's codes. Of a crossbar 0: `after_wires` is all there is to it.
        """
        wires = self.preset.wires
        if wires is None or wires.topology == "crossbar":
            return np.zeros(levels.shape[1])
        siemens, read_v = self._siemens_per_level(top), self.preset.cell.read_v
        per_ampere = nor_coefficient(levels * siemens, wires.bit_line_ohm + wires.source_line_ohm, read_v)
        return per_ampere * siemens * read_v / full_code

    def _siemens_per_level(self, top: int | None) -> float:
        """Of what is on the wires: a level is what the converter takes a cell for, before its reference moved."""
        cell, preset, reference = self.preset.cell, self.preset, 1.0
        if preset.environment is not None:
            assert preset.transistor is not None  # the preset checks it
            reference = reference_shift(self.temperature_c, self.corner, preset.environment, preset.transistor)
        return cell.level_na(top or cell.level_count - 1) * reference * _AMPERE_PER_NA / cell.read_v

    def _current_na(
        self, levels: NDArray[np.integer], top: int, draws: Mapping[str, np.random.Generator]
    ) -> NDArray[np.float64]:
        preset, cell = self.preset, self.preset.cell
        programming, transistor = preset.programming, preset.transistor
        current_na = programmed(cell.target_na(levels, top), top, cell, programming, draws["programming"])
        if preset.retention is not None:
            current_na = aged(current_na, self.hours, preset.retention, transistor, draws["retention"])
        if programming.stuck_on or programming.stuck_off:  # at any age
            current_na = with_stuck_cells(current_na, cell, programming, draws["stuck"])
        if preset.environment is not None:
            assert transistor is not None  # the preset checks it
            current_na = apparent_na(current_na, self.temperature_c, self.corner, preset.environment, transistor)
        return current_na

    def _generators(self, key: str) -> dict[str, np.random.Generator]:
        """Random numbers of the effects on the cells that `key` names: effects do not shift each other's draws."""
        return {
            effect: np.random.Generator(keyed_bits(f"{self.seed}|{effect}|{key}".encode()))
            for effect in ("programming", "stuck", "retention")
        }


def on_grid(levels: NDArray[np.float64], grid_bits: int) -> NDArray[np.float64]:
    """The nearest multiples of 2^-grid_bits."""
    rounded: NDArray[np.float64] = np.rint(levels * 2.0**grid_bits) * 0.5**grid_bits
    return rounded


def exact_grid_bits(rows: int, max_code: int, max_level: float) -> int:
    """The finest grid 2^-k on which every partial sum of a column fits float32's 24 bits: k = 24 - log2(Σ at most).

    Negative if not even whole levels do; then sums are rounded, and could differ between machines.
    """
    return 24 - math.ceil(math.log2(rows * max_code * max_level))
