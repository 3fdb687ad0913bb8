"""What the estimator counts with: energy, time and area of every part of a chip."""

from typing import Annotated

from pydantic import Field

from edgedet_nvm.device.record import NotNegative, Positive, Record


class Costs(Record):
    """Constants of circuits at tt, 25 °C."""

    supply_v: Positive
    """Supply that the column currents are drawn from while a pulse lasts."""
    pulse_ns: Positive
    """One time slot of a pulse: word line, cells and column settled."""
    word_line_v: Positive
    """Swing of a word line at the highest code."""
    gate_ff: NotNegative
    """Capacitance of a word line per cell: gate and wire."""
    driver_uw: NotNegative
    """Power of one word line's driver (DAC) while it drives a code other than 0."""
    adc_fj_per_step: NotNegative
    """Walden's figure of merit: a conversion takes FOM·2^bits."""
    adc_msps: Positive
    """Conversions of one converter, in millions a second."""
    columns_per_adc: Annotated[int, Field(ge=1)]
    """Outputs that share a converter, one after the other."""
    shift_add_pj: NotNegative
    """Shifting a code by its pulse's and slice's weight and adding it to a sum."""
    buffer_pj_per_byte: NotNegative
    """On-chip memory of activations, a read or a write."""
    idle_uw_per_tile: NotNegative
    """Leakage, references and clock of a tile, all the time."""
    cell_um2: NotNegative
    driver_um2: NotNegative
    """Of one word line."""
    adc_um2: NotNegative
    shift_add_um2: NotNegative
    """One per converter."""
    buffer_um2_per_byte: NotNegative
    buffer_bytes_per_tile: Annotated[int, Field(ge=0)]
