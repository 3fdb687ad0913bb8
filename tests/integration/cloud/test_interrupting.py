"""Ctrl-C: the first lets accepted calls be answered, the second ends at once and says nothing."""

import signal
import time
from pathlib import Path

import grpc
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub

from demo.processes import start_cloud, stopping


def test_interrupting_twice_ends_at_once(tmp_path: Path, edge, sample_photos: list[Path]):
    request = edge.request(sample_photos[0], 1)
    with stopping(start_cloud(tmp_path)) as (cloud,), grpc.insecure_channel(cloud.address) as channel:
        calls = [GRPCInferenceServiceStub(channel).ModelInfer.future(request) for _ in range(60)]
        calls[0].result(20)
        cloud.signal(signal.SIGINT)
        while '"event": "draining"' not in cloud.log.read_text():
            assert cloud.process.poll() is None
            time.sleep(0.005)
        cloud.signal(signal.SIGINT)
        assert cloud.process.wait(20) == 130
    assert "Traceback" not in cloud.log.read_text()
