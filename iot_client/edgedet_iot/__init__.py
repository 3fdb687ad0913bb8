"""The IoT client: photos to edge nodes, answers back; a library, a command and a load generator.

Imports nothing else of EdgeDet, so that it fits on a camera; HTTP by httpx.
"""

import sys as _sys

try:
    import httpx as _httpx  # noqa: F401  (asked for here, so that the message below comes first)
except ModuleNotFoundError as missing:
    _needed = "edgedet-iot needs httpx: in a clone of EdgeDet, pip install '.[iot]'"
    # The command begins here as well, and its user wants no traceback.
    if _sys.argv[0].endswith("edgedet-iot") or _sys.orig_argv[1:3] == ["-m", "edgedet_iot"]:
        _sys.exit(_needed)
    raise ModuleNotFoundError(_needed) from missing

from edgedet_iot.answers import (
    Box,
    Classes,
    ClassScore,
    Detection,
    Detections,
    ImageSize,
    Model,
    Route,
    SegmentRun,
    Timing,
)
from edgedet_iot.client import AsyncClient, Client
from edgedet_iot.errors import (
    DeadlineMissed,
    Draining,
    EdgeFailed,
    IotFault,
    NotAnAnswer,
    Overloaded,
    PhotoRejected,
    Problem,
    Refused,
    Unreachable,
)
from edgedet_iot.stream import photos_in, stream
from edgedet_iot.stream_report import LatencyRow, StreamReport

__all__ = [
    "AsyncClient",
    "Box",
    "ClassScore",
    "Classes",
    "Client",
    "DeadlineMissed",
    "Detection",
    "Detections",
    "Draining",
    "EdgeFailed",
    "ImageSize",
    "IotFault",
    "LatencyRow",
    "Model",
    "NotAnAnswer",
    "Overloaded",
    "PhotoRejected",
    "Problem",
    "Refused",
    "Route",
    "SegmentRun",
    "StreamReport",
    "Timing",
    "Unreachable",
    "photos_in",
    "stream",
]
