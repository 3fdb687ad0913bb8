"""Ctrl-C: the first lets accepted calls be answered, the second ends at once and says nothing."""

import signal
from pathlib import Path

import grpc
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub

from demo.processes import start_cloud, stopping
from tests.integration.edge.asking import wait_for


def test_interrupting_twice_ends_at_once(tmp_path: Path, edge, sample_photos: list[Path]):
    request = edge.request(sample_photos[0], 1)
    with stopping(start_cloud(tmp_path)) as (cloud,), grpc.insecure_channel(cloud.address) as channel:
        calls = [GRPCInferenceServiceStub(channel).ModelInfer.future(request) for _ in range(60)]
        calls[0].result(20)
        cloud.signal(signal.SIGINT)
        wait_for(lambda: '"event": "draining"' in cloud.log.read_text(), "word that it drains")
        cloud.signal(signal.SIGINT)
        assert cloud.process.wait(20) == 130
    assert "Traceback" not in cloud.log.read_text()
