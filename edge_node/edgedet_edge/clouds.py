"""All clouds of a node: the way to each, and what is known of its packages; one thread at a time."""

import time
from collections.abc import Iterable, Sequence

from edgedet_edge.job import ServedModel
from edgedet_edge.model_profiles import ModelProfiles, RemotePackage
from edgedet_edge.placement import CloudState, CloudTracker, ModelProfile


class Clouds:
    """Trackers by address, and the packages there by model."""

    def __init__(self, addresses: Iterable[str], models: Sequence[ServedModel], *, forward_photos: bool) -> None:
        self._trackers = {address: CloudTracker(address) for address in addresses}
        self._packages = {(address, m.reference): RemotePackage() for address in self._trackers for m in models}
        self._profiles = ModelProfiles(forward_photos)

    def __len__(self) -> int:
        return len(self._trackers)

    def __getitem__(self, address: str) -> CloudTracker:
        return self._trackers[address]

    def states(self, model: ServedModel, now_s: float) -> tuple[CloudState, ...]:
        """As a policy sees them, for a request to this model."""
        return tuple(self._state(tracker, model, now_s) for tracker in self._trackers.values())

    def profile(self, model: ServedModel, now_s: float) -> ModelProfile:
        """The model's costs here, with the codec that the slowest known link asks for."""
        bandwidths = [tracker.bandwidth.bytes_ms(now_s) for tracker in self._trackers.values()]
        slowest = min((bandwidth for bandwidth in bandwidths if bandwidth is not None), default=None)
        return self._profiles.of(model, slowest, now_s)

    def queued(self, call: object, address: str, model: ServedModel, boundary: int, nbytes: int) -> None:
        """A call waits for the wire."""
        slowness = self._packages[address, model.reference].slowness
        tail_ms = self._own_tail_ms(model, boundary) * (1.0 if slowness is None else slowness)
        self._trackers[address].queued(call, nbytes, tail_ms)

    def measured(self, address: str, model: ServedModel, boundary: int, service_ms: float) -> None:
        """A cloud with our package ran its tail from `boundary` on."""
        package = self._packages[address, model.reference]
        package.same = True
        package.observe(self._own_tail_ms(model, boundary), service_ms, time.monotonic())

    def differs(self, address: str, model: ServedModel) -> bool:
        """A cloud has no such package, or another under its name; whether that is news."""
        package = self._packages[address, model.reference]
        news = package.same is not False
        package.same, package.slowness = False, None
        package.measured_s = time.monotonic()
        return news

    def to_probe(self, address: str, models: Iterable[ServedModel]) -> list[ServedModel]:
        """Models that the cloud was never asked about; of the others the one that was asked about longest ago."""
        packages = [(model, self._packages[address, model.reference]) for model in models]
        unknown = [model for model, package in packages if package.same is None]
        known = [(package.measured_s, model) for model, package in packages if package.same is not None]
        return [*unknown, *(model for _, model in sorted(known, key=lambda one: one[0])[:1])]

    def describe(self, now_s: float) -> list[dict[str, object]]:
        """For `/v1/metrics/offload` and the registry; null is unknown."""
        return [_describe(tracker, now_s) for tracker in self._trackers.values()]

    def _state(self, tracker: CloudTracker, model: ServedModel, now_s: float) -> CloudState:
        package = self._packages[tracker.address, model.reference]
        tail_ms: tuple[float, ...] = ()
        if package.slowness is not None:
            tail_ms = tuple(package.slowness * own_ms for own_ms in self.profile(model, now_s).tail_ms)
        return tracker.state(now_s, same_package=package.same is True, tail_ms=tail_ms)

    def _own_tail_ms(self, model: ServedModel, boundary: int) -> float:
        return self.profile(model, time.monotonic()).tail_ms[boundary]


def _describe(tracker: CloudTracker, now_s: float) -> dict[str, object]:
    bandwidth, age_s = tracker.bandwidth.bytes_ms(now_s), tracker.bandwidth.age_s(now_s)
    rtt_ms = tracker.round_trip.rtt_ms
    return {
        "address": tracker.address,
        "rtt_ms": None if rtt_ms is None else round(rtt_ms, 3),
        "bandwidth_mbit_s": None if bandwidth is None else round(bandwidth * 8 / 1000, 2),
        "estimate_age_s": None if age_s is None else round(age_s, 2),
        "breaker": str(tracker.breaker.state(now_s)),
    }
