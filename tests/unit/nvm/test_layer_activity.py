"""Activity out of whole maps is that of every tile's word lines, counted one by one."""

from dataclasses import asdict

import numpy as np
import onnx
import pytest
from edgedet_nvm.device.estimator import Activity, side_by_side, tile_activity
from edgedet_nvm.device.inputs import full_code
from edgedet_nvm.device.preset import Preset, load_preset
from edgedet_nvm.device.slices import Slices
from edgedet_nvm.layer_activity import LayerCounter
from edgedet_nvm.mapping import MappedLayer, map_network
from edgedet_nvm.oracle import run_oracle
from edgedet_nvm.sidecar import preset_arrays
from edgedet_runtime.backends.reference import sliding_windows
from edgedet_runtime.quantized_graph import read_quantized_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.quantized_networks import network, photo


def preset(rows: int, columns: int, signs: str) -> Preset:
    base = load_preset("nor-flash-65nm")
    slices = Slices(signs=signs, bits_per_cell=4 if signs == "differential" else 1)
    return base.model_copy(
        update={"tile": base.tile.model_copy(update={"rows": rows, "columns": columns}), "slices": slices}
    )


def word_lines(mapped: MappedLayer, codes: np.ndarray) -> np.ndarray:
    """Codes [groups, positions, rows], the zero point where the kernel reaches beyond the map."""
    if mapped.layer.op == "Gemm":
        return codes.reshape(1, 1, -1)
    centered = sliding_windows(codes.astype(np.float64) - mapped.zero_point, mapped.layer)
    raw = (centered + mapped.zero_point).astype(np.uint8)
    by_group = raw.reshape(mapped.group, -1, int(np.prod(mapped.pixels)), int(np.prod(raw.shape[3:])))
    return by_group.transpose(0, 2, 1, 3).reshape(mapped.group, by_group.shape[2], -1)


def one_by_one(mapped: MappedLayer, codes: np.ndarray, chip: Preset) -> Activity:
    cells = 2 if mapped.slicing.paired else 1
    outputs = mapped.outputs // mapped.group
    per_array = chip.tile.columns // cells
    lines = word_lines(mapped, codes)
    parts = []
    for group in range(mapped.group):
        own = mapped.planes[:, group * outputs : (group + 1) * outputs].reshape(len(mapped.planes), outputs, -1)
        for held in mapped.tile_cells.reshape(mapped.tiles, -1):
            pulses = np.stack([pulse.of(lines[group][:, held]) for pulse in mapped.pulses])
            for plane, top in zip(own[..., held], mapped.slicing.highest_levels, strict=True):
                for first in range(0, outputs, per_array):
                    signed = plane[first : first + per_array].T.astype(np.int64)
                    levels = np.hstack([signed.clip(0), (-signed).clip(0)]) if cells == 2 else signed
                    parts.append(tile_activity(pulses, levels, top, full_code(mapped.pulses), chip))
    return side_by_side(parts, mapped.layer.macs)


@settings(max_examples=8)
@given(
    st.integers(0, 100),
    st.sampled_from([1, 2]),
    st.sampled_from(["channels", "kernel"]),
    st.sampled_from([(40, 10, "differential"), (576, 7, "differential"), (80, 9, "twos-complement")]),
)
def test_every_layer_is_counted_as_its_tiles_are_one_by_one(
    seed: int, group: int, cut: str, arrays: tuple[int, int, str]
):
    chip, model = preset(*arrays), network(seed, group=group)
    graph = read_quantized_graph(model)
    tensors = run_oracle(model, {}, {"image": photo(seed)}, {}).tensors
    layers = map_network(graph, preset_arrays(graph, chip, cut)).layers
    assert len(layers) >= 5
    for mapped in layers:
        codes = tensors[mapped.layer.inputs[0].name]
        found, expected = LayerCounter.of(mapped, chip).count(codes), one_by_one(mapped, codes, chip)
        assert asdict(found) == pytest.approx(asdict(expected)), mapped.name


def test_the_highest_code_of_a_four_bit_network_is_fully_on_whatever_the_drivers_could(
    four_bit_network: onnx.ModelProto,
):
    base, graph, counted = preset(576, 256, "differential"), read_quantized_graph(four_bit_network), []
    for bits in (4, 8):
        chip = base.model_copy(update={"drive": base.drive.model_copy(update={"bits": bits})})
        layers = map_network(graph, preset_arrays(graph, chip, "channels")).layers
        mapped = next(layer for layer in layers if layer.name == "body")
        codes = np.full(mapped.layer.inputs[0].shape, 15, np.uint8)
        counted.append(LayerCounter.of(mapped, chip).count(codes).full_cell_reads)
    assert counted[0] == pytest.approx(counted[1])
