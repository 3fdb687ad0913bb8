"""Cells: currents of levels, equally spaced or measured, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm.device.cell import Cell, measured_fields
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.device.transistor import BOLTZMANN_V_PER_K, REFERENCE_K, Transistor
from edgedet_nvm.errors import LevelsRefused, OutOfRange
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

CELL = Cell(level_count=16, i_max_na=1500.0, off_na=0.5, read_v=0.6)
TRANSISTOR = Transistor(specific_na=130.0, slope_factor=1.4)
LINES = ["level,mean_na,sigma_na", "0,0.1,0.01", "1,90,2", "2,210,3", "3,300,3"]


def written(folder: Path, lines: list[str]) -> Path:
    file = folder / "levels.csv"
    file.write_text("\n".join(lines))
    return file


def test_levels_are_equally_spaced_and_level_0_carries_the_off_current():
    assert CELL.target_na(np.arange(16), 15).tolist() == [0.5, *(100.0 * level for level in range(1, 16))]


def test_a_slice_with_fewer_levels_fills_the_same_range():
    assert CELL.target_na(np.array([0, 3, 7]), 7).tolist() == pytest.approx([0.5, 3 * 1500 / 7, 1500])


@pytest.mark.parametrize(("levels", "top"), [([16], 15), ([-1], 15), ([8], 7)])
def test_levels_that_the_cell_does_not_have_are_refused(levels: list[int], top: int):
    with pytest.raises(OutOfRange, match=f"not within 0…{top}"):
        CELL.target_na(np.array(levels), top)


def test_a_slice_of_more_levels_than_the_cell_is_refused():
    with pytest.raises(OutOfRange, match="top: 16 is no level of a cell with 16; give 1…15"):
        CELL.target_na(np.array([0]), 16)


def test_a_cells_share_of_full_current_is_that_of_its_target_and_nothing_at_level_0():
    assert CELL.full_shares(np.array([0, 3, 7]), 7) == pytest.approx([0, 3 / 7, 1])
    measured = Cell(level_count=3, i_max_na=300.0, off_na=1.0, read_v=0.6, mean_na=(1, 90, 300), sigma_na=(0, 0, 0))
    assert measured.full_shares(np.array([0, 1]), 1) == pytest.approx([0, 0.3])
    assert measured.full_shares(np.array([0, 1, 2]), 2) == pytest.approx([0, 0.3, 1])


def test_measured_levels_and_a_contradicting_range_are_refused():
    with pytest.raises(ValidationError, match="off_na and i_max_na: of measured levels, the first and the last"):
        Cell(level_count=2, i_max_na=2000.0, off_na=1.0, read_v=0.6, mean_na=(1.0, 200.0), sigma_na=(0.0, 0.0))


def test_a_measured_cell_has_the_currents_of_its_file(tmp_path: Path):
    cell = Cell(**measured_fields(written(tmp_path, LINES)), read_v=0.5)
    assert (cell.level_count, cell.i_max_na, cell.off_na) == (4, 300, 0.1)
    assert cell.target_na(np.array([[3, 1], [2, 0]]), 3).tolist() == [[300, 90], [210, 0.1]]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path):
    file = tmp_path / "levels.csv"
    file.write_text("\n".join(LINES), encoding="utf-8-sig")
    assert measured_fields(file)["level_count"] == 4


def test_a_slice_takes_the_lowest_levels_of_a_measured_cell(tmp_path: Path):
    cell = Cell(**measured_fields(written(tmp_path, LINES)), read_v=0.5)
    assert cell.target_na(np.array([0, 1, 2]), 2).tolist() == [0.1, 90, 210]
    assert (cell.level_na(2), cell.level_na(3)) == (105, 100)
    with pytest.raises(
        OutOfRange, match=r"top: 4 is no level of a cell with 4; give 1…3, by fewer slices\.bits_per_cell"
    ):
        cell.target_na(np.array([0]), 4)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (3, "3,210,3", r"line 4: level 3 follows level 1; level 2 is missing"),
        (3, "1,210,3", r"line 4: level 1 comes twice"),
        (3, "2,,3", r"line 4: mean_na '' is not a number; fill it in"),
        (3, "2,210", r"line 4: sigma_na '' is not a number"),
        (3, "2,many,3", r"line 4: mean_na 'many' is not a number"),
        (3, "2,2_10,3", r"line 4: mean_na '2_10' is not a number"),
        (3, f"2,{'x' * 300},3", r"line 4: mean_na 'x{40}' is not a number"),
        (3, f"2,{'x' * 200_000},3", r"is no CSV of levels: field larger than field limit"),
        (3, "2.5,210,3", r"line 4: level 2\.5 is no whole number"),
        (1, "4,0.1,0.01", r"line 2: level 4 comes first; level 0 is missing"),
        (4, "3,1e9,3", r"line 5: mean_na 1e\+09 exceeds 100,000 nA"),
        (3, "2,80,3", r"line 4: mean_na 80 does not exceed the 90 of the level below"),
        (3, "2,210,-3", r"line 4: sigma_na -3 must be finite and not negative"),
        (3, "2,nan,3", r"line 4: mean_na nan must be finite"),
        (3, "2,210,3,junk", r"line 4: there are more than 3 values; give level, mean_na, sigma_na"),
        (0, "level,current,sigma_na", r"line 1: the columns must be level, mean_na, sigma_na"),
    ],
)
def test_a_file_with_a_hole_a_duplicate_or_nonsense_is_refused_with_its_line(
    tmp_path: Path, line: int, text: str, message: str
):
    lines = [*LINES]
    lines[line] = text
    with pytest.raises(LevelsRefused, match=message):
        measured_fields(written(tmp_path, lines))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[:2], "2…256 levels, here are 1"),
        ([], "line 1"),
        ([LINES[0], *(f"{level},{level},0" for level in range(257))], "2…256 levels, here are 257"),
    ],
)
def test_a_file_without_levels_is_refused(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(LevelsRefused, match=message):
        measured_fields(written(tmp_path, lines))


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(
        LevelsRefused, match=r"nowhere\.csv: cannot be read \(No such file or directory\); cell\.measured is"
    ):
        measured_fields(tmp_path / "nowhere.csv")


def test_a_preset_of_ones_own_takes_a_measured_cell(tmp_path: Path):
    written(tmp_path, LINES)
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ndescription = ""\ncell = { measured = "levels.csv", read_v = 0.5 }\n'
        'slices = { signs = "differential", bits_per_cell = 2 }\ntile = { rows = 64, columns = 64 }\n'
        'drive = { kind = "amplitude", bits = 4 }\nprogramming = { error = { law = "measured" } }\n'
    )
    assert load_preset(str(file)).cell.mean_na == (0.1, 90, 210, 300)


@settings(max_examples=50)
@given(st.floats(1e-3, 1e5))
def test_overdrive_and_current_are_each_others_inverse(current_na: float):
    found = TRANSISTOR.current_na(TRANSISTOR.overdrive_v(np.asarray(current_na)))
    assert float(found) == pytest.approx(current_na, rel=1e-9)


def test_overdrive_stays_finite_far_above_threshold():
    current_na = np.array([1e6 * TRANSISTOR.specific_na])
    assert TRANSISTOR.current_na(TRANSISTOR.overdrive_v(current_na)) == pytest.approx(current_na)


def test_a_transistor_is_exponential_below_threshold_and_quadratic_above():
    swing_v = 1.4 * BOLTZMANN_V_PER_K * REFERENCE_K
    below = TRANSISTOR.current_na(np.array([-1.0, -1.0 + swing_v]))
    above = TRANSISTOR.current_na(np.array([2.0, 4.0]))
    assert below[1] / below[0] == pytest.approx(np.e, rel=1e-3)
    assert above[1] / above[0] == pytest.approx(4.0, rel=1e-3)
    assert TRANSISTOR.current_na(TRANSISTOR.overdrive_v(np.zeros(1))).tolist() == [0.0]
