"""What stands on a layer's word lines on average: there, wires may be reckoned into the cells once for all."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import session_options
from numpy.typing import NDArray
from onnx import TensorProto

from edgedet_nvm.compile.network import exposed
from edgedet_nvm.device.inputs import full_code
from edgedet_nvm.mapping import MappedLayer


def find_mean_inputs(
    model: onnx.ModelProto, layers: Sequence[MappedLayer], inputs: Iterable[Mapping[str, Tensor]]
) -> dict[str, tuple[float, ...]]:
    """Mean pulse of every input channel over photos, pixels and pulses, by layer, as shares of the highest code.

    Pixels beyond the map's border are not counted, and both pulses of a code get the same mean.

    Args:
        model: the digital network.
        layers: its mapped layers.
        inputs: the model's input tensors by name, photo by photo; at least one.
    """
    sources = {mapped.name: mapped.layer.inputs[0].name for mapped in layers}
    given = {value.name for value in model.graph.input}
    watched = sorted(set(sources.values()) - given)
    probe = exposed(model, dict.fromkeys(watched, TensorProto.UINT8))
    session = ort.InferenceSession(probe.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
    shares: dict[str, list[NDArray[np.float64]]] = {mapped.name: [] for mapped in layers}
    for feeds in inputs:
        codes = {**feeds, **_run(session, watched, feeds)}
        for mapped in layers:
            shares[mapped.name].append(_shares(mapped, codes[sources[mapped.name]]))
    return {name: tuple(np.mean(found, axis=0).round(5).tolist()) for name, found in shares.items()}


def _run(session: ort.InferenceSession, names: list[str], feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(names, session.run(names, dict(feeds)), strict=True)) if names else {}


def _shares(mapped: MappedLayer, codes: Tensor) -> NDArray[np.float64]:
    """[channels]."""
    by_channel = codes.reshape(codes.shape[1], -1)
    pulses = [pulse.of(by_channel).mean(axis=1, dtype=np.float64) for pulse in mapped.pulses]
    shares: NDArray[np.float64] = np.mean(pulses, axis=0) / full_code(mapped.pulses)
    return shares
