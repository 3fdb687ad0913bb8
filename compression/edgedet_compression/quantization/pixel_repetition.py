"""Tells a Resize that repeats pixels, the one that integer kernels have, from all others."""

import numpy as np

from edgedet_compression.quantization.float_graph import Node


def repeats_pixels(node: Node, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether each pixel of maps [1, C, H, W] is repeated a whole number of times, by ONNX's formulas for the modes."""
    if str(node.attributes.get("mode", "nearest")) != "nearest" or len(before) != 4 or before[:2] != after[:2]:
        return False
    mode = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    rounding = str(node.attributes.get("nearest_mode", "round_prefer_floor"))
    return all(_repeats(*sizes, mode, rounding) for sizes in zip(before[2:], after[2:], strict=True))


def _repeats(before: int, after: int, mode: str, rounding: str) -> bool:
    factor, rest = divmod(after, before)
    if rest or mode not in {"asymmetric", "half_pixel", "pytorch_half_pixel"}:
        return False
    places = np.arange(after)
    exact = places / factor if mode == "asymmetric" else (places + 0.5) / factor - 0.5
    nearest = {
        "floor": np.floor(exact),
        "ceil": np.ceil(exact),
        "round_prefer_floor": np.ceil(exact - 0.5),
        "round_prefer_ceil": np.floor(exact + 0.5),
    }[rounding]
    return bool((np.clip(nearest, 0, before - 1) == places // factor).all())
