"""Latency of several models in ONNX Runtime, paired: they take turns in one process, on one thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_evaluation.intervals import Estimate, median_interval
from edgedet_evaluation.paired_timing import ratio, take_turns
from edgedet_runtime.backends.onnxruntime import session_options


@dataclass(frozen=True)
class Latency:
    """Of one image on one thread, with 95 % intervals of the medians."""

    milliseconds: Estimate
    speedup: Estimate
    """How many times as fast as the first model, round by round."""
    frames_per_second: float
    """By the median time."""
    model_bytes: int
    """Of the file that was timed."""


_SETTLE = 1
"""Runs before a turn's own: a small network would else be charged with what a large one has put out of the cache, where
a camera's machine runs one network again and again."""


def measure_latency(models: Mapping[str, onnx.ModelProto], rounds: int = 30) -> dict[str, Latency]:
    """Latencies by name; the first model is what all are compared with.

    Models have one input of fixed shape, float32 or uint8; each gets noise, always the same. Who begins changes from
    round to round.
    """
    runs = {name: _Run(model.SerializeToString()) for name, model in models.items()}
    times = take_turns(runs, rounds, settle=_SETTLE)
    first = next(iter(times.values()))
    return {name: _latency(first, taken, runs[name].model_bytes) for name, taken in times.items()}


def _latency(first: Sequence[float], own: Sequence[float], model_bytes: int) -> Latency:
    milliseconds = median_interval(own)
    return Latency(milliseconds, ratio(first, own), 1000 / milliseconds.value, model_bytes)


class _Run:
    """A session and what it is fed."""

    def __init__(self, model: bytes) -> None:
        self.model_bytes = len(model)
        self.session = ort.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
        (source,) = self.session.get_inputs()
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, source.shape, np.uint8)
        self.feeds = {source.name: noise if source.type == "tensor(uint8)" else noise.astype(np.float32) / 255}

    def __call__(self) -> None:
        """One answer."""
        self.session.run(None, self.feeds)
