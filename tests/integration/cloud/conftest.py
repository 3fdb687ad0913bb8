"""A real cloud process, a channel to it, and the tensors of the sample photos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from edgedet_proto.inference_pb2 import ModelInferRequest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_proto.wire import Codec, InferCall, build_photo_request, build_request, parse_response
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import load_backend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.letterbox import Geometry, to_input
from edgedet_runtime.package import Package, scan_packages
from edgedet_runtime.photo import decode_photo

from demo.processes import Running, start_cloud, stopping

DEADLINE_S = 10.0


@dataclass(frozen=True)
class Edge:
    """What an edge does: heads at home, and calls for the rest."""

    package: Package
    chain: Chain
    finisher: Finisher
    call: InferCall
    """What its messages say beside boundary, codec and the photo's size."""

    def enter(self, photo: Path) -> tuple[np.ndarray, Geometry]:
        return to_input(decode_photo(photo.read_bytes()), self.chain.manifest.input)

    def requests(self, photo: Path, codecs: Sequence[Codec]) -> Iterator[tuple[int, Codec, ModelInferRequest]]:
        """A message for each boundary and codec; boundary 0 carries the photo."""
        tensor, geometry = self.enter(photo)
        size = {"photo_width": geometry.photo_width, "photo_height": geometry.photo_height}
        live = {self.chain.manifest.input.name: tensor}
        for boundary in range(self.chain.segment_count):
            if boundary:
                live = self.chain.run(live, boundary - 1, boundary)
            for codec in codecs:
                call = replace(self.call, boundary=boundary, codec=codec, **size)
                if boundary:
                    yield boundary, codec, build_request(call, list(live.items()))
                else:
                    yield boundary, codec, build_photo_request(call, photo.read_bytes())

    def request(self, photo: Path, wanted: int) -> ModelInferRequest:
        """The message for one boundary."""
        return next(request for boundary, _, request in self.requests(photo, ["raw"]) if boundary == wanted)


@pytest.fixture(scope="session")
def edges(models: Path) -> dict[str, Edge]:
    """By package name."""
    packages, refusals = scan_packages(models)
    assert refusals == []
    return {package.manifest.name: _edge(package) for package in packages}


@pytest.fixture(scope="session")
def edge(edges: dict[str, Edge]) -> Edge:
    """The one with the detector."""
    return edges["yolov3-tiny-coco"]


def _edge(package: Package) -> Edge:
    chain = prepare_chain(package, load_backend("onnxruntime"))
    call = InferCall(package.manifest.name, digest=package.digest)
    return Edge(package, chain, Finisher.load(package), call)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with stopping(start_cloud(tmp_path_factory.mktemp("cloud"))) as (running,):
        yield running


@pytest.fixture(scope="session")
def stub(cloud: Running) -> Iterator[GRPCInferenceServiceStub]:
    with grpc.insecure_channel(cloud.address) as channel:
        yield GRPCInferenceServiceStub(channel)


@pytest.fixture
def serves_on(stub: GRPCInferenceServiceStub, edge: Edge, sample_photos: list[Path]) -> Iterator[None]:
    """Whatever a test does to the cloud, afterwards it answers as before."""
    yield
    reply = parse_response(stub.ModelInfer(edge.request(sample_photos[0], 4), timeout=DEADLINE_S))
    assert reply.load is not None
    assert reply.load.backlog_ms == 0
