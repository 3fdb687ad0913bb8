"""What a node tells of itself and, by the registry, of its cluster: latency, offloading, hardware, nodes."""

from collections.abc import Sequence
from typing import Any

from edgedet_edge.accelerator import AcceleratorMeter
from edgedet_edge.job import ServedModel
from edgedet_edge.measurements import (
    Bucket,
    Measurements,
    latency_report,
    offload_report,
    seconds_counted,
    seconds_covered,
)
from edgedet_edge.registry import Registry
from edgedet_edge.scheduler import Scheduler
from edgedet_edge.settings import EdgeSettings


class Reports:
    """The documents of `/v1/metrics/…` and `/v1/cluster`; owns the registry, which takes this node's part of them."""

    def __init__(
        self,
        settings: EdgeSettings,
        models: Sequence[ServedModel],
        measurements: Measurements,
        scheduler: Scheduler,
        accelerator: AcceleratorMeter,
    ) -> None:
        self.address = settings.advertise
        """URL of this node, once it listens."""
        self.registry = Registry(settings.redis, settings.node_id, self._own)
        self._settings = settings
        self._models = models
        self._measurements = measurements
        self._scheduler = scheduler
        self._accelerator = accelerator

    async def latency(self, cluster: bool, window_s: int) -> dict[str, Any]:
        """`/v1/metrics/latency`."""
        others = await self._others(cluster)
        covered_s = seconds_covered(window_s)
        return {
            "window_s": window_s,
            "covered_s": self._seconds(others, covered_s),
            "registry": self.registry.status,
            "placements": latency_report([*self._measurements.buckets(), *others], covered_s),
        }

    async def offload(self, cluster: bool, window_s: int) -> dict[str, Any]:
        """`/v1/metrics/offload`."""
        others = await self._others(cluster)
        covered_s = seconds_covered(window_s)
        return {
            "window_s": window_s,
            "covered_s": self._seconds(others, covered_s),
            "registry": self.registry.status,
            **offload_report([*self._measurements.buckets(), *others], covered_s),
            "clouds": self._scheduler.describe_clouds(),
        }

    def accelerator(self) -> dict[str, Any]:
        """`/v1/metrics/accelerator`."""
        return {
            "backend": self._settings.backend,
            "capacity": self._settings.capacity,
            "models": self._accelerator.report(self._models),
        }

    async def cluster(self) -> dict[str, Any]:
        """`/v1/cluster`."""
        others = await self.registry.others()
        edges = [{**self._state(), "age_s": 0.0}, *(other.state for other in others)]
        return {"registry": self.registry.status, "edges": sorted(edges, key=lambda edge: str(edge["id"]))}

    async def _others(self, cluster: bool) -> list[Bucket]:
        """What other nodes measured, where they count."""
        others = await self.registry.others() if cluster else []
        return [bucket for other in others for bucket in other.buckets]

    def _seconds(self, others: Sequence[Bucket], covered_s: float) -> float:
        """Of the last `covered_s` seconds those in which one of the nodes was there to count."""
        return max(self._measurements.seconds(covered_s), seconds_counted(others, covered_s))

    def _own(self) -> dict[str, Any]:
        """For the registry."""
        return {"state": self._state(), "buckets": [bucket.to_json() for bucket in self._measurements.buckets()]}

    def _state(self) -> dict[str, Any]:
        return {
            "id": self._settings.node_id,
            "address": self.address,
            **self._scheduler.describe_edge(),
            "models": {model.reference: model.package.digest for model in self._models},
            "clouds": self._scheduler.describe_clouds(),
        }
