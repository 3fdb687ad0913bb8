"""The grid of a sweep: chips, and the conditions that each of them is measured under."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError

from edgedet_nvm.device.adc import MAX_BITS
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.environment import CornerName
from edgedet_nvm.device.preset import AdcCircuit, Preset, Tile
from edgedet_nvm.device.record import NotNegative, Record
from edgedet_nvm.errors import OutOfRange


class Condition(Record):
    """Where and when a chip is read, and what differs from its preset."""

    corner: CornerName
    temperature_c: float
    hours: NotNegative
    sigma_scale: NotNegative
    """Multiplies the preset's σ of the programming error, its own `error_scale` included."""
    adc_bits: int | None
    """None: the preset reads currents exactly."""
    rows: int

    def chip(self, base: Preset, seed: int) -> Chip:
        """Chip `seed`; under all conditions of equal rows it has the same programming errors, up to their scale."""
        scale = self.sigma_scale * base.programming.error_scale
        programming = base.programming.model_copy(update={"error_scale": scale})
        preset = with_circuit(base, self.rows, self.adc_bits).model_copy(update={"programming": programming})
        return Chip(preset, seed, self.temperature_c, self.corner, self.hours)


def with_circuit(base: Preset, rows: int, adc_bits: int | None) -> Preset:
    """The preset with other rows and another converter; the same columns."""
    tile = Tile(rows=rows, columns=base.tile.columns)
    return base.model_copy(update={"tile": tile, "adc": None if adc_bits is None else AdcCircuit(bits=adc_bits)})


Axis = Annotated[tuple[NotNegative, ...], Field(min_length=1)]


class Grid(Record):
    """Every chip is measured under every combination of the rest."""

    chips: Annotated[int, Field(ge=1)]
    """How many; their seeds are 0, 1, 2, …"""
    corners: Annotated[tuple[CornerName, ...], Field(min_length=1)] = ("tt",)
    temperatures_c: Annotated[tuple[float, ...], Field(min_length=1)] = (25.0,)
    hours: Axis = (0.0,)
    sigma_scales: Axis = (1.0,)
    adc_bits: tuple[Annotated[int, Field(ge=1, le=MAX_BITS)], ...] = ()
    """Empty: as the preset has it."""
    rows: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()
    """Empty: as the preset has it."""

    def conditions(self, base: Preset) -> tuple[Condition, ...]:
        """All conditions of a preset, in the order in which they are measured; those of equal converters together.

        Raises:
            OutOfRange: one that the preset does not hold for, or that would change nothing; the message says which.
        """
        if base.programming.error_of(base.cell) is None and self.sigma_scales != (1.0,):
            raise OutOfRange(f"sigma_scales: {base.name} has no programming error to scale; add programming.error")
        if base.adc is None and self.adc_bits:
            raise OutOfRange(f"adc_bits: {base.name} reads currents exactly; add an [adc] section")
        preset_bits = None if base.adc is None else base.adc.bits
        found = tuple(
            Condition(
                corner=corner, temperature_c=temperature_c, hours=hours, sigma_scale=scale, adc_bits=bits, rows=rows
            )
            for rows, bits, scale, corner, temperature_c, hours in itertools.product(
                _each_once(self.rows or (base.tile.rows,)),
                _each_once(self.adc_bits or (preset_bits,)),
                _each_once(self.sigma_scales),
                _each_once(self.corners),
                _each_once(self.temperatures_c),
                _each_once(self.hours),
            )
        )
        for condition in found:
            condition.chip(base, 0)  # refuses what the preset does not hold for
        return found


def make_grid(**fields: object) -> Grid:
    """A grid out of a user's options.

    Raises:
        OutOfRange: a value that does not fit; the message names the option.
    """
    try:
        return Grid.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        if first["type"] == "too_short":
            raise OutOfRange(f"--{option}: is empty; give one value or more, apart by commas") from error
        raise OutOfRange(f"--{option}: {first['input']!r}: {first['msg']}") from error


def _each_once(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
