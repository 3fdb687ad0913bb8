"""ADC ranges from photos: what clips, how fine steps are, and how near converted networks stay to the digital one."""

import numpy as np
import pytest
from edgedet_nvm.calibration import AdcRanges, Method, calibrate
from edgedet_nvm.cells import LayerPlan, target_cells
from edgedet_nvm.mapping import Arrays, MappedLayer, map_network
from edgedet_nvm.oracle import run_oracle
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.quantized_graph import read_quantized_graph

from tests.unit.quantized_networks import network, photo

MODEL = network(11)
LAYERS = map_network(read_quantized_graph(MODEL), Arrays(36, 256, Slicing.differential(15, 7), pulse_bits=4)).layers
PHOTOS = [{"image": photo(seed)} for seed in range(6)]


def plans(ranges: AdcRanges) -> dict[str, LayerPlan]:
    return {layer.name: LayerPlan(layer, ranges.converters[layer.name], target_cells(layer)) for layer in LAYERS}


def clipped(ranges: AdcRanges, layer: MappedLayer) -> tuple[int, int]:
    """Conversions of a layer's first photo: those that clip, and all; its input is the digital network's."""
    own = {layer.name: plans(ranges)[layer.name]}
    counts = [run_oracle(MODEL, own, image, {}).saturated[layer.name].sum() for image in PHOTOS]
    return sum(map(int, counts)), len(PHOTOS) * layer.conversions * layer.outputs * int(np.prod(layer.pixels))


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_min_max_ranges_clip_nothing_of_the_photos_they_saw(bits: int):
    ranges = calibrate(MODEL, LAYERS, bits, "min-max", PHOTOS)
    assert sum(ranges.saturation().values()) == 0
    assert [clipped(ranges, layer)[0] for layer in LAYERS] == [0] * len(LAYERS)


@pytest.mark.parametrize("method", ["p99.9", "mean-4-sigma", "mse"])
def test_the_told_saturation_is_what_the_oracle_counts(method: Method):
    ranges = calibrate(MODEL, LAYERS, 5, method, PHOTOS)
    for layer in LAYERS:
        some, every = clipped(ranges, layer)
        assert ranges.saturation()[layer.name] == pytest.approx(some / every, abs=1.5e-3)


def test_no_step_is_finer_than_one_level_and_all_are_powers_of_two_apart():
    ranges = calibrate(MODEL, LAYERS, 12, "mse", PHOTOS)
    for converter in ranges.converters.values():
        assert (np.ldexp(converter.step, converter.shifts) >= 1).all()


@pytest.mark.parametrize("method", ["min-max", "p99.9", "mean-4-sigma", "mse"])
def test_more_bits_bring_the_logits_nearer_to_the_digital_ones(method: Method):
    digital = run_oracle(MODEL, {}, PHOTOS[0], {}).tensors["logits"]
    errors = []
    for bits in (4, 7, 10):
        converted = run_oracle(MODEL, plans(calibrate(MODEL, LAYERS, bits, method, PHOTOS)), PHOTOS[0], {}).tensors
        errors.append(float(np.abs(converted["logits"] - digital).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_ranges_survive_their_json():
    ranges = calibrate(MODEL, LAYERS, 8, "mse", PHOTOS[:1])
    assert AdcRanges.model_validate_json(ranges.model_dump_json()) == ranges


def test_calibration_without_photos_is_refused():
    with pytest.raises(ValueError, match="no photos; give at least one"):
        calibrate(MODEL, LAYERS, 8, "mse", [])
