"""Raw or zstd: whichever is predicted to be there sooner over the measured link."""

from typing import Literal

from edgedet_runtime.profile import BoundaryProfile

Codec = Literal["raw", "zstd"]


def predicted_bytes(profile: BoundaryProfile, bandwidth_bytes_ms: float | None) -> tuple[Codec, float, float]:
    """(codec, bytes on the wire, milliseconds for packing and unpacking) at a boundary.

    An unmeasured link is taken for a slow one: zstd pays below some Gbit/s.
    """
    packed = profile.nbytes * profile.zstd_ratio
    saved_ms = (profile.nbytes - packed) / bandwidth_bytes_ms if bandwidth_bytes_ms else float("inf")
    if saved_ms > profile.zstd_ms:
        return "zstd", packed, profile.zstd_ms
    return "raw", float(profile.nbytes), 0.0
