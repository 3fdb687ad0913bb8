import subprocess
import sys
from types import ModuleType

import edgedet_iot

MEMBERS = """
AsyncClient Box ClassScore Classes Client DeadlineMissed Detection Detections Draining EdgeFailed ImageSize IotFault
LatencyRow Model NotAnAnswer Overloaded PhotoRejected Problem Refused Route SegmentRun StreamReport Timing Unreachable
photos_in stream
"""


def test_the_public_members_are_these():
    assert edgedet_iot.__all__ == sorted(MEMBERS.split())
    for name in edgedet_iot.__all__:
        assert not isinstance(getattr(edgedet_iot, name), ModuleType)


def test_every_error_is_in_the_tree():
    faults = [one for one in vars(edgedet_iot).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(faults) == 9
    assert all(issubclass(fault, edgedet_iot.IotFault) for fault in faults)


def test_a_camera_needs_neither_numpy_nor_anything_else_of_ours():
    code = "import sys, edgedet_iot.cli; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & {"numpy", "onnx", "onnxruntime", "cv2", "torch", "pydantic", "grpc"}
    assert {name for name in packages if name.startswith("edgedet_")} == {"edgedet_iot"}


def test_without_httpx_the_error_says_what_to_install():
    code = "import sys; sys.modules['httpx'] = None; import edgedet_iot"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'edgedet[iot]'" in done.stderr
