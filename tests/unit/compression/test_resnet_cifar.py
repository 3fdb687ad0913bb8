"""CIFAR ResNets out of a state dict of arrays."""

import numpy as np
import onnxruntime as ort
import pytest
from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks.resnet_cifar import build_resnet_cifar, read_resnet_cifar


def norm(state: dict[str, np.ndarray], name: str, channels: int, rng: np.random.Generator) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"{name}.{part}"] = rng.uniform(0.5, 1, channels).astype(np.float32)


def state_of(blocks: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    state = {"conv1.weight": rng.normal(size=(16, 3, 3, 3)).astype(np.float32)}
    norm(state, "bn1", 16, rng)
    before = 16
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(blocks):
            for index in (1, 2):
                shape = (width, before, 3, 3)
                state[f"layer{stage}.{block}.conv{index}.weight"] = rng.normal(0, 0.05, shape).astype(np.float32)
                norm(state, f"layer{stage}.{block}.bn{index}", width, rng)
                before = width
    state["linear.weight"] = rng.normal(size=(10, 64)).astype(np.float32)
    state["linear.bias"] = np.zeros(10, np.float32)
    return state


@pytest.mark.parametrize("blocks", [1, 3])
def test_depth_follows_from_the_names(blocks: int):
    model = build_resnet_cifar(state_of(blocks))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 1 + 6 * blocks + 2  # stem, two a block, two shortcuts that change the width
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((1, 3, 32, 32), np.float32)})[0].shape == (1, 10)


def test_another_networks_state_is_refused():
    with pytest.raises(SourceUnreadable, match=r"lacks conv1\.weight"):
        build_resnet_cifar({"features.0.weight": np.zeros((1, 1, 1, 1), np.float32)})


def test_missing_weights_are_told_by_path(tmp_path):
    with pytest.raises(SourceMissing, match=r"nothing\.th"):
        read_resnet_cifar(tmp_path / "nothing.th")
