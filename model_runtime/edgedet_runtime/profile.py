"""What a model costs on this machine: measured once at start, then followed request by request."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
import zstandard

from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import RunContext, Tensor
from edgedet_runtime.chain import Chain
from edgedet_runtime.errors import GraphUnsupported, RuntimeFault
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.photo import decode_photo

Result = TypeVar("Result")
_ROUNDS = 3
_WEIGHT = 0.05
"""Of a new measurement in the moving averages."""


@dataclass(slots=True)
class BoundaryProfile:
    """Compression of a boundary's tensors; `nbytes` is raw."""

    nbytes: int
    zstd_ratio: float
    """Compressed bytes per raw byte."""
    zstd_ms: float
    """Both ends together."""


@dataclass(slots=True)
class Profile:
    """Milliseconds on one worker: a photo's decoding and letterbox, each segment, and decoding the outputs."""

    decode_ms: float
    segment_ms: list[float]
    postprocess_ms: float
    photo_bytes: float
    boundaries: list[BoundaryProfile] = field(default_factory=list)
    """Of k = 1…N-1."""

    @property
    def total_ms(self) -> float:
        """A whole inference at home."""
        return self.decode_ms + sum(self.segment_ms) + self.postprocess_ms

    def head_ms(self) -> list[float]:
        """Work before boundary k = 0…N, decoding counted from k = 1 on and the answer's at N."""
        heads = [0.0]
        done = self.decode_ms
        for cost in self.segment_ms:
            done += cost
            heads.append(done)
        heads[-1] += self.postprocess_ms
        return heads

    def observe_decode(self, elapsed_ms: float, photo_bytes: int) -> None:
        """Follow a decoding."""
        self.decode_ms += _WEIGHT * (elapsed_ms - self.decode_ms)
        self.photo_bytes += _WEIGHT * (photo_bytes - self.photo_bytes)

    def observe_segment(self, index: int, elapsed_ms: float) -> None:
        """Follow a run of segment `index` (1…N)."""
        self.segment_ms[index - 1] += _WEIGHT * (elapsed_ms - self.segment_ms[index - 1])

    def observe_postprocess(self, elapsed_ms: float) -> None:
        """Follow a decoding of outputs."""
        self.postprocess_ms += _WEIGHT * (elapsed_ms - self.postprocess_ms)

    def observe_compression(self, boundary: int, ratio: float) -> None:
        """Follow a compression at boundary 1…N-1."""
        profile = self.boundaries[boundary - 1]
        profile.zstd_ratio += _WEIGHT * (ratio - profile.zstd_ratio)


def measure_profile(chain: Chain, finisher: Finisher) -> Profile:
    """Run a made-up photo a few times and take medians.

    Raises:
        GraphUnsupported: a segment that was loaded cannot be run.
    """
    data = _made_up_photo()
    spec = chain.manifest.input
    decode_ms, (tensor, geometry) = _timed(lambda: to_input(decode_photo(data), spec))
    live: dict[str, Tensor] = {spec.name: tensor}
    context = chain.context(live)
    segment_ms: list[float] = []
    boundaries: list[BoundaryProfile] = []
    for index in range(1, chain.segment_count + 1):
        elapsed_ms, live = _run_segment(chain, index, live, context)
        segment_ms.append(elapsed_ms)
        if index < chain.segment_count:
            boundaries.append(_compression(list(live.values())))
    choices = finisher.default_choices()
    postprocess_ms, _ = _timed(lambda: finisher.finish(live, geometry, choices))
    return Profile(decode_ms, segment_ms, postprocess_ms, float(len(data)), boundaries)


def made_up_tensors(chain: Chain, boundary: int) -> dict[str, Tensor]:
    """The live tensors of boundary k for the made-up photo: as large and as compressible as a real photo's."""
    spec = chain.manifest.input
    tensor, _ = to_input(decode_photo(_made_up_photo()), spec)
    return chain.run({spec.name: tensor}, stop=boundary)


def _run_segment(
    chain: Chain, index: int, live: dict[str, Tensor], context: RunContext
) -> tuple[float, dict[str, Tensor]]:
    try:
        elapsed_ms, (after, _) = _timed(lambda: chain.run_segment(index, live, context))
    except RuntimeFault:
        raise
    except Exception as error:  # backends raise what their libraries do
        raise GraphUnsupported(f"segment {index}: {chain.backend_name} loads it, but cannot run it: {error}") from error
    return elapsed_ms, after


def _compression(tensors: list[Tensor]) -> BoundaryProfile:
    raw = [np.ascontiguousarray(tensor).tobytes() for tensor in tensors]
    compressor = zstandard.ZstdCompressor(level=1)
    packed_ms, packed = _timed(lambda: [compressor.compress(part) for part in raw])
    decompressor = zstandard.ZstdDecompressor()
    unpacked_ms, _ = _timed(lambda: [decompressor.decompress(part) for part in packed])
    nbytes = sum(map(len, raw))
    return BoundaryProfile(nbytes, sum(map(len, packed)) / nbytes, packed_ms + unpacked_ms)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    elapsed_ms = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        result = work()
        elapsed_ms.append((time.perf_counter() - start) * 1000)
    return statistics.median(elapsed_ms), result


def _made_up_photo() -> bytes:
    """A 640×480 JPEG of soft blobs: about as many bytes as a photo, and tensors that compress like a photo's."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
    pixels = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_LINEAR)
    grain = rng.integers(0, 24, pixels.shape, np.uint8)
    encoded, data = cv2.imencode(".jpg", cv2.add(pixels, grain), (cv2.IMWRITE_JPEG_QUALITY, 90))
    if not encoded:
        raise RuntimeError("OpenCV cannot encode a JPEG")
    return data.tobytes()
