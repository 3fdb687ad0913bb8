import os
import subprocess
import sys
from pathlib import Path
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
    code = "import sys, edgedet_iot.commands; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & {"numpy", "onnx", "onnxruntime", "cv2", "torch", "pydantic", "grpc"}
    assert {name for name in packages if name.startswith("edgedet_")} == {"edgedet_iot"}


def test_without_httpx_the_error_says_what_to_install():
    code = "import sys; sys.modules['httpx'] = None; import edgedet_iot"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "in a clone of EdgeDet, pip install '.[iot]'" in done.stderr


def test_without_httpx_the_command_says_it_without_a_traceback(tmp_path):
    # A module that stands in for the missing library, and fails as a missing one does.
    (tmp_path / "httpx.py").write_text("raise ModuleNotFoundError('gone', name='httpx')")
    command = Path(sys.executable).with_name("edgedet-iot")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=False, env=environment)
    told = "edgedet-iot needs httpx: in a clone of EdgeDet, pip install '.[iot]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


def test_a_library_leaves_ctrl_c_to_the_program_that_imports_it(tmp_path):
    (tmp_path / "httpx.py").write_text("raise KeyboardInterrupt")
    code = "try:\n  import edgedet_iot\nexcept KeyboardInterrupt:\n  print('heard')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "heard\n"
