"""How many conversions of a chip lie outside of the converter's range, layer by layer."""

import hashlib
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.quantized_graph import read_quantized_graph
from onnx import TensorProto

from edgedet_nvm.chip_plans import chip_plans
from edgedet_nvm.compile.network import compile_float, exposed, noise_name
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.mapping import map_network
from edgedet_nvm.noise_input import network_noise
from edgedet_nvm.sidecar import Sidecar


def saturated_shares(
    model: onnx.ModelProto, sidecar: Sidecar, chip: Chip, inputs: Iterable[Tensor]
) -> dict[str, float]:
    """Share of conversions that clip (0…1) on this chip, read noise included, by layer; {} without converters.

    Args:
        model: the whole digital network.
        sidecar: its mapping and ranges.
        chip: which chip, where and when.
        inputs: of the network, uint8 [1, height, width, channels], photo by photo.
    """
    layers = map_network(read_quantized_graph(model), sidecar.arrays).layers
    plans = chip_plans(layers, sidecar, chip)
    converters = {name: plan.converter for name, plan in plans.items() if plan.converter is not None}
    if not converters:
        return {}
    # Both forms convert alike; the float one shows what a converter rounds and clips.
    compiled = compile_float(model, plans)
    names = {f"{layer}:scaled": TensorProto.FLOAT for layer in converters}
    probe = exposed(compiled.model, names).SerializeToString()
    session = ort.InferenceSession(probe, session_options(), providers=["CPUExecutionProvider"])
    clipped, seen = dict.fromkeys(converters, 0), dict.fromkeys(converters, 0)
    for codes in inputs:
        key = hashlib.blake2b(np.ascontiguousarray(codes).tobytes(), digest_size=16).digest()
        noise = network_noise(key, chip.seed, compiled.noise)
        feeds = {model.graph.input[0].name: codes} | {noise_name(name): values for name, values in noise.items()}
        for (name, converter), scaled in zip(converters.items(), session.run(list(names), feeds), strict=True):
            rounded = np.rint(scaled)
            clipped[name] += int(np.count_nonzero((rounded < converter.lowest) | (rounded > converter.highest)))
            seen[name] += rounded.size
    return {name: clipped[name] / seen[name] for name in converters}
