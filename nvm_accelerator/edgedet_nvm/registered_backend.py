"""The entry point `nvm` of ``edgedet.backends``: finds a package's sidecar, and the chip to run on."""

from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.package import Package

from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.sidecar import Sidecar, compile_package, read_sidecar, sidecar_folder


class RegisteredNvmBackend:
    """Packages on chips of one preset.

    Args:
        preset: name of a preset, or path of a preset file; the default is the one that all packages that come along
            have a sidecar for.
        chip: seed of the chip; None: the one that each sidecar names.

    Raises:
        NvmFault: the preset cannot be read, or the seed is negative.
    """

    name = "nvm"

    def __init__(self, preset: str = "nor-flash-40nm", chip: int | None = None) -> None:
        self._preset_name = preset
        self._preset = load_preset(preset)
        self._chip = None if chip is None else Chip(self._preset, chip)

    def for_package(self, package: Package) -> NvmBackend:
        """The package on its chip, as the sidecar beside it says.

        Raises:
            PackageRefused: there is no sidecar and the preset has an ADC: its ranges need photos, which a node that
                starts does not have; or the sidecar was compiled from another package, or for another preset of that
                name.
        """
        sidecar = self._sidecar(package)
        return NvmBackend(sidecar, self._chip or Chip(self._preset, sidecar.chip))

    def _sidecar(self, package: Package) -> Sidecar:
        folder = sidecar_folder(package, self._preset.name)
        if folder.exists():
            return read_sidecar(folder, package, self._preset)
        if self._preset.adc is None:
            return compile_package(package, self._preset, self._preset_name, 0, "channels", "mse", [])
        raise PackageRefused(
            f"{folder}: is not there, and {self._preset.name} has an ADC whose ranges need photos; run "
            f"edgedet-nvm compile {package.folder} PHOTOS --preset {self._preset_name}"
        )
