"""What the OpenAPI document tells beside the types: bodies, examples, problems."""

from typing import Any

from edgedet_edge import schemas
from edgedet_edge.problems import MEDIA_TYPE
from edgedet_edge.request_body import FIELD

Responses = dict[int | str, dict[str, Any]]

_BINARY = {"type": "string", "format": "binary"}
_DIGEST = "3a3eb94965d29b9dbe8ed2d5bf094eb2d9518e11a8cd46f6955963b416094e8c"
_REQUEST_ID_HEADER = {
    "X-Request-Id": {"description": "the request's own, or a new one", "schema": {"type": "string"}},
}

PHOTO_BODY = {
    "requestBody": {
        "description": f"The photo itself, or a form whose field `{FIELD}` holds it.",
        "required": True,
        "content": {
            "image/jpeg": {"schema": _BINARY},
            "image/png": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BINARY}},
            },
        },
    }
}

_ROUTE_AND_TIMING = {
    "route": {
        "placement": "split",
        "boundary": 4,
        "reason": "cheaper",
        "segments": [
            {"index": index, "where": "edge" if index <= 4 else "cloud", "backend": "onnxruntime"}
            for index in range(1, 8)
        ],
        "bytes_sent": 57344,
    },
    "timing_ms": {
        "decode": 1.9,
        "queue": 0.1,
        "head": 7.4,
        "encode": 0.6,
        "transfer": 1.2,
        "cloud_queue": 0.1,
        "tail": 3.3,
        "postprocess": 0.0,
        "total": 15.0,
    },
}
_DETECTION = {
    "request_id": "84070fa39298d947",
    "model": {"name": "yolov3-tiny-coco", "version": 1, "digest": _DIGEST},
    "image": {"width": 586, "height": 640},
    "detections": [{"label": "bear", "score": 0.337, "box": {"x1": 42.1, "y1": 87.6, "x2": 557.0, "y2": 640.0}}],
    **_ROUTE_AND_TIMING,
}
_CLASSIFICATION = {
    "request_id": "5d0f7c1e2b3a4958",
    "model": {"name": "resnet20-cifar10", "version": 1, "digest": _DIGEST},
    "image": {"width": 32, "height": 32},
    "classes": [{"label": "ship", "score": 0.93}, {"label": "airplane", "score": 0.05}],
    **_ROUTE_AND_TIMING,
}
_PROBLEMS = {
    400: ("undecodable-photo", "Undecodable photo", "the JPEG is truncated or damaged"),
    403: ("forced-boundary-not-allowed", "Forced boundary not allowed", "boundary: photos do not leave this node"),
    404: ("unknown-model", "Unknown model", "model: no package 'resnet' for detect"),
    408: ("request-timeout", "Request Timeout", "The request did not arrive in time."),
    413: ("photo-too-large", "Photo too large", "the photo has 30000×30000 = 900.0 megapixels; the limit is 40"),
    415: ("unsupported-media-type", "Unsupported media type", "the photo is neither JPEG nor PNG"),
    422: ("bad-query-value", "Bad query value", "query.score_threshold: Input should be less than or equal to 1"),
    429: (
        "overloaded",
        "Overloaded",
        "the answer would take about 1340 ms, the deadline is 1000 ms, 10% of it in reserve",
    ),
    431: ("request-header-fields-too-large", "Request Header Fields Too Large", "More than 65536 bytes of headers."),
    503: ("draining", "Draining", "the node is about to stop; send the photo to another"),
    504: ("deadline-missed", "Deadline missed", "no answer within 1000 ms"),
}
_MEANINGS = {
    400: "the photo or the form cannot be decoded",
    403: "the client may not choose this boundary",
    404: "no such model for this task",
    408: "the request arrived too slowly",
    413: "body or photo too large",
    415: "neither JPEG nor PNG",
    422: "a query value or header that does not fit, or a name that is none of those here",
    429: "overloaded; try again after `Retry-After` seconds",
    431: "too many headers",
    503: "draining, or too many open connections",
    504: "accepted, but not answered by the deadline",
}


