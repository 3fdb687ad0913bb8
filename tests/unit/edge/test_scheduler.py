"""What a node learns of its clouds, package by package."""

import asyncio
import time
from pathlib import Path

import pytest
from edgedet_edge.catalog import Catalog
from edgedet_edge.job import Job, ServedModel
from edgedet_edge.model_profiles import RemotePackage
from edgedet_edge.placement import Decision, FixedBoundary
from edgedet_edge.scheduler import Scheduler
from edgedet_runtime.backend import load_backend
from edgedet_runtime.photo import PhotoHeader

CLOUD = "10.0.0.5:9000"


@pytest.fixture(scope="module")
def served(few_models: Path) -> tuple[ServedModel, ...]:
    return Catalog.load(few_models, load_backend("onnxruntime"), "", whole=False).models


def test_every_package_that_a_cloud_has_is_measured_in_turn(served: tuple[ServedModel, ...]) -> None:
    one, two = served
    scheduler = Scheduler(served, [CLOUD], 1, forward_photos=False)
    assert scheduler.to_probe(CLOUD, served) == [one, two]
    scheduler.probed(CLOUD, one, 1, 5.0)
    scheduler.probed(CLOUD, two, 1, 5.0)
    for expected in (one, two, one, two):
        assert scheduler.to_probe(CLOUD, served) == [expected]
        scheduler.probed(CLOUD, expected, 1, 5.0)


def test_a_package_that_a_cloud_lacks_does_not_keep_the_others_from_their_turn(served: tuple[ServedModel, ...]) -> None:
    one, two = served
    scheduler = Scheduler(served, [CLOUD], 1, forward_photos=False)
    scheduler.probed(CLOUD, one, 1, 5.0)
    scheduler.differs(CLOUD, two)
    for expected in (one, two, one):
        assert scheduler.to_probe(CLOUD, served) == [expected]
        if expected is one:
            scheduler.probed(CLOUD, one, 1, 5.0)
        else:
            scheduler.differs(CLOUD, two)


@pytest.mark.parametrize("photo_bytes", [100_000, 5_000_000])
def test_a_photo_is_priced_by_its_own_size(served: tuple[ServedModel, ...], photo_bytes: int) -> None:
    """Over 20 Mbit/s five megabytes take two seconds; the mean size of photos, which others have, would hide that."""
    model, *_ = served
    scheduler = Scheduler(served, [CLOUD], 1, forward_photos=True)
    scheduler.round_trip(CLOUD, 2.0)
    scheduler.uploaded("a probe", CLOUD, 40_000, 2.0 + 40_000 / 2_500)
    scheduler.probed(CLOUD, model, 1, 0.1)

    async def decided() -> Decision:
        now_s, answered = time.monotonic(), asyncio.get_running_loop().create_future()
        header, at_once = PhotoHeader("jpeg", 640, 480, 1), FixedBoundary(0)
        return scheduler.admit(Job("x", model, bytes(photo_bytes), header, 1, at_once, now_s, now_s + 10.0, answered))

    decision = asyncio.run(decided())
    assert decision.leaves_at(0) == CLOUD
    assert decision.latency_ms == pytest.approx(photo_bytes / 2_500, rel=0.05, abs=40.0)


def test_a_clouds_slowness_follows_what_it_does_now() -> None:
    remote = RemotePackage()
    remote.observe(10.0, 100.0, now_s=0.0)  # both started a moment ago
    remote.observe(10.0, 10.0, now_s=1.0)
    assert remote.slowness == pytest.approx(9.1)
    remote.observe(10.0, 10.0, now_s=20.0)
    assert remote.slowness == 1.0
