"""IR drop: the closed forms against a nodal solve, on tiles where ignoring the wires would err by 5 % and more."""

from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.ir_drop import crossbar_conductance, nor_coefficient, nor_conductance, path_shares
from edgedet_nvm.device.nodal import crossbar_currents, nor_currents
from edgedet_nvm.device.preset import Preset, load_preset

PAGE = " ".join((Path(__file__).parents[3] / "docs" / "nvm.md").read_text(encoding="utf-8").split())
SIDE = 64


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean(np.abs(found / exact - 1)))


def test_the_nodal_solve_of_one_cell_is_ohms_law():
    g = np.array([[1e-4]])
    assert crossbar_currents(g, np.array([[0.2]]), 100.0, 200.0) == pytest.approx(0.2 / (1e4 + 300))
    assert nor_currents(g, 100.0, 0.2) == pytest.approx(0.2 / (1e4 + 100))


def test_the_nodal_solve_of_two_nor_cells_is_that_of_the_ladder():
    found = nor_currents(np.array([[1e-4], [2e-4]]), 100.0, 0.2)
    far = 100 + 5000.0
    assert found == pytest.approx(0.2 / (100 + 1 / (1e-4 + 1 / far)))


def test_paths_share_the_segments_up_to_the_nearer_cell():
    assert path_shares(3).tolist() == [[1, 1, 1], [1, 2, 2], [1, 2, 3]]


@pytest.mark.parametrize(("i_max_ua", "read_v", "ohm"), [(2.0, 0.1, 1.8), (10.0, 0.2, 1.8)])
def test_a_crossbars_closed_form_is_within_two_percent_where_ignoring_wires_errs_by_five(
    i_max_ua: float, read_v: float, ohm: float
):
    rng = np.random.default_rng(1)
    conductance = rng.integers(0, 16, (SIDE, SIDE)) / 15 * i_max_ua * 1e-6 / read_v
    volts = rng.integers(0, 16, (8, SIDE)) / 15 * read_v
    exact = crossbar_currents(conductance, volts, ohm, ohm)
    assert relative(volts @ conductance, exact) >= 0.05
    assert relative(volts @ crossbar_conductance(conductance, ohm, ohm), exact) <= 0.02


def test_a_nor_arrays_closed_form_is_within_two_percent_where_ignoring_wires_errs_by_five():
    rng = np.random.default_rng(2)
    read_v, loop_ohm = 0.2, 1.8
    conductance = rng.integers(0, 16, (SIDE, SIDE)) / 15 * 20e-6 / read_v
    k = nor_coefficient(conductance, loop_ohm, read_v)
    for share_on in (0.2, 0.5, 0.8):
        on = conductance * (rng.random((SIDE, 1)) < share_on)
        ignored = on.sum(axis=0) * read_v
        exact = nor_currents(on, loop_ohm, read_v)
        assert relative(ignored / (1 + k * ignored), exact) <= 0.02
        at_mean = nor_conductance(conductance, np.full(SIDE, share_on), loop_ohm)
        assert relative((at_mean * (on > 0)).sum(axis=0) * read_v, exact) <= 0.02
        if share_on >= 0.5:
            assert relative(ignored, exact) >= 0.05


@pytest.mark.parametrize(
    ("name", "percent"), [("nor-flash-65nm", "2.4"), ("nor-flash-40nm", "3.7"), ("sonos-40nm", "1.8")]
)
def test_wires_of_a_preset_take_less_than_five_percent_at_usual_codes_and_the_closed_form_knows_them(
    name: str, percent: str
):
    preset = load_preset(name)
    lost = lost_to_wires(preset, preset.tile.rows)
    assert f"{100 * lost:.1f}" == percent
    assert f"{percent} % in `{name}`" in PAGE
    assert lost_to_wires(preset, 2 * preset.tile.rows) > 0.05  # it has the most rows that the rule allows


def lost_to_wires(preset: Preset, rows: int) -> float:
    """By the nodal solve, which the closed form must follow."""
    rng = np.random.default_rng(0)
    assert preset.wires is not None
    top, full_code = preset.cell.level_count - 1, 2**preset.drive.bits - 1
    levels = np.rint(np.abs(rng.normal(0, top / 4, (rows, 8)))).clip(max=top) * rng.integers(0, 2, (rows, 8))
    codes = rng.integers(1, full_code + 1, rows) * rng.integers(0, 2, rows)
    sums, k = codes @ levels, Chip(preset, 0).drop_coefficient(levels, full_code)
    siemens = preset.cell.i_max_na * 1e-9 / top / preset.cell.read_v
    loop_ohm = preset.wires.bit_line_ohm + preset.wires.source_line_ohm
    on = levels * codes[:, np.newaxis] / full_code * siemens
    exact = nor_currents(on, loop_ohm, preset.cell.read_v) / siemens / preset.cell.read_v * full_code
    assert relative(sums / (1 + k * sums), exact) < 0.015
    return relative(sums, exact)


def test_without_resistance_nothing_is_lost_and_empty_columns_have_no_coefficient():
    conductance = np.array([[1e-5, 0.0], [2e-5, 0.0]])
    assert (crossbar_conductance(conductance, 0.0, 0.0) == conductance).all()
    assert nor_coefficient(conductance, 0.0, 0.2).tolist() == [0.0, 0.0]
    assert nor_coefficient(conductance, 1.0, 0.2)[1] == 0.0
