"""Answers and models as the plain structures that `schemas` describes."""

from typing import Any

from edgedet_runtime.detection import Detections
from edgedet_runtime.manifest import TensorSpec

from edgedet_edge.job import Job, Outcome, ServedModel
from edgedet_edge.measurements import STAGES


def describe_answer(job: Job, outcome: Outcome) -> dict[str, Any]:
    """The document of `/v1/detect` and `/v1/classify`."""
    manifest = job.model.package.manifest
    width, height = job.header.upright_size
    return {
        "request_id": job.request_id,
        "model": {"name": manifest.name, "version": manifest.version, "digest": job.model.package.digest},
        "image": {"width": width, "height": height},
        **_found(outcome, manifest.labels),
        "route": {
            "placement": outcome.placement,
            "boundary": outcome.boundary,
            "reason": outcome.reason,
            "segments": _segments(job, outcome),
            "bytes_sent": outcome.bytes_sent,
        },
        "timing_ms": {stage: round(getattr(outcome.timing, stage), 3) for stage in (*STAGES, "total")},
    }


def describe_model(model: ServedModel, *, is_default: bool) -> dict[str, Any]:
    """One entry of `/v1/models`."""
    manifest = model.package.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": model.package.digest,
        "task": manifest.task,
        "description": manifest.description,
        "labels": list(manifest.labels),
        "segments": manifest.segment_count,
        "boundaries": [
            {
                "k": boundary.k,
                "live_tensors": [_tensor(spec) for spec in boundary.tensors],
                "bytes": boundary.nbytes,
                "head_share": round(boundary.head_macs / manifest.macs, 4),
            }
            for boundary in manifest.boundaries
        ],
        "default": is_default,
    }


def _segments(job: Job, outcome: Outcome) -> list[dict[str, Any]]:
    here = {"where": "edge", "backend": job.model.chain.backend_name}
    there = {"where": "cloud", "backend": outcome.cloud_backend}
    count = job.model.package.manifest.segment_count
    return [{"index": k, **(here if k <= outcome.boundary else there)} for k in range(1, count + 1)]


def _found(outcome: Outcome, labels: tuple[str, ...]) -> dict[str, Any]:
    answer = outcome.answer
    if isinstance(answer, Detections):
        return {
            "detections": [
                {"label": labels[label], "score": score, "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}}
                for label, score, (x1, y1, x2, y2) in zip(
                    answer.labels.tolist(), answer.scores.tolist(), answer.boxes.tolist(), strict=True
                )
            ]
        }
    return {
        "classes": [
            {"label": labels[label], "score": score}
            for label, score in zip(answer.labels.tolist(), answer.scores.tolist(), strict=True)
        ]
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "bytes": spec.nbytes}