def problems(*statuses: int) -> Responses:
    """Problem documents of these statuses."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    slug, title, detail = _PROBLEMS[status]
    example = {"type": f"urn:edgedet:problem:{slug}", "title": title, "status": status, "detail": detail}
    content = {"schema": schemas.Problem.model_json_schema(), "example": example}
    response: dict[str, Any] = {"description": _MEANINGS[status], "content": {MEDIA_TYPE: content}}
    if status == 429:
        example["retry_after_s"] = 1
        response["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
    return response


def _json_example(content: dict[str, Any]) -> Responses:
    return {200: {"content": {"application/json": {"example": content}}}}


_PHOTO_PROBLEMS = problems(*_PROBLEMS)
DETECT_RESPONSES: Responses = {
    200: {
        "description": "The detections, best first; with `format=image` the photo with their boxes drawn.",
        "headers": _REQUEST_ID_HEADER,
        "content": {"application/json": {"example": _DETECTION}, "image/jpeg": {"schema": _BINARY}},
    },
    **_PHOTO_PROBLEMS,
}
CLASSIFY_RESPONSES: Responses = {
    200: {
        "description": "The best classes, best first.",
        "headers": _REQUEST_ID_HEADER,
        "content": {"application/json": {"example": _CLASSIFICATION}},
    },
    **_PHOTO_PROBLEMS,
}

_LINK = {
    "address": "10.0.0.5:9000",
    "rtt_ms": 0.62,
    "bandwidth_mbit_s": 412.5,
    "estimate_age_s": 0.31,
    "breaker": "closed",
}
_MODEL = {
    "name": "yolov3-tiny-coco",
    "version": 1,
    "digest": _DIGEST,
    "task": "detect",
    "description": "YOLOv3-tiny on the 80 classes of COCO",
    "labels": ["person", "bicycle", "car"],
    "segments": 7,
    "boundaries": [
        {
            "k": 1,
            "live_tensors": [
                {"name": "pool1", "shape": [1, 104, 104, 32], "dtype": "uint8", "bytes": 346112},
            ],
            "bytes": 346112,
            "head_share": 0.21,
        }
    ],
    "default": True,
}
_STAGES = {
    "decode": 1.9,
    "queue": 6.0,
    "head": 8.1,
    "encode": 0.3,
    "transfer": 0.8,
    "cloud_queue": 0.4,
    "tail": 1.7,
    "postprocess": 0.2,
}
_QUANTILES = {"count": 812, "p50_ms": 18.2, "p95_ms": 41.0, "p99_ms": 63.7, "stages_ms": _STAGES}
_EDGE = {
    "id": "edge-1",
    "address": "http://edge-1:8080",
    "workers": 1,
    "waiting": 3,
    "utilization": 0.93,
    "models": {"yolov3-tiny-coco:1": _DIGEST},
    "clouds": [_LINK],
    "age_s": 0.42,
}
MODEL_RESPONSES: Responses = {**_json_example(_MODEL), **problems(404, 422)}
MODELS_RESPONSES: Responses = {
    **_json_example({"models": [_MODEL], "refused": {"models/broken/1": "model.onnx: wrong sha256"}}),
    **problems(422),
}
LATENCY_RESPONSES: Responses = {
    **_json_example(
        {
            "window_s": 60,
            "covered_s": 63.7,
            "registry": "up",
            "placements": {"edge": _QUANTILES, "split": _QUANTILES, "cloud": _QUANTILES, "all": _QUANTILES},
        }
    ),
    **problems(422),
}
OFFLOAD_RESPONSES: Responses = {
    **_json_example(
        {
            "window_s": 60,
            "covered_s": 63.7,
            "registry": "up",
            "requests": 1624,
            "offloaded": 812,
            "ratio": 0.5,
            "by_boundary": {"4": 812, "7": 812},
            "by_reason": {"cheaper": 1623, "cloud-failed": 1},
            "bytes_sent": 46563328,
            "cloud_failures": 1,
            "local_tails": 1,
            "clouds": [_LINK],
        }
    ),
    **problems(422),
}
_ON_HARDWARE = {
    "preset": "nor-flash-65nm",
    "chip": 3,
    "inferences": 2,
    "total": {"energy_uj": 84.2, "time_ms": 3.1, "counted_ms": 61.4},
    "per_inference": {"energy_uj": 42.1, "time_ms": 1.55, "counted_ms": 30.7},
}
ACCELERATOR_RESPONSES: Responses = {
    **_json_example({"backend": "nvm", "capacity": "host", "models": {"resnet20-cifar10:1": _ON_HARDWARE}}),
    **problems(422),
}
CLUSTER_RESPONSES: Responses = {**_json_example({"registry": "up", "edges": [_EDGE]}), **problems(422)}
PROMETHEUS_RESPONSES: Responses = {
    200: {"description": "Metric families", "content": {"text/plain": {"schema": {"type": "string"}}}},
    **problems(422),
}
