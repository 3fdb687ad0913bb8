"""The sidecar package ``<name>-nvm-<preset>/<version>/nvm.json``: how a package lies on arrays. It holds no weights."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from edgedet_runtime.backend import Tensor
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.manifest import Sha256
from edgedet_runtime.package import SIDECAR, Package
from edgedet_runtime.quantized_graph import QuantizedGraph, read_quantized_graph
from edgedet_runtime.segments import load_network
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgedet_nvm.calibration import AdcRanges, Method, calibrate
from edgedet_nvm.device.preset import Preset, preset_names
from edgedet_nvm.device.record import Share, first_fault
from edgedet_nvm.layer_activity import layer_tiles
from edgedet_nvm.mapping import Arrays, Cut, NetworkMapping, map_network
from edgedet_nvm.mean_inputs import find_mean_inputs
from edgedet_nvm.slicing import Slicing


class Sidecar(BaseModel):
    """What was decided when a package was compiled: mapping and ADC ranges, frozen for every chip of the preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    version: int = Field(ge=1)
    compiled_from: str = Field(description="name:version of the digital package")
    digest: Sha256 = Field(description="of that package: what a cloud must have for this edge's tails")
    preset: str = Field(description="name of a preset of EdgeDet, or path of a preset file")
    preset_sha256: Sha256 = Field(description="over what of it mapping and ranges depend on")
    chip: int = Field(ge=0, description="seed of the chip that serves unless another is asked for")
    tiles: int = Field(ge=0, description="that the package takes; all draw idle power while one of its segments runs")
    rows: int
    columns: int
    highest_levels: tuple[int, ...] = Field(description="of every plane's cells, least significant first")
    paired: bool = Field(description="differential pairs; else planes of two's complement")
    pulse_bits: int
    cut: Cut
    mean_inputs: dict[str, tuple[Share, ...]] | None = Field(
        default=None,
        description="of every layer's input channels, shares of the highest code, where NOR wires are reckoned into "
        "the cells. None: what wires take follows each photo's codes, or the preset has no such wires",
    )
    ranges: AdcRanges | None = Field(description="None: the preset reads currents exactly")

    @property
    def arrays(self) -> Arrays:
        """What the network is mapped onto."""
        slicing = (
            Slicing.differential(*self.highest_levels)
            if self.paired
            else Slicing.twos_complement(len(self.highest_levels))
        )
        return Arrays(self.rows, self.columns, slicing, self.pulse_bits, self.cut)


def preset_arrays(graph: QuantizedGraph, preset: Preset, cut: Cut) -> Arrays:
    """The arrays of a preset, with as many slices as the network's largest weight code needs."""
    weights = [layer.weights.codes for layer in graph.layers if layer.weights is not None]
    lowest = min((int(codes.min()) for codes in weights), default=0)
    highest = max((int(codes.max()) for codes in weights), default=1)
    # b bits of two's complement reach one further below 0 than above.
    magnitude = max(highest, -lowest if preset.slices.signs == "differential" else -lowest - 1)
    tops = preset.slices.tops(max(magnitude, 1))
    slicing = (
        Slicing.differential(*reversed(tops))
        if preset.slices.signs == "differential"
        else Slicing.twos_complement(len(tops))
    )
    return Arrays(preset.tile.rows, preset.tile.columns, slicing, preset.drive.bits, cut)


def map_package(package: Package, preset: Preset, cut: Cut) -> NetworkMapping:
    """A package's layers on the arrays of a preset."""
    graph = read_quantized_graph(load_network(package.path("model.onnx")))
    return map_network(graph, preset_arrays(graph, preset, cut))


def compile_package(
    package: Package,
    preset: Preset,
    preset_name: str,
    chip: int,
    cut: Cut,
    method: Method,
    inputs: Iterable[Tensor],
    *,
    exact_wires: bool = False,
) -> Sidecar:
    """Map a package and calibrate it on network inputs uint8 [1, height, width, channels].

    Calibrated are the ADC's ranges, and the mean inputs at which NOR wires are reckoned into the cells; with
    `exact_wires` their losses follow each photo's codes instead, which takes several times as long.
    """
    mapping = map_package(package, preset, cut)
    arrays, source = mapping.arrays, package.manifest.input.name
    network = load_network(package.path("model.onnx"))
    photos = [{source: codes} for codes in inputs]
    ranges = mean_inputs = None
    if preset.adc is not None:
        ranges = calibrate(network, mapping.layers, preset.adc.bits, method, photos)
    if preset.wires is not None and preset.wires.topology == "nor" and photos and not exact_wires:
        mean_inputs = find_mean_inputs(network, mapping.layers, photos)
    return Sidecar(
        name=sidecar_name(package, preset.name),
        version=package.manifest.version,
        compiled_from=package.reference,
        digest=package.digest,
        preset=preset_name,
        preset_sha256=preset.compiled_sha256,
        chip=chip,
        tiles=sum(layer_tiles(mapped, preset) for mapped in mapping.layers),
        rows=arrays.rows,
        columns=arrays.columns,
        highest_levels=arrays.slicing.highest_levels,
        paired=arrays.slicing.paired,
        pulse_bits=arrays.pulse_bits,
        cut=arrays.cut,
        mean_inputs=mean_inputs,
        ranges=ranges,
    )


