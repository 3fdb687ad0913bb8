"""Programming errors and read noise: sampled statistics are those of the formulas."""

import numpy as np
import pytest
from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.noise import read_sigma, uniform_sigma
from edgedet_nvm.device.programming import Programming, programmed, with_stuck_cells
from edgedet_nvm.device.spread import MeasuredSpread, RelativeSpread, SaturatingSpread, Spread, spread_na
from scipy import stats

CELL = Cell(level_count=16, i_max_na=1500.0, read_v=0.6)
MEASURED = Cell(
    level_count=3, i_max_na=200.0, off_na=1.0, read_v=0.6, mean_na=(1.0, 100.0, 200.0), sigma_na=(0.1, 4.0, 2.0)
)
SONOS = SaturatingSpread(law="saturating", a_na=19.88665, b_na=176.3115)
OF_G_MAX = RelativeSpread(law="relative", share=0.02, of="g_max")
OF_OWN = RelativeSpread(law="relative", share=0.02, of="own")


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [(OF_G_MAX, [30.0, 30.0, 30.0]), (OF_OWN, [0.0, 2.0, 30.0]), (SONOS, [0.0, 8.61, 19.88])],
    ids=["g_max", "own", "saturating"],
)
def test_a_law_gives_the_sigma_of_its_formula(spread: Spread, expected: list[float]):
    assert spread_na(spread, np.array([0.0, 100.0, 1500.0]), CELL, 15) == pytest.approx(expected, abs=0.01)


def test_the_saturating_law_gives_the_published_values_of_sonos():
    found = spread_na(SONOS, np.array([50.0, 200.0, 800.0, 1600.0]), CELL, 15)
    assert np.round(found, 1).tolist() == [4.9, 13.5, 19.7, 19.9]


def test_a_measured_law_follows_the_measured_levels():
    found = spread_na(MeasuredSpread(law="measured"), np.array([1.0, 100.0, 150.0]), MEASURED, 2)
    assert found == pytest.approx([0.1, 4.0, 3.0])


def test_g_max_is_that_of_the_slice_for_errors_and_for_noise_alike():
    for cell, top, expected_na in ((CELL, 3, 0.02 * 1500), (MEASURED, 2, 0.02 * 200), (MEASURED, 1, 0.02 * 100)):
        assert spread_na(OF_G_MAX, np.zeros(1), cell, top) == pytest.approx([expected_na])
        assert uniform_sigma(top, OF_G_MAX) == pytest.approx(expected_na / cell.level_na(top))


@pytest.mark.parametrize("spread", [OF_G_MAX, OF_OWN, SONOS], ids=["g_max", "own", "saturating"])
def test_programmed_currents_have_the_sigma_of_the_law_and_are_normal(spread: Spread):
    target_na = np.full(50_000, 800.0)
    found = programmed(target_na, 15, CELL, Programming(error=spread), rng())
    sigma_na = spread_na(spread, target_na[:1], CELL, 15)[0]
    assert found.std() == pytest.approx(sigma_na, rel=0.02)
    assert stats.kstest((found - 800) / sigma_na, "norm").pvalue > 0.01


def test_every_cell_has_a_draw_of_its_own_also_among_cells_of_one_level():
    found = programmed(np.full((100, 100), 800.0), 15, CELL, Programming(error=OF_OWN), rng())
    assert np.unique(found).size > 0.9 * found.size  # 65,536 different draws


def test_currents_are_never_negative():
    found = programmed(np.zeros(1000), 15, CELL, Programming(error=OF_G_MAX), rng())
    assert found.min() == 0
    assert found.max() > 0


def test_a_sweep_scales_the_same_draws():
    target_na = np.full(1000, 800.0)
    once, twice, never = (
        programmed(target_na, 15, CELL, Programming(error=SONOS, error_scale=scale), rng()) for scale in (1.0, 2.0, 0.0)
    )
    assert twice - target_na == pytest.approx(2 * (once - target_na))
    assert (never == target_na).all()


def test_a_measured_cell_errs_as_it_was_measured_unless_the_preset_says_otherwise():
    measured = Cell(level_count=3, i_max_na=300.0, read_v=0.5, mean_na=(0.0, 100.0, 300.0), sigma_na=(0.0, 5.0, 20.0))
    target_na = np.repeat([100.0, 200.0, 300.0], 20_000)
    found = programmed(target_na, 2, measured, Programming(), rng()).reshape(3, -1)
    assert found.std(axis=1) == pytest.approx([5, 12.5, 20], rel=0.03)
    other = programmed(target_na, 2, measured, Programming(error=OF_OWN), rng()).reshape(3, -1)
    assert other.std(axis=1) == pytest.approx(OF_OWN.share * np.array([100, 200, 300]), rel=0.03)
    assert (programmed(target_na, 2, measured, Programming(error_scale=0.0), rng()) == target_na).all()
    assert (programmed(target_na, 15, CELL, Programming(), rng()) == target_na).all()


def test_shares_of_cells_are_stuck():
    programming = Programming(stuck_on=0.02, stuck_off=0.05)
    found = with_stuck_cells(np.full(200_000, 800.0), CELL, programming, rng())
    assert np.mean(found == CELL.i_max_na) == pytest.approx(0.02, rel=0.05)
    assert np.mean(found == CELL.off_na) == pytest.approx(0.05, rel=0.05)
    assert np.mean(found == 800.0) == pytest.approx(0.93, rel=0.01)


@pytest.mark.parametrize("noise", [OF_G_MAX, OF_OWN, SONOS], ids=["g_max", "own", "saturating"])
def test_the_noise_of_a_column_is_that_of_its_cells_together(noise: Spread):
    rows, reads = 24, 20_000
    levels = rng().integers(0, 16, (rows, 2)).astype(np.float64)
    codes = rng().integers(0, 16, (1, rows))
    sigma = read_sigma(levels, 15, CELL, noise)
    formula = np.sqrt(codes.astype(np.float64) ** 2 @ sigma**2)[0]  # Gaussians add up to one: drawn once a column
    drawn = rng().standard_normal((reads, rows))  # cell by cell, of the first column
    sampled = (drawn * codes[0] * sigma[:, 0]).sum(axis=1)
    assert sampled.std() == pytest.approx(formula[0], rel=0.02)
    assert stats.kstest(sampled / formula[0], "norm").pvalue > 0.01
    assert formula[1] == pytest.approx(np.sqrt(np.sum((codes[0] * sigma[:, 1]) ** 2)))


def test_noise_of_g_max_is_the_same_in_all_cells_and_said_to_be():
    sigma = read_sigma(np.arange(8.0), 7, CELL, OF_G_MAX)
    assert sigma == pytest.approx(np.full(8, uniform_sigma(7, OF_G_MAX)))
    measured = Cell(level_count=3, i_max_na=300.0, read_v=0.5, mean_na=(0.0, 100.0, 300.0), sigma_na=(0.0, 5.0, 20.0))
    assert read_sigma(np.arange(2.0), 1, measured, OF_G_MAX) == pytest.approx(np.full(2, uniform_sigma(1, OF_G_MAX)))
    assert uniform_sigma(7, OF_OWN) is None
    assert uniform_sigma(7, SONOS) is None


def test_without_noise_sigma_is_0_everywhere():
    assert read_sigma(np.arange(4.0), 15, CELL, None).tolist() == [0, 0, 0, 0]
    assert uniform_sigma(15, None) == 0
