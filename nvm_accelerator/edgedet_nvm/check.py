"""Is a package the same network on ideal arrays: every layer's codes, digital against cells and compiled graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.quantized_graph import QuantizedGraph, read_quantized_graph
from onnx import TensorProto

from edgedet_nvm.cells import LayerPlan, target_cells
from edgedet_nvm.compile.network import compile_float, exposed
from edgedet_nvm.mapping import NetworkMapping
from edgedet_nvm.oracle import run_oracle


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One layer's codes on all photos, and how many of them differ from the digital network's."""

    layer: str
    mapped: bool
    codes: int
    oracle_differs: int
    compiled_differs: int

    @property
    def is_equal(self) -> bool:
        """Whether no code differs."""
        return not (self.oracle_differs or self.compiled_differs)


def check_network(
    model: onnx.ModelProto, mapping: NetworkMapping, inputs: Sequence[dict[str, Tensor]]
) -> tuple[LayerCheck, ...]:
    """Run the digital network, the cell-by-cell oracle and the compiled graph, ADC bypassed, on `inputs`.

    Nothing collapses here: tiles, planes and pulses are read one by one, in both.
    """
    graph = read_quantized_graph(model)
    plans = {mapped.name: LayerPlan(mapped, None, target_cells(mapped)) for mapped in mapping.layers}
    digital, compiled = _Exposed(model, graph), _Exposed(compile_float(model, plans).model, graph)
    counts = np.zeros((len(graph.layers), 3), np.int64)
    for tensors in inputs:
        expected, found = digital.run(tensors), compiled.run(tensors)
        cells = run_oracle(model, plans, tensors, {}).tensors
        for index, name in enumerate(layer.output.name for layer in graph.layers):
            codes = expected[name]
            counts[index] += (codes.size, np.sum(codes != cells[name]), np.sum(codes != found[name]))
    rows = zip(graph.layers, counts.tolist(), strict=True)
    return tuple(LayerCheck(layer.output.name, layer.name in plans, *row) for layer, row in rows)


class _Exposed:
    """A session that gives every layer's output."""

    def __init__(self, model: onnx.ModelProto, graph: QuantizedGraph) -> None:
        outputs = [layer.output for layer in graph.layers]
        kinds = {codes.name: TensorProto.FLOAT if codes.is_float else TensorProto.UINT8 for codes in outputs}
        self._names = list(kinds)
        self._session = ort.InferenceSession(
            exposed(model, kinds).SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )

    def run(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return dict(zip(self._names, self._session.run(self._names, tensors), strict=True))
