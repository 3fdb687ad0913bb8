"""Keeps what is known of a cloud true: round trip, bandwidth, speed and package are measured again when nobody asks.

A probe carries the tensors of a made-up photo, at the boundary of fewest bytes. A copy of a user's request would tell
the same, but only when there is one: a cloud that came back would stay unknown until then, and photos would travel
that nobody sent there.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from edgedet_proto.wire import InferCall, build_request
from edgedet_runtime.profile import made_up_tensors

from edgedet_edge.cloud_client import CloudClient
from edgedet_edge.errors import CloudFailed, CloudRefused, PackageDiffers
from edgedet_edge.handover import tell_differing
from edgedet_edge.job import ServedModel
from edgedet_edge.scheduler import Scheduler

log = structlog.get_logger()
_LOOK_S = 0.1
# Longer than any link worth using needs for a probe; a cloud that stands still answers within it when it goes on.
_TIMEOUT_S = 10.0


@dataclass(frozen=True, eq=False, slots=True)
class _Probe:
    model: ServedModel
    boundary: int
    message: Any
    nbytes: int


class Prober:
    """One task per cloud."""

    def __init__(self, scheduler: Scheduler, clients: dict[str, CloudClient], models: Sequence[ServedModel]) -> None:
        self._scheduler = scheduler
        self._clients = clients
        self._models = models
        self._probes: dict[str, _Probe] = {}
        self._silent: dict[str, bool] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, where there are clouds and packages that can be cut."""
        if not self._clients:
            return
        self._probes = {model.reference: _probe(model) for model in self._models if model.segment_count > 1}
        if not self._probes:
            log.warning("no package has a boundary: clouds are not used", clouds=list(self._clients))
            return
        self._tasks = [asyncio.create_task(self._watch(client)) for client in self._clients.values()]

    async def stop(self) -> None:
        """End all probes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, client: CloudClient) -> None:
        """Whatever goes wrong, the cloud is asked again: nobody else would notice that it is back."""
        address = client.address
        mean = sum(probe.nbytes for probe in self._probes.values()) // len(self._probes)  # packages take turns
        while True:
            try:
                if self._scheduler.probe_due(address, mean):
                    await self._ask(client)
                elif self._scheduler.round_trip_due(address):
                    await self._measure_round_trip(client)
            except CloudFailed as fault:
                self._not_heard(address, fault)
                self._scheduler.failed(fault, address)
            except Exception as error:
                log.exception("probe failed unexpectedly", cloud=address)
                self._scheduler.failed(error, address)
            await asyncio.sleep(_LOOK_S)

    async def _measure_round_trip(self, client: CloudClient) -> None:
        """Beside photos that travel there: the shorter of two, as one may meet them."""
        taken = [await client.round_trip_ms(_TIMEOUT_S) for _ in range(2)]
        self._scheduler.round_trip(client.address, min(taken))

    async def _ask(self, client: CloudClient) -> None:
        """Measure the round trip, then the packages whose turn it is."""
        address = client.address
        self._scheduler.probe_started(address)
        try:
            await client.round_trip_ms(_TIMEOUT_S)  # connects, where there is no connection yet
            self._scheduler.round_trip(address, await client.round_trip_ms(_TIMEOUT_S))
            probed = [model for model in self._models if model.reference in self._probes]
            for model in self._scheduler.to_probe(address, probed):
                await self._send(client, self._probes[model.reference])
            self._heard(address)
        finally:
            self._scheduler.probe_ended(address)

    def _heard(self, address: str) -> None:
        if self._silent.get(address, True):
            log.info("cloud answers", cloud=address)
        self._silent[address] = False

    def _not_heard(self, address: str, fault: CloudFailed) -> None:
        """Told once: a cloud that was never there, behind a misspelled name, shows nowhere else in the log."""
        if not self._silent.get(address, False):
            log.warning("cloud does not answer", cloud=address, reason=str(fault))
        self._silent[address] = True

    async def _send(self, client: CloudClient, probe: _Probe) -> None:
        address, scheduler = client.address, self._scheduler
        scheduler.probe_sending(probe, address, probe.model, probe.boundary, probe.nbytes)
        start_s = time.monotonic()

        def received() -> None:
            scheduler.uploaded(probe, address, probe.nbytes, (time.monotonic() - start_s) * 1000.0)
            scheduler.sent(probe, address)

        try:
            reply = await client.infer(probe.message, _TIMEOUT_S, received)
        except PackageDiffers as refusal:
            scheduler.replied(probe, address, refusal.load)
            tell_differing(scheduler, address, probe.model, refusal)
        except CloudRefused as refusal:
            scheduler.replied(probe, address, refusal.load)
        else:
            scheduler.replied(probe, address, reply.load)
            if reply.service_ms is not None:
                scheduler.probed(address, probe.model, probe.boundary, reply.service_ms)
        finally:
            scheduler.dropped(probe, address)  # nothing, where its end was told already


def _probe(model: ServedModel) -> _Probe:
    boundaries = model.package.manifest.boundaries
    boundary = min(boundaries, key=lambda b: b.nbytes).k
    manifest = model.package.manifest
    call = InferCall(
        model=manifest.name,
        version=str(manifest.version),
        request_id="probe",
        boundary=boundary,
        codec="zstd",
        digest=model.package.digest,
    )
    message = build_request(call, list(made_up_tensors(model.chain, boundary).items()))
    return _Probe(model, boundary, message, sum(len(content) for content in message.raw_input_contents))
