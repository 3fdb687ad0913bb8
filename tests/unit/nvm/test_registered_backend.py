"""The backend `nvm` by its name: which sidecar and which chip a package gets."""

from pathlib import Path

import edgedet_nvm.device.preset as presets
import numpy as np
import pytest
from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.sidecar import compile_package, write_sidecar
from edgedet_runtime.backend import load_backend
from edgedet_runtime.errors import PackageRefused, RuntimeFault
from edgedet_runtime.package import Package, load_package

SONOS = "sonos-40nm"


@pytest.fixture
def package(models: Path, tmp_path: Path) -> Package:
    """ResNet-20 in a folder of its own."""
    folder = tmp_path / "resnet20-cifar10"
    folder.mkdir()
    (folder / "1").symlink_to(models / "resnet20-cifar10" / "1")
    return load_package(folder / "1")


def test_a_preset_without_an_adc_needs_no_sidecar(package: Package):
    backend = load_backend("nvm", preset="ideal", chip=5).for_package(package)
    assert backend.hardware is not None
    assert (backend.name, backend.hardware.preset, backend.hardware.chip) == ("nvm", "ideal", 5)
    assert not backend.hardware.has_costs


def test_a_preset_with_an_adc_asks_for_a_sidecar_and_says_how_to_make_it(package: Package):
    with pytest.raises(PackageRefused, match=r"1: is not there.* edgedet-nvm compile .*1 PHOTOS --preset sonos-40nm"):
        load_backend("nvm", preset=SONOS).for_package(package)


def test_the_sidecar_names_the_chip_unless_another_is_asked_for(package: Package):
    blank = package.manifest.input.tensor.shape
    inputs = [np.zeros(blank, np.uint8)]
    sidecar = compile_package(package, load_preset(SONOS), SONOS, 3, "channels", "min-max", inputs)
    write_sidecar(package.folder.parent.parent, sidecar)
    chips = [load_backend("nvm", preset=SONOS, **asked).for_package(package).hardware for asked in ({}, {"chip": 4})]
    assert [hardware.chip for hardware in chips if hardware] == [3, 4]
    assert all(hardware.has_costs for hardware in chips if hardware)


def test_a_sidecar_of_another_preset_of_that_name_is_refused(package: Package, tmp_path: Path):
    inputs = [np.zeros(package.manifest.input.tensor.shape, np.uint8)]
    text = (Path(presets.__file__).parent / "presets" / f"{SONOS}.toml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace(f'name = "{SONOS}"', 'name = "mine"'), encoding="utf-8")
    sidecar = compile_package(package, load_preset(str(mine)), str(mine), 3, "channels", "min-max", inputs)
    write_sidecar(package.folder.parent.parent, sidecar)
    mine.write_text(mine.read_text().replace("[adc]\nbits = 8", "[adc]\nbits = 4"), encoding="utf-8")
    with pytest.raises(
        PackageRefused, match=r"preset_sha256: mine has another .* compile it anew, or give the preset another name"
    ):
        load_backend("nvm", preset=str(mine)).for_package(package)


def test_a_backend_of_one_package_refuses_another(package: Package, models: Path):
    backend = load_backend("nvm", preset="ideal").for_package(package)
    assert isinstance(backend, NvmBackend)
    assert backend.for_package(package) is backend
    with pytest.raises(PackageRefused, match="is not resnet20-cifar10:1"):
        backend.for_package(load_package(models / "yolov3-tiny-coco" / "1"))


@pytest.mark.parametrize(("options", "told"), [({"preset": "nor-flash-7nm"}, "nor-flash-7nm"), ({"chip": -1}, "seed")])
def test_a_wrong_option_is_a_fault_of_the_runtime(options: dict[str, object], told: str):
    with pytest.raises(RuntimeFault, match=told):
        load_backend("nvm", **options)
