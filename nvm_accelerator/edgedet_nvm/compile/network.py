"""The whole network: planned layers are replaced, everything else stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx
from edgedet_runtime.errors import GraphUnsupported
from onnx import TensorProto, helper

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.compile.digital_end import codes_as_float, float_end, int8_end
from edgedet_nvm.compile.float_reads import float_reads
from edgedet_nvm.compile.int8_reads import int8_reads
from edgedet_nvm.compile.writer import LayerWriter
from edgedet_nvm.shift_add import shift_add

Form = Literal["int8", "float32"]


@dataclass(frozen=True, slots=True)
class CompiledNetwork:
    """An ONNX model with the digital network's inputs and outputs, and an input of normal numbers per noisy layer."""

    model: onnx.ModelProto
    forms: dict[str, Form]
    """By layer; layers that the arrays compute exactly stay digital and are missing here."""
    noise: dict[str, tuple[int, ...]]
    """Shape of the standard normal numbers [1, conversions · outputs, rows, columns] of each noisy layer."""


def compile_network(model: onnx.ModelProto, plans: Mapping[str, LayerPlan]) -> CompiledNetwork:
    """Replace every planned layer by what its arrays compute; exact layers collapse to the digital ones.

    Args:
        model: the quantized network, or a segment of it.
        plans: by the layer's name.

    Raises:
        GraphUnsupported: a plan is for a layer that the model does not have.
    """
    kept = {name: plan for name, plan in plans.items() if not plan.is_digital}
    return _compiled(model, kept, {name: "int8" if plan.fits_int8 else "float32" for name, plan in kept.items()})


def compile_float(model: onnx.ModelProto, plans: Mapping[str, LayerPlan]) -> CompiledNetwork:
    """The same network with every planned layer in float32 form, also where it would collapse or fit int8.

    It shows all currents, ``noise_input``'s places and the tiles one by one: for calibration and for checks.
    """
    return _compiled(model, plans, dict.fromkeys(plans, "float32"))


def current_name(layer: str) -> str:
    """The tensor of a float32 layer's currents [1, conversions · outputs, rows, columns], in levels, before noise."""
    return f"{layer}:current"


def noise_name(layer: str) -> str:
    """The graph input of a noisy layer's normal numbers."""
    return f"{layer}:normals"


def exposed(model: onnx.ModelProto, tensors: Mapping[str, int]) -> onnx.ModelProto:
    """The model with `tensors` (by name, their ONNX element type) as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, kind, None) for name, kind in tensors.items() if name not in present
    )
    return copy


def _compiled(model: onnx.ModelProto, plans: Mapping[str, LayerPlan], forms: dict[str, Form]) -> CompiledNetwork:
    waiting = {plan.mapped.layer.output.name: name for name, plan in plans.items()}
    nodes: list[onnx.NodeProto] = []
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        name = waiting.pop(node.output[0], None)
        if name is None:
            nodes.append(node)
            continue
        writer = _written(plans[name], forms[name])
        nodes += writer.nodes
        constants |= writer.constants
    if waiting:
        raise GraphUnsupported(f"layer {next(iter(waiting.values()))!r}: is not in the model that is to be compiled")
    noise: dict[str, tuple[int, ...]] = {
        name: (1, plan.mapped.conversions * plan.mapped.outputs, *plan.mapped.pixels)
        for name, plan in plans.items()
        if plan.cells.read_variance is not None
    }
    return CompiledNetwork(_assembled(model, nodes, constants, noise), forms, noise)


def _written(plan: LayerPlan, form: Form) -> LayerWriter:
    mapped, output = plan.mapped, plan.mapped.layer.output
    writer = LayerWriter(mapped.name)
    digital = shift_add(mapped, plan.converter)
    if form == "int8" and plan.converter is not None:
        levels = int8_reads(writer, plan, plan.converter)
    else:
        levels = float_reads(writer, plan, noise_name(mapped.name) if plan.cells.read_variance is not None else None)
    if plan.converter is not None and plan.converter.bits <= 8:
        if digital.fits_int8 and not output.is_float:
            int8_end(writer, mapped, digital, levels, output.name)
            return writer
        levels = codes_as_float(writer, levels)
    whole = plan.converter is not None or plan.is_digital
    float_end(writer, mapped, digital, levels, output.name, whole=whole)
    return writer


def _assembled(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
    noise: Mapping[str, tuple[int, ...]],
) -> onnx.ModelProto:
    """A model of the nodes that its outputs need."""
    needed = {value.name for value in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    normals = [helper.make_tensor_value_info(noise_name(n), TensorProto.FLOAT, shape) for n, shape in noise.items()]
    graph = helper.make_graph(
        kept[::-1],
        model.graph.name,
        [*model.graph.input, *normals],
        list(model.graph.output),
        [tensor for name, tensor in constants.items() if name in needed],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
