"""Latency: paired ratios against the first model, intervals around medians."""

import numpy as np
import pytest
from edgedet_compression.networks.graph_builder import GraphBuilder
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.quantize import quantize
from edgedet_compression.reports import latency
from edgedet_compression.reports.latency import measure_latency

from tests.unit.compression.small_networks import classifier, photos

ROUNDS = 9


def heavy():
    """Some thirty times the work of the small classifier."""
    graph = GraphBuilder("heavy", (1, 3, 64, 64))
    name = graph.conv("first", "image", np.zeros((64, 3, 3, 3), np.float32), np.zeros(64, np.float32), padding=1)
    for layer in range(4):
        weight = np.full((64, 64, 3, 3), 1e-3, np.float32)
        name = graph.conv(f"conv{layer}", name, weight, np.zeros(64, np.float32), padding=1)
    return graph.model([name])


def test_the_first_model_is_once_as_fast_as_itself():
    model = classifier(0)
    (found,) = measure_latency({"alone": model}, ROUNDS).values()
    assert (found.speedup.value, found.speedup.low, found.speedup.high) == (1, 1, 1)
    assert found.milliseconds.low <= found.milliseconds.value <= found.milliseconds.high
    assert found.frames_per_second == pytest.approx(1000 / found.milliseconds.value)
    assert found.model_bytes == model.ByteSize()


def test_a_network_runs_once_unmeasured_before_each_turn(monkeypatch: pytest.MonkeyPatch):
    called = []
    once = latency._Run.__call__

    def counted(run: latency._Run) -> None:
        called.append(run.model_bytes)
        once(run)

    monkeypatch.setattr(latency._Run, "__call__", counted)
    small, large = classifier(0), classifier(0, channels=16)
    measure_latency({"small": small, "large": large}, rounds=1)
    assert called[:4] == [small.ByteSize()] * 2 + [large.ByteSize()] * 2


def test_float_and_int8_models_are_compared_in_the_order_given():
    models = {"heavy": heavy(), "int8": quantize(classifier(0), photos(0), Normalization()).model}
    found = measure_latency(models, ROUNDS)
    assert list(found) == ["heavy", "int8"]
    speedup = found["int8"].speedup
    assert 3 < speedup.low <= speedup.value <= speedup.high
    assert found["int8"].frames_per_second > found["heavy"].frames_per_second
