"""Latency of several models in ONNX Runtime, paired: they take turns in one process, on one thread.

Times are processor time of the thread that runs, which a busy neighbor hardly touches. Each round gives one ratio of
every model to the first; the median of these holds where the machine's speed drifts, which single times do not.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_evaluation.intervals import Estimate, median_interval
from edgedet_runtime.backends.onnxruntime import session_options

_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Of one image on one thread, with 95 % intervals of the medians."""

    milliseconds: Estimate
    speedup: Estimate
    """How many times as fast as the first model, round by round."""
    frames_per_second: float
    """By the median time."""


def measure_latency(models: Mapping[str, onnx.ModelProto], rounds: int = 30) -> dict[str, Latency]:
    """Latencies by name; the first model is what all are compared with.

    Models have one input of fixed shape, float32 or uint8; each gets noise, always the same. Who begins changes from
    round to round.
    """
    runs = {name: _Run(model) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(_WARM_UP + rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            taken_ms = runs[name]()
            if number >= _WARM_UP:
                times[name].append(taken_ms)
    return {name: _latency(times[names[0]], taken) for name, taken in times.items()}


def _latency(first: Sequence[float], own: Sequence[float]) -> Latency:
    milliseconds = median_interval(own)
    speedup = median_interval([a / b for a, b in zip(first, own, strict=True)])
    return Latency(milliseconds, speedup, 1000 / milliseconds.value)


class _Run:
    """A session and what it is fed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.session = ort.InferenceSession(
            model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )
        (source,) = self.session.get_inputs()
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, source.shape, np.uint8)
        self.feeds = {source.name: noise if source.type == "tensor(uint8)" else noise.astype(np.float32) / 255}

    def __call__(self) -> float:
        """Milliseconds of one answer."""
        began_ns = time.thread_time_ns()
        self.session.run(None, self.feeds)
        return (time.thread_time_ns() - began_ns) / 1e6
