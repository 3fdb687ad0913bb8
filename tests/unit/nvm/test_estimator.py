"""Energy, time and area: a tile counted by hand, and the comparison with published chips."""

import numpy as np
import pytest
from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.estimator import Activity, estimate, side_by_side, tile_activity
from edgedet_nvm.device.inputs import pulses_of
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.device.published import PUBLISHED, comparison, reference_activity
from edgedet_nvm.errors import PresetRefused

NOR = load_preset("nor-flash-65nm")
CODES = np.array([[0, 15, 240], [0, 0, 255]], np.uint8)  # 2 positions, 3 rows
PULSES = np.stack([pulse.of(CODES) for pulse in pulses_of(255, NOR.drive.bits)])
LEVELS = np.array([[15, 0, 15, 0], [7, 0, 0, 3], [0, 0, 15, 0]])  # 2 differential weights


def counted() -> Activity:
    return tile_activity(PULSES, LEVELS, 15, 15, NOR)


def test_a_tile_is_counted_from_the_codes_that_were_seen():
    found = counted()
    assert (found.macs, found.tiles, found.reads) == (2 * 3 * 2, 1, 4)
    assert found.driver_events == 4  # 15 → (15, 0); 240 → (0, 15); 255 → (15, 15)
    assert found.gate_events == 4 * 4
    assert found.full_cell_reads == pytest.approx(10 / 15 + 3 * 15 / 15)
    assert found.conversions == found.shift_adds == 4 * 2
    assert found.buffer_bytes == 4 * (2 + 2 * 2)


def test_energy_is_the_sum_of_its_parts_in_picojoules():
    found = estimate([counted()], NOR).energy_uj
    assert found.array == pytest.approx(3.6666667 * 2e-6 * 1.2 * 100e-9 * 1e6)
    assert found.drivers == pytest.approx((4 * 31.2e-6 * 100e-9 + 16 * 0.2e-15 * 2.5**2) * 1e6)
    assert found.adc == pytest.approx(8 * 19.9e-15 * 256 * 1e6)
    assert found.shift_add == pytest.approx(8 * 0.26e-12 * 1e6)
    assert found.buffer == pytest.approx(24 * 3.2e-12 * 1e6)
    assert found.idle == pytest.approx(50e-6 * 4 * 100e-9 * 1e6)
    assert found.total == pytest.approx(
        found.array + found.drivers + found.adc + found.shift_add + found.buffer + found.idle
    )


def test_measured_cells_carry_what_was_measured_also_where_a_slice_takes_the_lower_levels():
    means = (0.0, 10.0, 30.0, 40.0, *(100.0 * level for level in range(4, 16)))
    cell = Cell(level_count=16, i_max_na=1500.0, off_na=0.0, read_v=0.6, mean_na=means, sigma_na=(0.0,) * 16)
    measured = NOR.model_copy(update={"cell": cell})
    found = tile_activity(PULSES[:1], np.array([[3, 0], [1, 2], [0, 0]]), 3, 15, measured)
    assert NOR.costs is not None
    # Pulses: 15 and 15 on the first row (of codes 15 and 255's low half), 0 on the second.
    low = PULSES[0].sum(axis=0) / 15
    expected_na = low[0] * 40 + low[1] * (10 + 30)
    assert found.full_cell_reads == pytest.approx(expected_na / 1500)
    energy = estimate([found], measured).energy_uj.array
    assert energy == pytest.approx(expected_na * 1e-9 * NOR.costs.supply_v * NOR.costs.pulse_ns * 1e-9 * 1e6)


def test_a_photo_without_a_code_costs_conversions_but_neither_current_nor_drivers():
    dark = tile_activity(np.zeros_like(PULSES), LEVELS, 15, 15, NOR)
    found = estimate([dark], NOR).energy_uj
    assert found.array == found.drivers == 0
    assert found.adc == estimate([counted()], NOR).energy_uj.adc


def test_tiles_of_a_layer_read_together_and_layers_one_after_the_other():
    layer = side_by_side([counted(), counted()], macs=24)
    assert (layer.macs, layer.tiles, layer.reads, layer.conversions) == (24, 2, 4, 16)
    one, two = estimate([layer], NOR), estimate([layer, layer], NOR)
    assert one.time_ms == pytest.approx(4 * 100e-6)
    assert (two.time_ms, two.interval_ms) == pytest.approx((2 * one.time_ms, one.time_ms))
    assert two.energy_uj.adc == pytest.approx(2 * one.energy_uj.adc)
    assert two.area_mm2.total == pytest.approx(2 * one.area_mm2.total)


def test_a_read_takes_the_longer_of_settling_and_converting():
    assert NOR.costs is not None
    slow = NOR.model_copy(update={"costs": NOR.costs.model_copy(update={"columns_per_adc": 32})})
    wide = NOR.model_copy(update={"drive": NOR.drive.model_copy(update={"kind": "pulse-width"})})
    assert estimate([counted()], slow).time_ms == pytest.approx(4 * 320e-6)
    assert estimate([counted()], wide).time_ms == pytest.approx(4 * 15 * 100e-6)


def test_operations_are_two_a_mac():
    found = estimate([counted()], NOR)
    assert found.tops == pytest.approx(2 * 12 / (found.interval_ms * 1e-3) / 1e12)
    assert found.tops_per_watt == pytest.approx(2 * 12 / (found.energy_uj.total * 1e-6) / 1e12)


def test_a_network_without_a_layer_on_the_chip_costs_nothing():
    found = estimate([], NOR)
    assert (found.energy_uj.total, found.time_ms, found.area_mm2.total, found.tops, found.tops_per_watt) == (0,) * 5


def test_area_counts_whole_tiles():
    found = estimate([counted()], NOR).area_mm2
    assert found.array == pytest.approx(576 * 256 * 0.46e-6)
    assert found.adc == pytest.approx(16 * 4951e-6)
    assert found.idle == 0


def test_a_preset_without_costs_is_refused():
    with pytest.raises(PresetRefused, match="costs, adc: ideal has not both; add the sections"):
        estimate([counted()], load_preset("ideal"))


def test_the_reference_activity_has_the_density_that_it_claims():
    found = reference_activity(NOR, 4, 7, positions=16)
    events = 16 * NOR.tile.rows
    assert found.macs == events * 128
    assert found.driver_events == pytest.approx(events / 2, rel=0.05)
    assert reference_activity(NOR, 8, 127, positions=16).tiles == 2


def test_published_chips_stand_beside_ours_with_reasons():
    rows = comparison()
    assert [row.published.tops_per_watt for row in rows] == [35.6, 7.48, 20.0]
    for row, chip in zip(rows, PUBLISHED, strict=True):
        assert row.published is chip
        assert len(chip.reasons) > 50
        assert 0 < row.adc_share < 1
        assert chip.tops_per_watt / 20 < row.tops_per_watt < chip.tops_per_watt * 20
