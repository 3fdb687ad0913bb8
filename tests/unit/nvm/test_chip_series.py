"""Chips one after the other in one session answer as each does in a session of its own."""

import numpy as np
import pytest
from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.chip_series import ChipSeries
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.preset import Preset, load_preset
from edgedet_nvm.sidecar import Sidecar, compile_package
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.package import Package

from tests.unit.nvm.small_packages import small_package
from tests.unit.quantized_networks import photo


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return small_package(tmp_path_factory.mktemp("models"))


def on_arrays(package: Package, preset: Preset) -> Sidecar:
    return compile_package(package, preset, preset.name, 0, "channels", "mse", [photo(number) for number in range(3)])


@pytest.mark.parametrize("name", ["nor-flash-65nm", "nor-flash-40nm", "sonos-40nm", "ideal"])
def test_a_series_gives_what_a_backend_for_each_chip_does(package: Package, name: str):
    preset = load_preset(name)
    sidecar = on_arrays(package, preset)
    series = ChipSeries(package, sidecar)
    aged = [] if preset.retention is None else [Chip(preset, 1, hours=100.0)]
    seen = []
    for chip in [Chip(preset, 0), Chip(preset, 7), *aged, Chip(preset, 0)]:
        found = series.chain(chip).run_input(photo(5))
        expected = prepare_chain(package, NvmBackend(sidecar, chip), whole=True).run_input(photo(5))
        np.testing.assert_array_equal(found["logits"], expected["logits"])
        seen.append(found["logits"])
    np.testing.assert_array_equal(seen[0], seen[-1])
    assert (seen[0] != seen[1]).any() == (name != "ideal")


def test_chips_without_read_noise_share_a_session_and_follow_their_cells(package: Package):
    preset = load_preset("nor-flash-65nm")
    quiet = preset.model_copy(update={"noise": None})
    sidecar = on_arrays(package, quiet)
    series = ChipSeries(package, sidecar)
    for chip in (Chip(quiet, 1), Chip(preset, 1), Chip(quiet, 2, corner="ff", temperature_c=85.0)):
        expected = prepare_chain(package, NvmBackend(sidecar, chip), whole=True).run_input(photo(6))
        np.testing.assert_array_equal(series.chain(chip).run_input(photo(6))["logits"], expected["logits"])
