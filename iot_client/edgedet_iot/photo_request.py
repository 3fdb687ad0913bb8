"""A photo to post: path, query values, headers; the same for every edge that is asked."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

Photo = bytes | str | Path
"""JPEG or PNG bytes, or the path of the file that holds them."""

QueryValue = str | int | float


class DetectOptions(TypedDict, total=False):
    """What `detect` may be told; for what is None or missing, the edge's defaults hold."""

    model: str | None
    """``name`` or ``name:version``."""
    score_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    boundary: int | None
    """Forces the boundary, where the edge allows it."""


class ClassifyOptions(TypedDict, total=False):
    """What `classify` may be told; for what is None or missing, the edge's defaults hold."""

    model: str | None
    """``name`` or ``name:version``."""
    top_k: int | None
    boundary: int | None
    """Forces the boundary, where the edge allows it."""


@dataclass(frozen=True, slots=True)
class PhotoRequest:
    """One photo and what to do with it; `request_id` stays the same when it is sent again."""

    path: str
    content: bytes
    query: Mapping[str, QueryValue]
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def headers(self, remaining_s: float) -> dict[str, str]:
        """Headers of a try that has `remaining_s` left; only remaining time travels, since clocks differ."""
        return {
            "Content-Type": _media_type(self.content),
            "X-Request-Id": self.request_id,
            "X-Deadline-Ms": f"{max(1.0, remaining_s * 1000):.0f}",
        }


def detect_request(photo: Photo, options: DetectOptions) -> PhotoRequest:
    """`POST /v1/detect` for JSON."""
    return PhotoRequest("/v1/detect", _content(photo), _query(options))


def annotate_request(photo: Photo, options: DetectOptions) -> PhotoRequest:
    """`POST /v1/detect` for the photo with its boxes drawn."""
    return PhotoRequest("/v1/detect", _content(photo), {**_query(options), "format": "image"})


def classify_request(photo: Photo, options: ClassifyOptions) -> PhotoRequest:
    """`POST /v1/classify`."""
    return PhotoRequest("/v1/classify", _content(photo), _query(options))


def _content(photo: Photo) -> bytes:
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, str | Path):
        return Path(photo).read_bytes()
    raise TypeError(f"a photo is bytes, or the path of its file as str or Path, not {type(photo).__name__}")


def _query(options: Mapping[str, object]) -> dict[str, QueryValue]:
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, QueryValue):
            raise TypeError(f"{name} is a str, int or float, not {type(value).__name__}: convert it")
    return cast(dict[str, QueryValue], given)


def _media_type(content: bytes) -> str:
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "application/octet-stream"  # the edge says what is wrong with it
