"""What simulated hardware spent on photos: energy and time by model, for `/v1/metrics/accelerator` and Prometheus."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgedet_runtime.backend import RunResult
from prometheus_client import CollectorRegistry, Counter

from edgedet_edge.job import ServedModel


@dataclass(slots=True)
class Spent:
    """Since the node started."""

    inferences: int = 0
    """Photos whose first segment ran here; a cloud may have finished them."""
    energy_uj: float = 0.0
    time_ms: float = 0.0
    counted_ms: float = 0.0
    """What the scheduler counts for the same runs."""


class AcceleratorMeter:
    """Told by the workers, asked by the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._spent: dict[str, Spent] = {}
        labels = ("model",)
        self._inferences = Counter(
            "edgedet_accelerator_inferences", "Photos begun on simulated hardware", labels, registry=registry
        )
        self._joules = Counter("edgedet_accelerator_joules", "Energy it would have taken", labels, registry=registry)
        self._seconds = Counter("edgedet_accelerator_seconds", "Time it would have taken", labels, registry=registry)

    def ran(self, model: ServedModel, segment: int, result: RunResult, elapsed_ms: float) -> None:
        """A segment (1…N) ran and took the worker `elapsed_ms`."""
        if model.chain.hardware is None:
            return
        energy_uj, time_ms = result.simulated_energy_uj or 0.0, result.simulated_time_ms or 0.0
        with self._lock:
            spent = self._spent.setdefault(model.reference, Spent())
            spent.inferences += segment == 1
            spent.energy_uj += energy_uj
            spent.time_ms += time_ms
            spent.counted_ms += elapsed_ms
        self._inferences.labels(model.reference).inc(segment == 1)
        self._joules.labels(model.reference).inc(energy_uj / 1e6)
        self._seconds.labels(model.reference).inc(time_ms / 1e3)

    def report(self, models: Iterable[ServedModel]) -> dict[str, Any]:
        """By ``name:version``, of models on simulated hardware."""
        with self._lock:
            return {
                model.reference: _describe(model, self._spent.get(model.reference, Spent()))
                for model in models
                if model.chain.hardware is not None
            }


def _describe(model: ServedModel, spent: Spent) -> dict[str, Any]:
    hardware = model.chain.hardware
    assert hardware is not None
    total = {
        "energy_uj": spent.energy_uj if hardware.has_costs else None,
        "time_ms": spent.time_ms if hardware.has_costs else None,
        "counted_ms": spent.counted_ms,
    }
    mean = {name: value / spent.inferences for name, value in total.items() if value is not None and spent.inferences}
    return {
        "preset": hardware.preset,
        "chip": hardware.chip,
        "inferences": spent.inferences,
        "total": total,
        "per_inference": {name: mean.get(name) for name in total},
    }
