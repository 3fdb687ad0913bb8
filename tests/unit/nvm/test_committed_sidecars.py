"""The sidecars in models/ fit the packages beside them, and the presets that they name."""

from pathlib import Path

import pytest
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.sidecar import map_package, preset_arrays, read_sidecar, sidecar_folder
from edgedet_runtime.package import load_package
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import load_network

MODELS = Path(__file__).parents[3] / "models"
SIDECARS = sorted(file.parent for file in MODELS.glob("*/*/nvm.json"))


@pytest.mark.parametrize("folder", SIDECARS, ids=lambda folder: folder.parent.name)
def test_a_sidecar_fits_its_package_and_its_preset(folder: Path):
    name, _, preset_name = folder.parent.name.partition("-nvm-")
    package, preset = load_package(MODELS / name / folder.name), load_preset(preset_name)
    assert folder == sidecar_folder(package, preset_name)
    sidecar = read_sidecar(folder, package, preset)
    graph = read_quantized_graph(load_network(package.path("model.onnx")))
    assert sidecar.arrays == preset_arrays(graph, preset, sidecar.cut)
    assert sidecar.ranges is not None
    mapped = [layer.name for layer in map_package(package, preset, sidecar.cut).layers]
    assert list(sidecar.ranges.saturation()) == mapped


def test_every_package_has_a_sidecar_for_the_preset_of_the_compose_profile():
    packages = {file.parent.parent.name for file in MODELS.glob("*/*/manifest.json")}
    assert {f"{name}-nvm-nor-flash-40nm" for name in packages} <= {folder.parent.name for folder in SIDECARS}
