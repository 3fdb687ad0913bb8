"""Writes a quantized network as a package: model.onnx, decoding tables, manifest, model card."""

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from edgedet_runtime.manifest import (
    InputSpec,
    Manifest,
    Metric,
    Provenance,
    SoftmaxDecoding,
    Task,
    YoloDecoding,
    YoloHead,
)
from edgedet_runtime.package import Package, hash_files, load_package, write_package
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import find_boundaries, output_specs

from edgedet_compression.export.model_card import model_card
from edgedet_compression.quantization.detector_heads import HeadScaling
from edgedet_compression.quantization.quantize import QuantizedNetwork

TABLES = "decoding.npy"
CARD = "README.md"
_STAGING = ".build-"


@dataclass(frozen=True)
class PackageText:
    """What a package says about itself."""

    name: str
    version: int
    description: str
    labels: tuple[str, ...]
    license: str
    provenance: Provenance


def write_model_package(
    folder: Path,
    text: PackageText,
    source: InputSpec,
    network: QuantizedNetwork,
    anchors: Sequence[Sequence[tuple[float, float]]] = (),
) -> Package:
    """Write a package into a new folder; with `anchors` (per output, in input pixels) a detector."""
    task: Task = "detect" if anchors else "classify"
    outputs = output_specs(network.model)
    decoding: YoloDecoding | SoftmaxDecoding = SoftmaxDecoding(tensor=outputs[0].name)
    contents = {"model.onnx": network.model.SerializeToString()}
    if anchors:
        rows = {spec.name: spec.shape[1] for spec in outputs}
        heads = tuple(
            _head(spec.name, source.height // rows[spec.name], pairs, scaling)
            for spec, pairs, scaling in zip(outputs, anchors, network.heads, strict=True)
        )
        decoding = YoloDecoding(tables=TABLES, heads=heads)
        contents[TABLES] = _npy(np.stack([decoding_tables(scaling) for scaling in network.heads]))
    manifest = Manifest(
        name=text.name,
        version=text.version,
        task=task,
        description=text.description,
        labels=text.labels,
        input=source,
        outputs=outputs,
        decoding=decoding,
        macs=read_quantized_graph(network.model).macs,
        weight_bits=network.bits,
        activation_bits=network.bits,
        boundaries=find_boundaries(network.model),
        license=text.license,
        provenance=text.provenance,
        files=hash_files(contents),
    )
    return _write(folder, manifest, contents)


def write_with_metrics(folder: Path, package: Package, metrics: Sequence[Metric]) -> Package:
    """A copy in a new folder with measured figures in manifest and card; the digest does not change.

    Files that somebody put beside the package's own come along.
    """
    manifest = package.manifest.model_copy(update={"metrics": tuple(metrics)})
    contents = {name: package.path(name).read_bytes() for name in manifest.files if name != CARD}
    written = _write(folder, manifest, contents)
    for beside in package.folder.iterdir():
        if (folder / beside.name).exists():
            continue
        if beside.is_dir() and not beside.is_symlink():
            shutil.copytree(beside, folder / beside.name, symlinks=True)
        else:
            shutil.copy2(beside, folder / beside.name, follow_symlinks=False)
    return written


@contextmanager
def staging_folder(models: Path) -> Iterator[Path]:
    """A folder beside the packages, on the same file system, gone at the end whatever happens."""
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_STAGING, dir=models) as folder:
        yield Path(folder)


def refuse_unwritable(folder: Path) -> None:
    """Try whether a folder, or the nearest one above that is there, takes a new folder; nothing stays.

    Raises:
        OSError: it does not.
    """
    place = folder.absolute()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    with tempfile.TemporaryDirectory(prefix=_STAGING, dir=nearest):
        pass


def install(package: Package, folder: Path, staging: Path) -> Package:
    """Move a finished package out of the staging folder to its place; one that is there changes places with it.

    The one before comes back where that fails or is interrupted: the staging folder will be gone. After a kill, which
    nothing can handle, it lies in the staging folder: `put_back` finds it there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    replaced = staging / _replaced(folder)
    replaced.parent.mkdir(parents=True)
    try:
        if folder.exists():
            folder.rename(replaced)
        package.folder.rename(folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        raise
    return load_package(folder)


def put_back(folder: Path) -> None:
    """Bring a package back to its folder, where a process was killed after `install` had moved it away.

    Should another process be at that very step, it finds the folder taken and fails; nothing is lost.
    """
    for staging in folder.parent.parent.glob(f"{_STAGING}*"):
        replaced = staging / _replaced(folder)
        if replaced.is_dir() and not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            replaced.rename(folder)


def _replaced(folder: Path) -> Path:
    """Where in a staging folder a package waits for its successor: the path tells which one it is."""
    return Path("replaced", folder.parent.name, folder.name)


def decoding_tables(scaling: HeadScaling) -> npt.NDArray[np.float32]:
    """Float32 [4, 256]: σ, exp, σ, σ of every code of xy, wh, objectness, classes (computed in float64)."""
    codes = np.arange(256, dtype=np.float64) - scaling.quantization.zero_point
    values = np.asarray(scaling.multipliers)[:, None] * scaling.quantization.scale * codes
    tables = 1 / (1 + np.exp(-values))
    tables[1] = np.exp(values[1])
    return tables.astype(np.float32)


def _write(folder: Path, manifest: Manifest, contents: dict[str, bytes]) -> Package:
    card = model_card(manifest, len(contents["model.onnx"])).encode()
    complete = {**contents, CARD: card}
    return write_package(folder, manifest.model_copy(update={"files": hash_files(complete)}), complete)


def _head(tensor: str, stride: int, anchors: Sequence[tuple[float, float]], scaling: HeadScaling) -> YoloHead:
    return YoloHead(
        tensor=tensor,
        stride=stride,
        anchors=tuple(anchors),
        scale=scaling.quantization.scale,
        zero_point=scaling.quantization.zero_point,
        multipliers=scaling.multipliers,
    )


def _npy(array: npt.NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
