"""A float network on aihwkit's tiles, timed on request: `nvm_beside_aihwkit` runs this file in aihwkit's environment.

Argument: an .npz with the weights, the photos, and under `nodes` the ONNX graph as JSON. Every line read names a
system; the answer is the processor time in ms that its next photo took.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters import BoundManagementType, NoiseManagementType
from torch import Tensor, nn
from torch.nn import functional


def main() -> None:
    torch.set_num_threads(1)
    with np.load(sys.argv[1]) as content:
        weights = {name: content[name] for name in content.files}
    nodes = json.loads(str(weights.pop("nodes")))
    photos = [torch.from_numpy(photo) for photo in weights.pop("photos")]
    systems = {name: network(nodes, weights, config) for name, config in configurations().items()}
    turns = dict.fromkeys(systems, 0)
    print(json.dumps(list(systems)), flush=True)
    for line in sys.stdin:
        name = line.strip()
        photo = photos[turns[name] % len(photos)]
        turns[name] += 1
        with torch.inference_mode():
            began_ns = time.thread_time_ns()
            systems[name](photo)
            print((time.thread_time_ns() - began_ns) / 1e6, flush=True)


def configurations() -> dict[str, TorchInferenceRPUConfig | None]:
    """8-bit inputs and outputs, tiles of 576 rows; "managed" scales inputs and outputs by each vector's largest.

    Of noises in a read, the torch tile knows that of the output alone.
    """
    made: dict[str, TorchInferenceRPUConfig | None] = {"torch fp32": None}
    for managed in (False, True):
        for noise in ("", "output noise"):
            config = TorchInferenceRPUConfig()
            config.mapping.max_input_size = 576
            forward = config.forward
            forward.inp_res = forward.out_res = 1 / 254
            forward.out_noise = 0.04 if noise else 0.0
            if not managed:
                forward.noise_management = NoiseManagementType.NONE
                forward.bound_management = BoundManagementType.NONE
            made[", ".join(part for part in ("aihwkit", "managed" if managed else "", noise) if part)] = config
    return made


def network(
    nodes: list[dict[str, Any]], weights: dict[str, np.ndarray], config: TorchInferenceRPUConfig | None
) -> Callable[[Tensor], Tensor]:
    """The graph as torch operators; layers with weights lie on tiles, but for those that only move channels."""
    layers = [(node, _operator(node, weights, config)) for node in nodes]

    def run(photo: Tensor) -> Tensor:
        known = {nodes[0]["inputs"][0]: photo}
        for node, operator in layers:
            known[node["output"]] = operator(*(known[name] for name in node["inputs"] if name not in weights))
        return known[nodes[-1]["output"]]

    return run


def _operator(
    node: dict[str, Any], weights: dict[str, np.ndarray], config: TorchInferenceRPUConfig | None
) -> Callable[..., Tensor]:
    plain: dict[str, Callable[..., Tensor]] = {
        "Relu": functional.relu,
        "Add": torch.add,
        "GlobalAveragePool": lambda values: values.mean(dim=(2, 3), keepdim=True),
        "Flatten": lambda values: values.flatten(1),
    }
    if node["op"] in plain:
        return plain[node["op"]]
    weight, bias = (torch.from_numpy(weights[name]) for name in node["inputs"][1:3])
    layer: nn.Module
    if node["op"] == "Conv":
        outputs, inputs, height, width = weight.shape
        stride, padding = node["strides"][0], node["pads"][0]
        layer = nn.Conv2d(inputs, outputs, (height, width), stride, padding)
    else:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    moves_only = bool((weight.flatten(1).count_nonzero(dim=1) <= 1).all())
    if config is not None and not moves_only:
        layer = convert_to_analog(layer, config)
    return layer.eval()


if __name__ == "__main__":
    main()
