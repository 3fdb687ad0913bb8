"""Where benchmarks put what they measured: one JSON file each, with the machine and the versions it holds for.

What kernels reach depends on the processor's instructions, and with it every share of the rest; so results of
processors with other instructions stand beside each other.
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgedet_compression.processor import cpu_info, processor_name

FOLDER = Path(__file__).parent / "results"
_LIBRARIES = ("edgedet", "onnxruntime", "numpy", "fastapi", "uvicorn", "grpcio")


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>.json``; a name ends on `instructions` where they decide what was measured."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **content}, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Processor, cores, Python and library versions."""
    return {
        "processor": processor_name(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }


def instructions() -> str:
    """What the kernels of this processor are made of."""
    flags = cpu_info("flags").split()
    known = {"amx_int8": "amx", "avx512_vnni": "avx512-vnni", "avx_vnni": "avx-vnni", "avx2": "avx2"}
    return next((name for flag, name in known.items() if flag in flags), platform.machine())