def sidecar_folder(package: Package, preset_name: str, models: Path | None = None) -> Path:
    """``<name>-nvm-<preset>/<version>`` below `models`; without it beside the package, where a node looks for it."""
    # A package named as `1` or `../1` has its parents in the absolute path alone; links to versions stay links.
    beside = Path(os.path.normpath(package.folder.absolute())).parent.parent
    return (models or beside) / sidecar_name(package, preset_name) / str(package.manifest.version)


def sidecar_name(package: Package, preset_name: str) -> str:
    """``<name>-nvm-<preset>``."""
    return f"{package.manifest.name}-nvm-{preset_name}"


def write_sidecar(models: Path, sidecar: Sidecar) -> Path:
    """Write ``models/<name>/<version>/nvm.json``.

    Raises:
        PackageRefused: the folder exists: versions are immutable.
    """
    folder = models / sidecar.name / str(sidecar.version)
    refuse_existing(folder)
    folder.mkdir(parents=True)
    (folder / SIDECAR).write_text(sidecar.model_dump_json(indent=1) + "\n")
    return folder


def refuse_existing(folder: Path) -> None:
    """Told before a calibration too, which takes long.

    Raises:
        PackageRefused: the folder exists.
    """
    if folder.exists():
        raise PackageRefused(
            f"{folder}: exists already; remove it to compile anew, or take a preset of your own by another name"
        )


def read_sidecar(folder: Path, package: Package, preset: Preset) -> Sidecar:
    """Read a sidecar of `package` on `preset`.

    Raises:
        PackageRefused: it cannot be read, was compiled from another package or for another preset of that name, or was
            edited since.
    """
    try:
        sidecar = Sidecar.model_validate_json((folder / SIDECAR).read_bytes())
    except OSError as error:
        raise PackageRefused(f"{folder}: cannot read {SIDECAR}: {error.strerror}") from error
    except ValidationError as error:
        raise PackageRefused(f"{folder}: {SIDECAR}: {first_fault(error)}; compile it anew") from error
    if sidecar.digest != package.digest:
        raise PackageRefused(
            f"{folder}: was compiled from {sidecar.compiled_from} with digest {sidecar.digest[:12]}…, "
            f"{package.reference} has {package.digest[:12]}…; compile it anew"
        )
    if sidecar.preset_sha256 != preset.compiled_sha256:
        own = "" if preset.name in preset_names() else ", or give the preset another name"
        raise PackageRefused(
            f"{folder}: preset_sha256: {preset.name} has another cell, slices, tile, drive, adc or wires than it was "
            f"compiled for; remove the folder and compile it anew{own}"
        )
    if fault := _contradiction(sidecar, package, preset):
        raise PackageRefused(f"{folder}: {fault}; remove the folder and compile it anew")
    return sidecar


def _contradiction(sidecar: Sidecar, package: Package, preset: Preset) -> str | None:
    """What a sidecar says otherwise than its preset does, though it was compiled from it: somebody has edited it."""
    graph = read_quantized_graph(load_network(package.path("model.onnx")))
    expected = preset_arrays(graph, preset, sidecar.cut)
    pairs = {
        "rows": (sidecar.rows, expected.rows),
        "columns": (sidecar.columns, expected.columns),
        "highest_levels": (sidecar.highest_levels, expected.slicing.highest_levels),
        "paired": (sidecar.paired, expected.slicing.paired),
        "pulse_bits": (sidecar.pulse_bits, expected.pulse_bits),
    }
    for field, (found, wanted) in pairs.items():
        if found != wanted:
            return f"{field}: is {found}, but {wanted} by preset {preset.name}"
    if preset.adc is None:
        return None if sidecar.ranges is None else f"ranges: are there, but preset {preset.name} has no [adc]"
    if sidecar.ranges is None:
        return f"ranges: are missing, but preset {preset.name} has an [adc]"
    converters = sidecar.ranges.converters.items()
    other = next((layer for layer, converter in converters if converter.bits != preset.adc.bits), None)
    return None if other is None else f"ranges of {other}: have other bits than preset {preset.name}"
