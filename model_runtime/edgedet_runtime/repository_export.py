"""Tails as a model repository: any server of the Open Inference Protocol can then run what an edge hands over."""

from pathlib import Path

import onnx

from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.manifest import TensorSpec
from edgedet_runtime.package import Package
from edgedet_runtime.segments import Segment, cut, load_network

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_ELEMENT = {"uint8": onnx.TensorProto.UINT8, "float32": onnx.TensorProto.FLOAT}


def export_repository(package: Package, target: Path) -> list[str]:
    """Write ``<name>-tail-<k>/{config.pbtxt, <version>/model.onnx}`` for every boundary; the names written.

    Raises:
        PackageRefused: a model of that name is there already, or the package has no boundary.
    """
    manifest = package.manifest
    if not manifest.boundaries:
        raise PackageRefused(f"{package.folder}: has no boundary, so there is no tail; serve its model.onnx as it is")
    model = load_network(package.path("model.onnx"))
    names = [f"{manifest.name}-tail-{boundary.k}" for boundary in manifest.boundaries]
    for name in names:  # of any version: all have one configuration
        if (target / name).exists():
            raise PackageRefused(f"{target / name}: exists already; choose an empty repository")
    for name, boundary in zip(names, manifest.boundaries, strict=True):
        _, tail = cut(model, manifest.input, [boundary], manifest.outputs)
        folder = target / name / str(manifest.version)
        folder.mkdir(parents=True)
        whole, inputs = _answering_all(tail, manifest.outputs)
        onnx.save(whole, folder / "model.onnx")
        (target / name / "config.pbtxt").write_text(_config(name, inputs, manifest.outputs), encoding="utf-8")
    return names


def _answering_all(tail: Segment, outputs: tuple[TensorSpec, ...]) -> tuple[onnx.ModelProto, tuple[TensorSpec, ...]]:
    """The tail with every output of the network, and its inputs: an output that was made before goes through."""
    model = onnx.ModelProto()
    model.CopyFrom(tail.model)
    through = tuple(spec for spec in outputs if spec not in tail.outputs)
    more = tuple(spec for spec in through if spec not in tail.inputs)
    model.graph.input.extend(map(_value, more))
    del model.graph.output[:]
    model.graph.output.extend(map(_value, outputs))
    return model, (*tail.inputs, *more)


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(spec.name, _ELEMENT[spec.dtype], spec.shape)


def _config(name: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> str:
    """Triton's model configuration; the other servers read the ONNX file alone."""
    return (
        f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 0\n'
        + "".join(f"input [{_tensor(spec)}]\n" for spec in inputs)
        + "".join(f"output [{_tensor(spec)}]\n" for spec in outputs)
    )


def _tensor(spec: TensorSpec) -> str:
    shape = ", ".join(map(str, spec.shape))
    return f'{{ name: "{spec.name}" data_type: {_TYPES[spec.dtype]} dims: [{shape}] }}'
