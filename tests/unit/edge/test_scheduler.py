"""What a node learns of its clouds, package by package."""

from pathlib import Path

import pytest
from edgedet_edge.catalog import Catalog
from edgedet_edge.job import ServedModel
from edgedet_edge.model_profiles import RemotePackage
from edgedet_edge.scheduler import Scheduler
from edgedet_runtime.backend import load_backend

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
    assert scheduler.to_probe(CLOUD, served) == [two, one]


def test_a_clouds_slowness_follows_what_it_does_now() -> None:
    remote = RemotePackage()
    remote.observe(10.0, 100.0, now_s=0.0)  # both started a moment ago
    remote.observe(10.0, 10.0, now_s=1.0)
    assert remote.slowness == pytest.approx(9.1)
    remote.observe(10.0, 10.0, now_s=20.0)
    assert remote.slowness == 1.0
