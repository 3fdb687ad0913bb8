"""Runs a float network over calibration images and records how its tensors are distributed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgedet_compression.progress import Advance
from edgedet_compression.quantization.float_graph import FloatGraph
from edgedet_compression.quantization.ranges import Histogram

BINS = 2048


@dataclass(frozen=True)
class Calibration:
    """Histograms by tensor name."""

    histograms: dict[str, Histogram]


def calibrate(
    graph: FloatGraph,
    images: Sequence[npt.NDArray[np.float32]],
    tensors: Iterable[str],
    advance: Advance,
) -> Calibration:
    """Record `tensors` over images [1, C, H, W] (as the float network reads them), one image at a time.

    Two passes: the first finds the ends of each range, the second counts. `advance` is called twice an image.
    """
    names = list(dict.fromkeys(tensors))
    inner = [name for name in names if name != graph.input]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Levels above BASIC may not show a tensor that they fuse away; its values would be the same.
    session = ort.InferenceSession(graph.model(inner).SerializeToString(), options, providers=["CPUExecutionProvider"])
    lows, highs = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)

    def values(image: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        return {graph.input: image, **dict(zip(inner, session.run(inner, {graph.input: image}), strict=True))}

    for image in images:
        found = values(image)
        for name in names:
            value = found[name]
            lows[name] = min(lows[name], float(value.min()))
            highs[name] = max(highs[name], float(value.max()))
        advance()
    counts = {name: np.zeros(BINS) for name in names}
    for image in images:
        found = values(image)
        for name in names:
            counts[name] += _count(found[name], lows[name], highs[name])
        advance()
    return Calibration({name: Histogram(lows[name], highs[name], counts[name]) for name in names})


def _count(value: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.float64]:
    if high <= low:
        return np.zeros(BINS)
    place = (value.reshape(-1) - np.float32(low)) * np.float32(BINS / (high - low))
    return np.bincount(np.clip(place, 0, BINS - 1).astype(np.int32), minlength=BINS).astype(np.float64)
